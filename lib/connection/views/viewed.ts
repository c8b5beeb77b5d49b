import type { WebSocketConnection } from '../../../types/connection.ts'
import type { ConnectionClosedError } from '../../errors.ts'
import type { Message } from '../../framing/message-assembler.ts'

/** What a view needs of its connection besides the public members. */
export interface Viewed {
  readonly connection: WebSocketConnection
  /** Whether the sender has used up its turn of the event loop. To be asked after each message. */
  readonly isTurnOver: boolean
  /** Whether send() copies that many bytes, so that their memory may be reused at once. */
  copies (length: number): boolean
  /** A schema says what is sent. */
  readonly encodes: boolean
  /** How what a reader gets is given out. */
  readonly messageValue: (message: Message) => any
  /** Closes with 1011. */
  closeFailed (): void
  /** An error of a view that nobody listens for there. */
  viewFailed (error: Error): void
  /** Says of this connection that it has ended. */
  closedError (message: string): ConnectionClosedError
}
