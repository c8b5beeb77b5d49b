import { constants, type Http2Stream } from 'node:http2'
import { Duplex } from 'node:stream'
import { WriteLoans } from '../framing/write-loans.ts'
import { StreamRoom, type StreamWriter } from './session-room.ts'
import { SessionTurns } from './session-turns.ts'
import { unlisten } from './stream-listener.ts'
import type { Transport } from './transport.ts'

// Milliseconds that a client has to read what is on its way, once the connection has ended here, and after its last data.
const TIME_TO_READ = 30_000
const TIME_TO_ANSWER = 1000

const loans = new WriteLoans()

/** A stream of an HTTP/2 session, which is shared with other streams. */
export class Http2Transport implements Transport {
  readonly stream: Http2Stream
  readonly ownsChunks = true // a chunk belongs to one stream only

  // Node buffers up to 10 MB for all streams of a session (maxSessionMemory), and refuses new streams beyond that
  readonly maxInFlight = 16 * 1024

  constructor (stream: Http2Stream) {
    this.stream = stream
  }

  get httpVersion (): '2.0' { return '2.0' }

  /** Only if write() is Node's own, as for a socket. */
  get loans (): WriteLoans | undefined {
    return this.stream.write === Duplex.prototype.write ? loans : undefined
  }

  #room: StreamRoom | null = null

  mayWrite (writer: StreamWriter): boolean {
    const { session } = this.stream
    if (session === undefined) return true
    if (this.#room === null) {
      const room = new StreamRoom(session, writer)
      this.stream.once('close', () => { room.leave() })
      this.#room = room
    }
    return this.#room.mayWrite()
  }

  heard (): void {
    this.#room?.heard()
  }

  takeTurn (write: () => void): void {
    const { session } = this.stream
    if (session === undefined) write() // session and stream are gone
    else SessionTurns.of(session).take(write)
  }

  /** Not every error destroys an HTTP/2 stream: not a write after RST_STREAM with NO_ERROR while it is paused. */
  tune (): void {
    this.stream.on('error', () => { this.stream.destroy() })
  }

  /** Nothing: the TCP connection belongs to the session. */
  keepAlive (): void {}

  /** Sends END_STREAM, then RST_STREAM if the peer is done too: Firefox leaves its side open. RFC 9113 §8.1. */
  finish (isPeerDone: boolean): void {
    this.stream.end(() => {
      // a turn later: close() drops unsent frames, even END_STREAM
      if (isPeerDone) setImmediate(() => { this.stream.close() })
    })
  }

  /**
   * Leaves the client time to read. A reset now would arrive before it has read everything up to our Close: Chromium cannot answer that on a
   * reset stream, and reports 1006 to the page.
   */
  leave (): void {
    const { stream } = this
    const listener = unlisten(stream)
    const drop = (): void => { this.#drop(constants.NGHTTP2_NO_ERROR) }
    const timer = setTimeout(drop, TIME_TO_READ).unref()
    let quiet: NodeJS.Timeout | undefined
    // the peer's Close, or data before it: for Firefox the only sign that it has read everything
    stream.on('data', () => {
      clearTimeout(quiet)
      quiet = setTimeout(drop, TIME_TO_ANSWER).unref()
    })
    stream.on('end', drop)
    stream.on('close', () => {
      clearTimeout(timer)
      clearTimeout(quiet)
    })
    stream.resume()
    stream.end()
    process.nextTick(() => { listener?.onStreamClose() })
  }

  /** RFC 8441 §5: CANCEL is the equivalent of a TCP reset. Destroying the stream alone would send NO_ERROR. */
  abort (): void {
    const { stream } = this
    if (stream.writableLength === 0) {
      this.#drop(constants.NGHTTP2_CANCEL)
    } else { // bytes written in this turn leave at its end, as far as there is room; RST_STREAM would drop them
      stream.pause()
      setImmediate(() => { this.#drop(constants.NGHTTP2_CANCEL) })
    }
  }

  #drop (code: number): void {
    this.stream.close(code)
    this.stream.destroy() // if the client reads nothing, the session may never send RST_STREAM
  }
}
