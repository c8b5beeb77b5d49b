import type { Duplex } from 'node:stream'
import type { StreamWriter } from './session-room.ts'
import type { WriteSlab } from '../framing/write-slab.ts'

/** A byte stream that a connection owns, and how that kind of stream is opened, ended and dropped. */
export interface Transport {
  readonly stream: Duplex
  /** Chunks are ours alone: nobody else sees their memory. */
  readonly ownsChunks: boolean
  /** What it came over. Default: '1.1'. */
  readonly httpVersion?: '1.1' | '2.0'
  /** For small frames that are written at once. Absent: the stream may still use what it was given after it reports that nothing waits. */
  readonly slab?: WriteSlab | undefined
  /** Bytes that may be on their way out of the process at a time. Undefined: as many as the stream takes. */
  readonly maxInFlight?: number
  /** Whether `writer` may write more now, apart from the room in its stream. If not, its flush() is called when it may. */
  mayWrite? (writer: StreamWriter): boolean
  /** The peer has sent something. */
  heard? (): void
  /** Calls `write`, which has more to send, after others had their turn. */
  takeTurn? (write: () => void): void
  /** Once, at open: lifts the timeouts of HTTP, sends small frames without delay. */
  tune (): void
  /** Makes TCP look for a lost peer too. Not at open: its two system calls are a tenth of what a handshake costs. */
  keepAlive (): void
  /** Flushes what was written, our Close the last of it, and ends our side. @param isPeerDone the peer has said Close too, or ended its side */
  finish (isPeerDone: boolean): void
  /**
   * Instead of abort(), when everything is written and the peer takes too long to answer our Close: ends our side, tells the listener that
   * the stream is closed, and leaves the peer time to read. Absent: abort() is called.
   */
  leave? (): void
  /** Drops it at once, whatever still waits. */
  abort (): void
}
