import { constants, type Http2Stream } from 'node:http2'
import { SessionTurns } from './session-turns.ts'
import type { Transport } from './transport.ts'

/** A stream of an HTTP/2 session, which it shares with others. */
export class Http2Transport implements Transport {
  readonly stream: Http2Stream
  readonly ownsChunks = true // a chunk goes to one stream alone

  // Of all streams of a session together Node takes 10 MB (maxSessionMemory), and refuses new streams beyond.
  readonly maxInFlight = 16 * 1024

  constructor (stream: Http2Stream) {
    this.stream = stream
  }

  takeTurn (write: () => void): void {
    const { session } = this.stream
    if (session === undefined) write() // it is gone, and the stream with it
    else SessionTurns.of(session).take(write)
  }

  /** A stream of HTTP/2 is not destroyed by an error, such as a write after RST_STREAM with NO_ERROR while it is paused. */
  tune (): void {
    this.stream.on('error', () => { this.stream.destroy() })
  }

  /** The TCP connection is its session's. */
  keepAlive (): void {}

  /** END_STREAM, and then RST_STREAM: after the closing handshake Firefox leaves its side open. RFC 9113 §8.1. */
  finish (): void {
    this.stream.end(() => {
      setImmediate(() => { this.stream.close() }) // which drops what is not sent yet, END_STREAM
    })
  }

  /** RFC 8441 §5: CANCEL stands for a TCP reset. A stream that is destroyed without it says NO_ERROR. */
  abort (): void {
    this.stream.close(constants.NGHTTP2_CANCEL)
    this.stream.destroy() // the session may not get the frame out, of a client that reads nothing
  }
}
