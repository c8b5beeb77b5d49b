// connect() through proxies of node:http that know nothing but CONNECT.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { connect as connectTcp, type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { FastifyServerOptions } from 'fastify'
import { test, type Test } from 'tap'
import { connect } from '../../lib/index.ts'
import type { ConnectOptions } from '../../types/options.ts'
import { CERTIFICATE, echo, serve } from '../helpers/http.ts'

interface Proxy {
  port: number
  /** What it was asked for. */
  asked: Array<[authority: string | undefined, host: string | undefined, authorization: string | undefined]>
}

/** @param answer takes the place of a tunnel */
async function startProxy (t: Test, { answer, tls = false }: { answer?: (socket: Duplex) => void, tls?: boolean } = {}): Promise<Proxy> {
  const asked: Proxy['asked'] = []
  const sockets = new Set<Duplex>()
  const server: Server = tls ? createSecureServer(CERTIFICATE) : createServer()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.on('request', (_request, response) => { response.writeHead(400).end('CONNECT only') })
  server.on('connect', (request: IncomingMessage, socket: Duplex) => {
    asked.push([request.url, request.headers.host, request.headers['proxy-authorization']])
    socket.on('error', () => {})
    if (answer !== undefined) {
      answer(socket)
      return
    }
    const { port, hostname } = new URL(`http://${request.url!}`)
    const upstream = connectTcp(Number(port), hostname === 'far.example' ? '127.0.0.1' : hostname.replace(/[[\]]/g, ''), () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(upstream).pipe(socket)
    })
    sockets.add(upstream)
    upstream.on('error', () => { socket.destroy() })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, asked }
}

async function echoes (t: Test, url: string, options: ConnectOptions): Promise<void> {
  const client = await connect(url, options)
  client.send('hello')
  t.equal(await client.receive(), 'hello')
  client.close(1000)
  t.match(await client.closed, { code: 1000, wasClean: true })
}

test('ws: goes through by one CONNECT, which the proxy resolves the name for', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const { port, asked } = await startProxy(t)
  await echoes(t, `ws://far.example:${site.port}/ws`, { proxy: `http://us%40er:pass@127.0.0.1:${port}` })
  const authority = `far.example:${site.port}`
  t.strictSame(asked, [[authority, authority, `Basic ${Buffer.from('us@er:pass').toString('base64')}`]])
})

test('wss: goes through by one CONNECT, and the certificate is that of the server', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { server: { https: CERTIFICATE } as FastifyServerOptions })
  const { port, asked } = await startProxy(t)
  const proxy = new URL(`http://127.0.0.1:${port}`)
  await echoes(t, `wss://localhost:${site.port}/ws`, { proxy, request: { ca: CERTIFICATE.cert, family: 4 } })
  t.strictSame(asked, [[`localhost:${site.port}`, `localhost:${site.port}`, undefined]])
  await t.rejects(connect(`wss://localhost:${site.port}/ws`, { proxy }), { code: /SELF_SIGNED|UNABLE_TO_VERIFY/ })
  await t.rejects(connect(`wss://far.example:${site.port}/ws`, { proxy, request: { ca: CERTIFICATE.cert } }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  await echoes(t, `wss://far.example:${site.port}/ws`, { proxy, request: { ca: CERTIFICATE.cert, servername: 'localhost' } })
  await echoes(t, `wss://127.0.0.1:${site.port}/ws`, { proxy, request: { ca: CERTIFICATE.cert } })
})

test('a proxy of https: is asked over TLS', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const { port, asked } = await startProxy(t, { tls: true })
  await echoes(t, `ws://127.0.0.1:${site.port}/ws`, { proxy: `https://localhost:${port}`, request: { ca: CERTIFICATE.cert } })
  t.equal(asked.length, 1)
})

test('env: the variables decide for each URL, that of a redirect too', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const elsewhere = createServer((_request, response) => { response.writeHead(302, { location: `ws://localhost:${site.port}/ws` }).end() })
  await once(elsewhere.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { elsewhere.close() })
  const { port, asked } = await startProxy(t)
  const before = { ...process.env }
  t.teardown(() => { process.env = before })
  Object.assign(process.env, { http_proxy: `127.0.0.1:${port}`, no_proxy: '127.0.0.1' })
  await echoes(t, `ws://127.0.0.1:${site.port}/ws`, { proxy: 'env' })
  t.strictSame(asked, [])
  await echoes(t, `ws://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`, { proxy: 'env', maxRedirects: 1, request: { family: 4 } })
  t.strictSame(asked.map(([authority]) => authority), [`localhost:${site.port}`])
})

