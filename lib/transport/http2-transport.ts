import { constants, type Http2Stream } from 'node:http2'
import { StreamRoom, type StreamWriter } from './session-room.ts'
import { SessionTurns } from './session-turns.ts'
import { unlisten } from './stream-listener.ts'
import type { Transport } from './transport.ts'

// Milliseconds that a client has, once the connection has ended here, to read what is on its way; and after each sign of life.
const TIME_TO_READ = 30_000
const TIME_TO_ANSWER = 1000

/** A stream of an HTTP/2 session, which it shares with others. */
export class Http2Transport implements Transport {
  readonly stream: Http2Stream
  readonly ownsChunks = true // each chunk goes to one stream only

  // Node buffers up to 10 MB for all streams of a session (maxSessionMemory), and refuses new streams beyond that.
  readonly maxInFlight = 16 * 1024

  constructor (stream: Http2Stream) {
    this.stream = stream
  }

  get httpVersion (): '2.0' { return '2.0' }

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
    if (session === undefined) write() // the session is gone, and the stream with it
    else SessionTurns.of(session).take(write)
  }

  /** An HTTP/2 stream is not destroyed by every error, such as that of a write after RST_STREAM with NO_ERROR while it is paused. */
  tune (): void {
    this.stream.on('error', () => { this.stream.destroy() })
  }

  /** The TCP connection is its session's. */
  keepAlive (): void {}

  /** END_STREAM, and RST_STREAM after it once the peer is done too: Firefox leaves its side open. RFC 9113 §8.1. */
  finish (isPeerDone: boolean): void {
    this.stream.end(() => {
      // which drops what is not sent yet, END_STREAM
      if (isPeerDone) setImmediate(() => { this.stream.close() })
    })
  }

  /**
   * A reset now would reach a client that has not read all of what is on its way, our Close the last of it: Chromium cannot answer that
   * on a stream that was reset, and tells its page 1006.
   */
  leave (): void {
    const { stream } = this
    const listener = unlisten(stream)
    const drop = (): void => { this.#drop(constants.NGHTTP2_NO_ERROR) }
    const timer = setTimeout(drop, TIME_TO_READ).unref()
    let quiet: NodeJS.Timeout | undefined
    // the peer's answer, or what it sent before that: of Firefox nothing else shows that it has read everything
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

  /** RFC 8441 §5: CANCEL stands for a TCP reset. A stream that is destroyed without it says NO_ERROR. */
  abort (): void {
    const { stream } = this
    if (stream.writableLength === 0) {
      this.#drop(constants.NGHTTP2_CANCEL)
    } else { // what was written in this turn leaves at the end of it, as far as there is room; RST_STREAM would drop it
      stream.pause()
      setImmediate(() => { this.#drop(constants.NGHTTP2_CANCEL) })
    }
  }

  #drop (code: number): void {
    this.stream.close(code)
    this.stream.destroy() // a client that reads nothing may never let the session send that frame
  }
}
