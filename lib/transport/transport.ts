import { constants, type Http2Stream } from 'node:http2'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SessionTurns } from './session-turns.ts'
import { WriteSlab } from '../framing/write-slab.ts'

/** A byte stream that a connection owns, and how that kind of stream is begun, ended and dropped. */
export interface Transport {
  readonly stream: Duplex
  /** Chunks come from a socket of our own: nobody else sees their memory. */
  readonly ownsChunks: boolean
  /** For small frames that are written at once. Absent: the stream may refer to what it was given after it says that nothing waits. */
  readonly slab?: WriteSlab | undefined
  /** Bytes that may be on their way out of the process at a time; undefined: as many as the stream takes. */
  readonly maxInFlight?: number
  /** Calls `write`, which has more to send after so many, when others had their turn. */
  takeTurn? (write: () => void): void
  /** Once, at open: lifts the timeouts of HTTP, sends small frames without delay. */
  tune (): void
  /** Lets TCP look for a lost peer too. Not at open: two system calls are a tenth of what a handshake costs. */
  keepAlive (): void
  /** After the closing handshake: flushes what was written and ends our side. */
  finish (): void
  /** Drops it at once, whatever waits. */
  abort (): void
}

const slab = new WriteSlab()

/** A TCP or TLS socket; or any other Duplex, which Node's HTTP takes too. */
export class SocketTransport implements Transport {
  readonly stream: Duplex & Partial<Pick<Socket, 'setTimeout' | 'setNoDelay' | 'setKeepAlive'>>
  readonly ownsChunks: boolean
  readonly #isPlain: boolean

  constructor (socket: SocketTransport['stream']) {
    this.stream = socket
    this.ownsChunks = socket instanceof Socket
    this.#isPlain = Object.getPrototypeOf(socket) === Socket.prototype
  }

  /** Where write() is Node's own: another, of a subclass or put in its place, may keep what it is given. */
  get slab (): WriteSlab | undefined {
    return this.#isPlain && this.stream.write === Socket.prototype.write ? slab : undefined
  }

  tune (): void {
    this.stream.setTimeout?.(0)
    this.stream.setNoDelay?.(true)
  }

  keepAlive (): void {
    this.stream.setKeepAlive?.(true)
  }

  finish (): void {
    this.stream.end()
  }

  abort (): void {
    this.stream.destroy()
  }
}

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
