// HTTP/2 as node:http2 speaks it: one session, and on it streams that are handshakes, WebSockets or ordinary requests.
import { once } from 'node:events'
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { startConnecting } from '../../lib/client/connect.ts'
import { overHttp2 } from '../../lib/client/http2-request.ts'
import websocket from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import type { ClientOptions } from '../contract/contract.ts'
import { CERTIFICATE, Peer } from './http.ts'

const sessions = new WeakMap<FastifyInstance, ClientHttp2Session>()

/** Opens a WebSocket on the one session that all of an app share. */
export async function openOverHttp2 (app: FastifyInstance, path: string, { headers, ...options }: ClientOptions = {}): Promise<WebSocketConnection> {
  let session = sessions.get(app)
  if (session === undefined || session.closed) {
    session = connect(addressOf(app), { ca: CERTIFICATE.cert, servername: 'localhost' })
    sessions.set(app, session)
  }
  const { connection, opened } = startConnecting(`ws://app.example${path}`, {
    ...options, headers: { host: 'app.example', ...headers }
  }, { exchange: overHttp2(session) })
  await opened
  return connection
}

/** Such as http://127.0.0.1:1234. */
export function addressOf ({ server }: FastifyInstance): string {
  return `${server instanceof TlsServer ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Lets an app with the plugin listen, for HTTP/2 in cleartext, until the test is over. */
export async function serveHttp2 (
  t: Test, declare: (app: FastifyInstance) => unknown, { plugin = {}, server = {}, host = '127.0.0.1', before = () => {} }: {
    plugin?: WebSocketPluginOptions, server?: object, host?: string, before?: (app: FastifyInstance) => unknown
  } = {}
): Promise<FastifyInstance> {
  const app = Fastify({ http2: true, ...server }) as unknown as FastifyInstance
  await before(app)
  await app.register(websocket, { shutdownTimeout: 500, ...plugin })
  await declare(app)
  await app.listen({ port: 0, host })
  t.teardown(() => app.close())
  return app
}

/** A session with `app`, once its settings are here; it is dropped when the test is over. */
export async function openSession (t: Test, app: FastifyInstance | string, options: Parameters<typeof connect>[1] = {}): Promise<Http2Client> {
  const session = connect(typeof app === 'string' ? app : addressOf(app), { ca: CERTIFICATE.cert, servername: 'localhost', ...options } as object)
  t.teardown(() => { session.destroy() })
  session.on('error', () => {})
  await once(session, 'remoteSettings')
  return new Http2Client(session)
}

export class Http2Client {
  readonly session: ClientHttp2Session

  constructor (session: ClientHttp2Session) {
    this.session = session
  }

  /** Sends the header fields of an extended CONNECT with these changed; undefined leaves one out. */
  handshake (path = '/ws', changes: OutgoingHttpHeaders = {}, { endStream = false, deaf = false } = {}): Http2Peer {
    const fields = Object.entries({
      ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, ':scheme': 'http', ':authority': 'server.example.com', 'sec-websocket-version': '13', ...changes
    }).filter(([, value]) => value !== undefined)
    return new Http2Peer(this.session.request(Object.fromEntries(fields), { endStream }), deaf)
  }

  /** Opens a WebSocket. */
  async open (path?: string, changes?: OutgoingHttpHeaders): Promise<Http2Peer> {
    const peer = this.handshake(path, changes)
    const { ':status': status } = await peer.response
    if (status !== 200) throw new Error(`the handshake was answered ${status}`)
    return peer
  }

  get (path: string): Http2Peer {
    return new Http2Peer(this.session.request({ ':path': path }), false)
  }
}

/** The client's end of a stream: `closed` tells with null that it ended without an error. */
export class Http2Peer extends Peer {
  readonly stream: ClientHttp2Stream
  /** Rejects when the stream ends without one. */
  readonly response: Promise<IncomingHttpHeaders & { ':status'?: number }>

  constructor (stream: ClientHttp2Stream, deaf: boolean) {
    super(Object.assign(stream, { setNoDelay () {} }) as unknown as Socket, deaf)
    this.stream = stream
    this.response = new Promise((resolve, reject) => {
      stream.once('response', resolve)
      stream.once('close', () => { reject(new Error(`the stream ended with ${stream.rstCode} and no response`)) })
    })
    this.response.catch(() => {})
  }

  /** What the server has ended the stream with. */
  async rstCode (): Promise<number | undefined> {
    await this.closed
    return this.stream.rstCode
  }

  async status (): Promise<number | undefined> {
    return (await this.response)[':status']
  }

  /** All of an ordinary answer. */
  async whole (): Promise<{ status: number | undefined, headers: IncomingHttpHeaders, body: string }> {
    const { ':status': status, ...headers } = await this.response
    return { status, headers, body: await this.rest() }
  }
}
