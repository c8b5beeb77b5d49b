// connect() in the shape of WHATWG's constructor, for libraries that want one.
import type { BinaryType, ReadyState, WebSocketConnection } from '../../types/connection.ts'
import type { ConnectOptions } from '../../types/options.ts'
import { Connection, coreOf } from '../connection/connection.ts'
import { startConnecting } from './connect.ts'

/** Those of connect(); the subprotocols have a place of their own. */
export type WebSocketOptions = Omit<ConnectOptions, 'protocols'>

export interface WebSocketConstructor {
  /**
   * Opens a WebSocket as a browser's does: it begins as CONNECTING, failures come as 'error' and 'close' (1006), binary messages as Blobs unless
   * `binaryType` says otherwise. Once the turn of 'open' is over, messages that nobody listens for are discarded.
   * @throws SyntaxError for another URL or a wrong subprotocol, TypeError for a wrong option
   */
  new (url: string | URL, protocols?: string | readonly string[], options?: WebSocketOptions): WebSocketConnection
  readonly prototype: WebSocketConnection
  readonly CONNECTING: Extract<ReadyState, 0>
  readonly OPEN: Extract<ReadyState, 1>
  readonly CLOSING: Extract<ReadyState, 2>
  readonly CLOSED: Extract<ReadyState, 3>
}

function create (this: unknown, url: string | URL, protocols: string | readonly string[] = [], options: WebSocketOptions = {}): Connection {
  if (new.target === undefined) throw new TypeError('the constructor WebSocket needs new')
  const connection = start(url, typeof protocols === 'string' ? [protocols] : protocols, options)
  connection.binaryType = 'blob' satisfies BinaryType
  connection.once('open', () => { setImmediate(() => { coreOf(connection).handlerSettled() }) })
  if (new.target.prototype !== Connection.prototype) Object.setPrototypeOf(connection, new.target.prototype as object) // of a subclass
  return connection
}

function start (url: string | URL, protocols: readonly string[], options: WebSocketOptions): Connection {
  try {
    return startConnecting(url, { ...options, protocols }, { hasHandler: true }).connection
  } catch (error) {
    // as which it is known in browsers, also where it is one of options here
    const { code, message } = error as Error & { code?: string }
    if (code === 'ERR_INVALID_URL') throw new SyntaxError(`${JSON.stringify(String(url))} is no URL of a WebSocket`, { cause: error })
    throw message.includes('option protocols ') ? new SyntaxError(message, { cause: error }) : error
  }
}

/** Its instances are connections as connect() gives them, and all of those are its instances. */
export const WebSocket = Object.assign(Object.defineProperty(create, 'name', { value: 'WebSocket' }), {
  prototype: Connection.prototype,
  CONNECTING: Connection.CONNECTING,
  OPEN: Connection.OPEN,
  CLOSING: Connection.CLOSING,
  CLOSED: Connection.CLOSED
}) as unknown as WebSocketConstructor
