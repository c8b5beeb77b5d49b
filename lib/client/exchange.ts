// How a handshake gets to the server, and what it becomes.
import type { EventEmitter } from 'node:events'
import type { RequestOptions } from 'node:http'
import type { Duplex } from 'node:stream'
import type { CloseInfo } from '../../types/connection.ts'
import type { Transport } from '../transport/transport.ts'

/** Emits 'upgrade' or 'response', 'error' and 'close', as a ClientRequest of node:http does. */
export interface HandshakeRequest extends EventEmitter {
  end (): unknown
  destroy (error?: Error): unknown
  /** The connection that came of it is closed. */
  left? (info: CloseInfo): void
}

export interface Exchange {
  /** @param options as for node:http, with the address in them */
  readonly request: (url: URL, options: RequestOptions) => HandshakeRequest
  readonly transport: (stream: Duplex) => Transport
}
