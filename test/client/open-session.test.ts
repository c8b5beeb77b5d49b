// A session of HTTP/2 from nothing to the server's first SETTINGS, with servers of node:http2, node:tls and node:net.
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createSecureServer, createServer, type Http2SecureServer, type Http2Server, type ServerHttp2Session } from 'node:http2'
import type { RequestOptions } from 'node:https'
import { connect as connectTcp, createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, TLSSocket } from 'node:tls'
import { test, type Test } from 'tap'
import { openSession } from '../../lib/client/open-session.ts'
import type { Opened } from '../../lib/client/session-pool.ts'
import { CERTIFICATE, within } from '../helpers/http.ts'

type AnyServer = Server | Http2Server | Http2SecureServer

const SETTINGS = { enableConnectProtocol: true }
const NEVER = new AbortController().signal

/** Listens until the test is over. @returns the port, and the connections that come */
async function listen (t: Test, server: AnyServer): Promise<{ port: number, sockets: Socket[] }> {
  const sockets: Socket[] = []
  server.on('connection', (socket: Socket) => { sockets.push(socket.on('error', () => {})) })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, sockets }
}

async function open (
  t: Test, protocol: 'ws' | 'wss', port: number, { mayFallBack = false, signal = NEVER, proxy = null }: { mayFallBack?: boolean, signal?: AbortSignal, proxy?: URL | null } = {}
): Promise<Opened> {
  const options: RequestOptions = { hostname: 'localhost', port, family: 4, ca: CERTIFICATE.cert, path: '/ws', headers: { a: 'b' }, auth: 'u:p' }
  const opened = await within(10_000, openSession(new URL(`${protocol}://localhost:${port}/ws`), options, proxy, mayFallBack, signal), 'the session')
  t.teardown(() => { ('session' in opened ? opened.session : opened.socket)?.destroy() })
  return opened
}

async function allClosed (sockets: Socket[]): Promise<void> {
  await within(10_000, Promise.all(sockets.filter(({ closed }) => !closed).map(socket => once(socket, 'close'))), 'the end of the connections')
}

test('ws: and wss: lead to a session whose server takes WebSockets, with windows of ours and without pushes', async t => {
  for (const [protocol, server] of [['ws', createServer({ settings: SETTINGS })], ['wss', createSecureServer({ ...CERTIFICATE, settings: SETTINGS })]] as const) {
    const { port, sockets } = await listen(t, server)
    const begun = once(server, 'session') as Promise<[ServerHttp2Session]>
    const opened = await open(t, protocol, port)
    if (!('session' in opened)) throw new Error('there is none')
    const [served] = await begun
    if (served.remoteSettings.initialWindowSize === 65535) await once(served, 'remoteSettings')
    t.match(served.remoteSettings, { enablePush: false, initialWindowSize: 256 * 1024 }, protocol)
    t.equal(opened.session.state.effectiveLocalWindowSize, 2 * 1024 * 1024)
    t.equal(opened.session.remoteSettings.enableConnectProtocol, true)
    t.equal(opened.session.encrypted, protocol === 'wss')
    t.equal(sockets.length, 1)
    opened.session.destroy()
    await allClosed(sockets)
  }
})

test('a server of TLS that speaks HTTP/1.1 only: its connection, if that will do, else FST_WS_HTTP2, and nothing is left open', async t => {
  const server = createTlsServer({ ...CERTIFICATE, ALPNProtocols: ['http/1.1'] }, socket => { socket.on('error', () => {}).write('hello') })
  const { port, sockets } = await listen(t, server)
  const opened = await open(t, 'wss', port, { mayFallBack: true })
  const { socket } = opened as { socket: TLSSocket }
  t.ok(socket instanceof TLSSocket)
  t.equal(socket.alpnProtocol, 'http/1.1')
  t.equal(String((await once(socket, 'data'))[0]), 'hello', 'nothing of it has been read')
  socket.destroy()
  const without = await listen(t, createTlsServer(CERTIFICATE, socket => { socket.on('error', () => {}) }))
  await t.rejects(open(t, 'wss', without.port), { code: 'FST_WS_HTTP2', statusCode: 501, message: /does not speak it/ })
  await allClosed([...sockets, ...without.sockets])
})

test('a server of HTTP/2 that takes no WebSockets: no connection, if HTTP/1.1 will do, else FST_WS_HTTP2, and nothing is left open', async t => {
  for (const [protocol, server] of [['ws', createServer()], ['wss', createSecureServer(CERTIFICATE)]] as const) {
    const { port, sockets } = await listen(t, server)
    t.strictSame(await open(t, protocol, port, { mayFallBack: true }), { socket: null })
    await t.rejects(open(t, protocol, port), { code: 'FST_WS_HTTP2', statusCode: 501, message: /RFC 8441/ })
    t.equal(sockets.length, 2)
    await allClosed(sockets)
  }
})

test('an abort ends it wherever it stands, with its reason: before TLS, in its handshake, before SETTINGS', async t => {
  const reason = new Error('enough')
  const silent = createTcpServer()
  const { port, sockets } = await listen(t, silent)
  const other = await listen(t, createTcpServer())
  for (const protocol of ['ws', 'wss'] as const) {
    await t.rejects(open(t, protocol, other.port, { signal: AbortSignal.abort(reason) }), reason)
    const controller = new AbortController()
    const begun = once(silent, 'connection')
    const opening = open(t, protocol, port, { signal: controller.signal })
    const [socket] = await begun as [Socket]
    if (protocol === 'wss') await once(socket, 'data')
    controller.abort(reason)
    await t.rejects(opening, reason)
  }
  for (const socket of [...sockets, ...other.sockets]) socket.resume()
  await allClosed([...sockets, ...other.sockets])
})

test('a server that is not there, hangs up, or has another certificate is an error of node:net and node:tls', async t => {
  const gone = createTcpServer()
  const { port } = await listen(t, gone)
  gone.close()
  await t.rejects(open(t, 'ws', port), { code: 'ECONNREFUSED' })
  await t.rejects(open(t, 'wss', port), { code: 'ECONNREFUSED' })
  const rude = await listen(t, createTcpServer(socket => { socket.on('error', () => {}).once('data', () => { socket.end() }) }))
  await t.rejects(open(t, 'ws', rude.port), { code: 'ECONNRESET', message: /closed before the handshake/ })
  await t.rejects(open(t, 'wss', rude.port), { code: 'ECONNRESET' })
  const secure = await listen(t, createSecureServer({ ...CERTIFICATE, settings: SETTINGS }))
  const options: RequestOptions = { hostname: 'localhost', port: secure.port, family: 4 }
  await t.rejects(openSession(new URL(`wss://localhost:${secure.port}`), options, null, true, NEVER), { code: /SELF_SIGNED|UNABLE_TO_VERIFY/ })
})

test('a tunnel through a proxy leads to the same', async t => {
  const server = createSecureServer({ ...CERTIFICATE, settings: SETTINGS })
  const { port } = await listen(t, server)
  const asked: Array<string | undefined> = []
  const proxy = createHttpServer().on('connect', ({ url }, socket) => {
    asked.push(url)
    const upstream = connectTcp(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.on('error', () => {}).pipe(upstream).on('error', () => {}).pipe(socket)
    })
  })
  const { port: proxyPort } = await listen(t, proxy)
  const opened = await open(t, 'wss', port, { proxy: new URL(`http://127.0.0.1:${proxyPort}`) })
  t.ok('session' in opened)
  t.strictSame(asked, [`localhost:${port}`])
})
