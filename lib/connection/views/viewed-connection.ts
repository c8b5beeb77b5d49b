import type { WebSocketConnection } from '../../../types/connection.ts'
import type { ConnectionClosedError } from '../../errors.ts'
import type { Message } from '../../framing/message-assembler.ts'

/** What a view needs of its connection beside what is public. */
export interface ViewedConnection extends WebSocketConnection {
  /** To be asked after each message: whoever sends has used up his turn of the event loop. */
  readonly isTurnOver: boolean
  /** send() makes a copy of so many bytes: their memory may be used again at once. */
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
