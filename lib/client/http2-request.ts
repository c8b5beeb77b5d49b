// A client's opening handshake as an extended CONNECT (RFC 8441), with the interface of a node:http request.
import { EventEmitter, once } from 'node:events'
import type { IncomingMessage, OutgoingHttpHeaders, RequestOptions } from 'node:http'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, IncomingHttpStatusHeader } from 'node:http2'
import { http } from '../builtins.ts'
import type { Exchange, HandshakeRequest } from './exchange.ts'
import { CONNECTION_FIELDS } from '../protocol/header-field.ts'
import { acceptKey } from '../protocol/server-handshake.ts'
import { Http2Transport } from '../transport/http2-transport.ts'

const NOTHING = Buffer.alloc(0)
// fields that an extended CONNECT replaces by pseudo-header fields or omits
const OF_HTTP1 = new Set([...CONNECTION_FIELDS, 'host', 'sec-websocket-key'])

/** Opens WebSockets on `session`, which stays open. */
export function overHttp2 (session: ClientHttp2Session): Exchange {
  return {
    request: (_url, options) => new ConnectRequest(session, options),
    transport: stream => new Http2Transport(stream as ClientHttp2Stream)
  }
}

/** Emits 'upgrade' or 'response', 'error' and 'close', like a ClientRequest. */
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

  /** 'close' has been emitted. */
  get isClosed (): boolean { return this.#isClosed }
  /** The code of RST_STREAM; undefined before the stream exists. */
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
    // RFC 8441 §3: only once the server has announced support
    if (session.remoteSettings.enableConnectProtocol !== true) await once(session, 'remoteSettings')
    if (this.#isDestroyed) return
    const { path, signal } = this.#options
    const fields = this.#fields
    for (const name of Object.keys(fields)) http.validateHeaderName(name) // as for HTTP/1.1; also rejects pseudo-header fields
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

  /** Header fields in lower case; of two names that differ only in case the last wins. */
  get #fields (): OutgoingHttpHeaders {
    const { auth, headers } = this.#options
    const fields = Object.entries(headers as OutgoingHttpHeaders).map(([name, value]) => [name.toLowerCase(), value])
    // as node:http does for the user and password of a URL
    const authorization = typeof auth === 'string' ? { authorization: `Basic ${Buffer.from(auth).toString('base64')}` } : {}
    return { ...authorization, ...Object.fromEntries(fields) }
  }

  #onResponse (stream: ClientHttp2Stream, { ':status': statusCode, ...headers }: IncomingHttpHeaders & IncomingHttpStatusHeader): void {
    if (statusCode !== 200) {
      this.emit('response', Object.assign(stream, { statusCode, headers }) as unknown as IncomingMessage)
      return
    }
    // fields that are required in HTTP/1.1 and implied in HTTP/2
    const key = String(this.#fields['sec-websocket-key'])
    const implied = { upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-accept': acceptKey(key) }
    this.emit('upgrade', { statusCode: 101, headers: { ...headers, ...implied } }, stream, NOTHING)
  }
}