const REFUSALS: Array<[title: string, answer: string, error: object]> = [
  ['407', 'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nwho ?', {
    statusCode: 407, body: 'who ?', headers: { 'proxy-authenticate': 'Basic' }, message: /^the proxy 127\.0\.0\.1:\d+ has refused the connection with 407$/
  }],
  ['no length of its body', 'HTTP/1.1 502 Bad Gateway\r\n\r\nwhat', { statusCode: 502, body: '' }],
  ['a body that is shorter than it says', 'HTTP/1.1 503 Oops\r\nContent-Length: 50\r\n\r\nshort', { statusCode: 503, body: 'short' }],
  ['an endless body', `HTTP/1.1 503 Oops\r\nContent-Length: 500000\r\n\r\n${'x'.repeat(200_000)}`, { statusCode: 503, body: 'x'.repeat(65_536) }]
]
for (const [title, answer, error] of REFUSALS) {
  test(`a proxy that refuses with ${title}: FST_WS_PROXY`, async t => {
    const { port } = await startProxy(t, { answer: socket => { socket.end(answer) } })
    await t.rejects(connect('ws://far.example/', { proxy: `http://127.0.0.1:${port}` }), { name: 'HandshakeError', code: 'FST_WS_PROXY', ...error } as unknown as Error)
  })
}

test('a proxy that hangs up, is not there or does not answer', async t => {
  const { port } = await startProxy(t, { answer: socket => { socket.destroy() } })
  await t.rejects(connect('ws://far.example/', { proxy: `http://127.0.0.1:${port}` }), { name: 'HandshakeError', code: 'ECONNRESET' })
  await t.rejects(connect('ws://far.example/', { proxy: 'http://127.0.0.1:1' }), { code: 'ECONNREFUSED' })
  const ends: Array<Promise<unknown>> = []
  const silent = await startProxy(t, {
    answer: socket => {
      socket.resume()
      ends.push(once(socket, 'end'))
    }
  })
  const proxy = `http://127.0.0.1:${silent.port}`
  await t.rejects(connect('ws://far.example/', { proxy, handshakeTimeout: 50 }), { code: 'FST_WS_HANDSHAKE_TIMEOUT' })
  const controller = new AbortController()
  const connecting = connect('ws://far.example/', { proxy, signal: controller.signal })
  while (ends.length < 2) await new Promise(resolve => { setImmediate(resolve) })
  controller.abort(new Error('enough'))
  await t.rejects(connecting, { message: 'enough' })
  await Promise.all(ends)
})

test('a proxy whose refusal stops in mid-body is given up with the handshake', async t => {
  const { port } = await startProxy(t, { answer: socket => { socket.write('HTTP/1.1 503 Oops\r\nContent-Length: 50\r\n\r\nshort') } })
  await t.rejects(connect('ws://far.example/', { proxy: `http://127.0.0.1:${port}`, handshakeTimeout: 50 }), { code: 'FST_WS_HANDSHAKE_TIMEOUT' })
})

test('what the server sends in the packet that says that the tunnel is there is not lost', async t => {
  const { port } = await startProxy(t, {
    answer: socket => { socket.write('HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno') }
  })
  await t.rejects(connect('ws://far.example/', { proxy: `http://127.0.0.1:${port}` }), { statusCode: 403, body: 'no' } as unknown as Error)
})

test('of a connection that createConnection has made nothing is left after a refusal', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true, preHandler: async (_request, reply) => reply.code(403).send('no') }, echo) })
  const sockets: Socket[] = []
  const createConnection = (): Socket => {
    sockets.push(connectTcp(site.port, '127.0.0.1'))
    return sockets[0]!
  }
  await t.rejects(connect('ws://far.example/ws', { request: { createConnection } }), { statusCode: 403 } as unknown as Error)
  if (!sockets[0]!.closed) await once(sockets[0]!, 'close')
  t.equal(sockets.length, 1)
})

test('what is no proxy, and what says otherwise how to connect, is a TypeError', async t => {
  for (const [options, message] of [
    [{ proxy: 5 as never }, /proxy must be false, 'env' or a URL, not 5/],
    [{ proxy: 'ftp://a' }, /proxy must be the URL of a proxy, http: or https:, not one of ftp:/],
    [{ proxy: 'env', request: { agent: false } }, /exclude each other/],
    [{ proxy: 'http://a', request: { createConnection: () => { throw new Error('no') } } }, /exclude each other/]
  ] as Array<[ConnectOptions, RegExp]>) await t.rejects(connect('ws://a.example/', options), { name: 'TypeError', message })
})
