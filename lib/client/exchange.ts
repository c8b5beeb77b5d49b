// How a handshake reaches the server, and the transport it results in.
import type { EventEmitter } from 'node:events'
import type { RequestOptions } from 'node:http'
import type { Duplex } from 'node:stream'
import type { CloseInfo } from '../../types/connection.ts'
import type { Transport } from '../transport/transport.ts'

/** Emits 'upgrade' or 'response', 'error' and 'close', like a ClientRequest of node:http. */
export interface HandshakeRequest extends EventEmitter {
  end (): unknown
  destroy (error?: Error): unknown
  /** The connection it opened has closed. */
  left? (info: CloseInfo): void
}

export interface Exchange {
  /** @param options of node:http, including the address */
  readonly request: (url: URL, options: RequestOptions) => HandshakeRequest
  readonly transport: (stream: Duplex) => Transport
}
