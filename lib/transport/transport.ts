import type { Duplex } from 'node:stream'
import type { StreamWriter } from './session-room.ts'
import type { WriteLoans } from '../framing/write-loans.ts'
import type { WriteSlab } from '../framing/write-slab.ts'

/** A byte stream owned by a connection, and how to set up, end and drop it. */
export interface Transport {
  readonly stream: Duplex
  /** The memory of received chunks is ours alone, and may be modified. */
  readonly ownsChunks: boolean
  /** Whether others too get the chunks that arrive now, which then must not be freed. Absent: that is not known. */
  readonly isReadByOthers?: boolean
  /** The HTTP version of the handshake. Default: '1.1'. */
  readonly httpVersion?: '1.1' | '2.0'
  /** Once nothing is pending in the stream, the kernel has taken everything, and no written buffer is in use. Absent: that is not known. */
  readonly takesAtOnce?: boolean
  /** A reusable buffer for small frames. Only if takesAtOnce. */
  readonly slab?: WriteSlab | undefined
  /** Reusable memory for large batches of frames. Absent: the stream may still use written buffers after it has called back. */
  readonly loans?: WriteLoans | undefined
  /** Maximum bytes in flight to the kernel. Undefined: as many as the stream takes. */
  readonly maxInFlight?: number
  /** Whether `writer` may write more now, regardless of room in its stream. If not, its flush() is called later. */
  mayWrite? (writer: StreamWriter): boolean
  /** The peer has sent data. */
  heard? (): void
  /** Calls `write`, which has more to send, after other streams had their turn. */
  takeTurn? (write: () => void): void
  /** Called once, at open: disables HTTP timeouts and Nagle's algorithm. */
  tune (): void
  /** Enables TCP keep-alive. Not done at open, as its two system calls are a tenth of the cost of a handshake. */
  keepAlive (): void
  /** Flushes everything up to our Close and ends our side. @param isPeerDone the peer has also sent Close, or ended its side */
  finish (isPeerDone: boolean): void
  /**
   * Used instead of abort() if everything is written and the peer is slow to answer our Close: ends our side, reports the stream as closed
   * to the listener, and leaves the peer time to read. Absent: abort() is used.
   */
  leave? (): void
  /** Drops the stream; data that cannot be written right away is lost. */
  abort (): void
}
