import type { Duplex } from 'node:stream'
import type { StreamWriter } from './session-room.ts'
import type { WriteSlab } from '../framing/write-slab.ts'

/** A byte stream that a connection owns, and how that kind of stream is begun, ended and dropped. */
export interface Transport {
  readonly stream: Duplex
  /** Chunks come from a socket of our own: nobody else sees their memory. */
  readonly ownsChunks: boolean
  /** What it came over. Default: '1.1'. */
  readonly httpVersion?: '1.1' | '2.0'
  /** For small frames that are written at once. Absent: the stream may refer to what it was given after it says that nothing waits. */
  readonly slab?: WriteSlab | undefined
  /** Bytes that may be on their way out of the process at a time; undefined: as many as the stream takes. */
  readonly maxInFlight?: number
  /** Whether `writer` may write more now. Else its flush() is called when it may, though there is room in the stream. */
  mayWrite? (writer: StreamWriter): boolean
  /** Something has come. */
  heard? (): void
  /** Calls `write`, which has more to send after so many, when others had their turn. */
  takeTurn? (write: () => void): void
  /** Once, at open: lifts the timeouts of HTTP, sends small frames without delay. */
  tune (): void
  /** Lets TCP look for a lost peer too. Not at open: two system calls are a tenth of what a handshake costs. */
  keepAlive (): void
  /** Flushes what was written, our Close the last of it, and ends our side. @param isPeerDone the peer has said Close too, or ended its side */
  finish (isPeerDone: boolean): void
  /**
   * Instead of abort(), when all is written and the peer takes too long to answer our Close: ends our side, and gives the peer time to
   * read that, without whoever listened, who is told that the stream is closed. Absent: abort() does so.
   */
  leave? (): void
  /** Drops it at once, whatever waits. */
  abort (): void
}
