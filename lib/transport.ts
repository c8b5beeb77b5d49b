import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** A byte stream that a connection owns, and how that kind of stream is begun, ended and dropped. */
export interface Transport {
  readonly stream: Duplex
  /** Chunks come from a socket of our own: nobody else sees their memory. */
  readonly ownsChunks: boolean
  /** Once, at open: lifts the timeouts of HTTP, sends small frames without delay, lets TCP look for a lost peer. */
  tune (): void
  /** After the closing handshake: flushes what was written and ends our side. */
  finish (): void
  /** Drops it at once, whatever waits. */
  abort (): void
}

/** A TCP or TLS socket; or any other Duplex, which Node's HTTP takes too. */
export class SocketTransport implements Transport {
  readonly stream: Duplex & Partial<Pick<Socket, 'setTimeout' | 'setNoDelay' | 'setKeepAlive'>>
  readonly ownsChunks: boolean

  constructor (socket: SocketTransport['stream']) {
    this.stream = socket
    this.ownsChunks = socket instanceof Socket
  }

  tune (): void {
    this.stream.setTimeout?.(0)
    this.stream.setNoDelay?.(true)
    this.stream.setKeepAlive?.(true)
  }

  finish (): void {
    this.stream.end()
  }

  abort (): void {
    this.stream.destroy()
  }
}
