import type { WebSocketConnection } from '../../../types/connection.ts'
import type { ConnectionClosedError } from '../../errors.ts'
import type { Message } from '../../framing/message-assembler.ts'

/** What a view needs from its connection besides the public members. */
export interface Viewed {
  readonly connection: WebSocketConnection
  /** Whether the sender has used up its share of this event loop turn. Ask after each message. */
  readonly isTurnOver: boolean
  /** Whether send() copies a payload of this length, so that its memory may be reused at once. */
  copies (length: number): boolean
  /** Outgoing messages have a schema. */
  readonly encodes: boolean
  /** Converts a message to the value that the application gets. */
  readonly messageValue: (message: Message) => any
  /** Closes with 1011. */
  closeFailed (): void
  /** A view had an error and no 'error' listener. */
  viewFailed (error: Error): void
  /** Creates the error for an ended connection. */
  closedError (message: string): ConnectionClosedError
}
