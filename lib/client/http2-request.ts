// A client's opening handshake as an extended CONNECT (RFC 8441), in the shape of the request of node:http that connect.ts makes.
import { EventEmitter, once } from 'node:events'
import { validateHeaderName, type IncomingMessage, type OutgoingHttpHeaders, type RequestOptions } from 'node:http'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, IncomingHttpStatusHeader } from 'node:http2'
import type { Exchange, HandshakeRequest } from './exchange.ts'
import { CONNECTION_FIELDS } from '../protocol/header-field.ts'
import { acceptKey } from '../protocol/server-handshake.ts'
import { Http2Transport } from '../transport/http2-transport.ts'

const NOTHING = Buffer.alloc(0)
// what an extended CONNECT says by its pseudo-header fields, or not at all
const OF_HTTP1 = new Set([...CONNECTION_FIELDS, 'host', 'sec-websocket-key'])

/** Opens a WebSocket on `session`, which stays open after it. */
export function overHttp2 (session: ClientHttp2Session): Exchange {
  return {
    request: (_url, options) => new ConnectRequest(session, options),
    transport: stream => new Http2Transport(stream as ClientHttp2Stream)
  }
}

/** Emits 'upgrade' or 'response', 'error' and 'close', as a ClientRequest does. */
export class ConnectRequest extends EventEmitter implements HandshakeRequest {
  readonly #session: ClientHttp2Session
  readonly #options: RequestOptions
  #stream: ClientHttp2Stream | null = null
  #isDestroyed = false
  #isClosed = false

  constructor (session: ClientHttp2Session, options: RequestOptions) {
    super()
    this.#session = session
    this.#options = options
  }

  /** Its 'close' has been. */
  get isClosed (): boolean { return this.#isClosed }
  /** Of RST_STREAM; undefined while there is none. */
  get rstCode (): number | undefined { return this.#stream?.rstCode }

  end (): void {
    this.#send().catch(error => { this.destroy(error as Error) })
  }

  destroy (error?: Error): void {
    if (this.#isDestroyed) return
    this.#isDestroyed = true
    if (this.#stream !== null) {
      this.#stream.destroy(error)
      return
    }
    if (error !== undefined) this.emit('error', error)
    this.#close()
  }

  #close (): void {
    this.#isClosed = true
    this.emit('close')
  }

  async #send (): Promise<void> {
    const session = this.#session
    // RFC 8441 §3: not before the server has said that it takes it
    if (session.remoteSettings.enableConnectProtocol !== true) await once(session, 'remoteSettings')
    if (this.#isDestroyed) return
    const { path, signal } = this.#options
    const fields = this.#fields
    for (const name of Object.keys(fields)) validateHeaderName(name) // as for HTTP/1.1: no pseudo-header field is among them
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': session.encrypted === true ? 'https' : 'http',
      ':authority': String(fields.host ?? 'localhost'),
      ':path': path!,
      ...Object.fromEntries(Object.entries(fields).filter(([name]) => !OF_HTTP1.has(name)))
    }, { endStream: false, ...(signal === undefined ? {} : { signal }) })
    this.#stream = stream
    stream.on('error', error => { this.emit('error', error) })
    stream.on('close', () => { this.#close() })
    stream.on('response', fields => { this.#onResponse(stream, fields) })
  }

  /** As HTTP/2 writes them: of two that differ in case alone, the last. */
  get #fields (): OutgoingHttpHeaders {
    const { auth, headers } = this.#options
    const fields = Object.entries(headers as OutgoingHttpHeaders).map(([name, value]) => [name.toLowerCase(), value])
    // as node:http makes it of the user and the password of a URL
    const authorization = typeof auth === 'string' ? { authorization: `Basic ${Buffer.from(auth).toString('base64')}` } : {}
    return { ...authorization, ...Object.fromEntries(fields) }
  }

  #onResponse (stream: ClientHttp2Stream, { ':status': statusCode, ...headers }: IncomingHttpHeaders & IncomingHttpStatusHeader): void {
    if (statusCode !== 200) {
      this.emit('response', Object.assign(stream, { statusCode, headers }) as unknown as IncomingMessage)
      return
    }
    // what HTTP/1.1 says beside, and HTTP/2 need not
    const key = String(this.#fields['sec-websocket-key'])
    const implied = { upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-accept': acceptKey(key) }
    this.emit('upgrade', { statusCode: 101, headers: { ...headers, ...implied } }, stream, NOTHING)
  }
}
