// connect() as a WHATWG-style constructor, for libraries that expect one.
import type { BinaryType, ReadyState, WebSocketConnection } from '../../types/connection.ts'
import type { ConnectOptions } from '../../types/options.ts'
import { Connection, coreOf } from '../connection/connection.ts'
import { startConnecting } from './connect.ts'

/** The options of connect(), except subprotocols, which are an argument of their own. */
export type WebSocketOptions = Omit<ConnectOptions, 'protocols'>

export interface WebSocketConstructor {
  /**
   * Opens a WebSocket like a browser: it starts as CONNECTING, a failure emits 'error' and 'close' (1006), and binary messages are Blobs unless
   * `binaryType` is changed. After the event loop turn of 'open', messages without a listener are discarded.
   * @throws SyntaxError for an invalid URL or subprotocol, TypeError for an invalid option
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
    // browsers throw a SyntaxError for these, also for what is an option here
    const { code, message } = error as Error & { code?: string }
    if (code === 'ERR_INVALID_URL') throw new SyntaxError(`${JSON.stringify(String(url))} is not a WebSocket URL`, { cause: error })
    throw message.includes('option protocols ') ? new SyntaxError(message, { cause: error }) : error
  }
}

/** Its instances are the connections that connect() returns, and the other way round. */
export const WebSocket = Object.assign(Object.defineProperty(create, 'name', { value: 'WebSocket' }), {
  prototype: Connection.prototype,
  CONNECTING: Connection.CONNECTING,
  OPEN: Connection.OPEN,
  CLOSING: Connection.CLOSING,
  CLOSED: Connection.CLOSED
}) as unknown as WebSocketConstructor
