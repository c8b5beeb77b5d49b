// connect() over HTTP/2: sessions that are shared, and what becomes of them.
import { once } from 'node:events'
import { createSecureServer, createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { connect as connectTcp, createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { test, type Test } from 'tap'
import websocket, { connect } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { ConnectOptions } from '../../types/options.ts'
import { CERTIFICATE, echo, serve, within } from '../helpers/http.ts'

const TLS: ConnectOptions = { http2: true, request: { ca: CERTIFICATE.cert, family: 4 } }
const AUTO: ConnectOptions = { ...TLS, http2: 'auto' }

interface Site {
  app: FastifyInstance
  port: number
  /** Connections of TCP that ever were. */
  sockets: Set<Socket>
  sessions: Set<ServerHttp2Session>
  versions: string[]
}

async function start (t: Test, { tls = true, settings = {}, allowHTTP1 = true }: { tls?: boolean, settings?: object, allowHTTP1?: boolean } = {}): Promise<Site> {
  const app = Fastify({ http2: true, ...(tls ? { https: { ...CERTIFICATE, allowHTTP1, settings } } : { http2SessionTimeout: 0 }) } as object) as unknown as FastifyInstance
  await app.register(websocket)
  const site: Site = { app, port: 0, sockets: new Set(), sessions: new Set(), versions: [] }
  app.get('/ws', { websocket: true }, (connection, request) => {
    site.versions.push(request.raw.httpVersion)
    connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
  })
  app.get('/who', { websocket: true }, (connection, { headers }) => { connection.send(JSON.stringify([headers[':authority'], headers.authorization, headers['x-own']])) })
  const server = app.server as unknown as Http2Server
  server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => site.sockets.add(socket))
  server.on('session', session => {
    site.sessions.add(session)
    session.on('error', () => {})
    session.on('close', () => site.sessions.delete(session))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(async () => {
    for (const session of site.sessions) session.destroy()
    await app.close()
  })
  site.port = (app.server.address() as AddressInfo).port
  return site
}

async function talk (t: Test, client: WebSocketConnection): Promise<void> {
  client.send('hello')
  t.equal(String(await within(10_000, client.receive(), 'the echo')), 'hello')
}

async function portOf (t: Test, server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

test('connections of one origin share a session, also when they are opened at once', async t => {
  const { port, sockets, versions } = await start(t)
  const clients = await Promise.all(Array.from({ length: 30 }, () => connect(`wss://localhost:${port}/ws`, TLS)))
  clients.push(await connect(`wss://localhost:${port}/ws`, { ...TLS, request: { ca: Buffer.from(CERTIFICATE.cert), family: 4 } }))
  await Promise.all(clients.slice(0, 30).map(client => talk(t, client)))
  t.equal(sockets.size, 2, 'with another object for the certificate it is another one')
  t.strictSame(new Set(versions), new Set(['2.0']))
  for (const client of clients) client.close(1000)
  for (const client of clients) t.match(await client.closed, { code: 1000, wasClean: true })
})

test('ws: is HTTP/2 without TLS; header fields, and the user of the URL, go along', async t => {
  const { port } = await start(t, { tls: false })
  const client = await connect(`ws://us%40er:pass@127.0.0.1:${port}/who`, { http2: true, headers: { 'X-Own': 'mine' } })
  t.strictSame(JSON.parse(await client.receive() as string), [`127.0.0.1:${port}`, `Basic ${Buffer.from('us@er:pass').toString('base64')}`, 'mine'])
  client.terminate()
})

test('no more streams than the server allows, or 100, are on one session', async t => {
  for (const [maxConcurrentStreams, count, sessions] of [[3, 7, 3], [1000, 101, 2]] as const) {
    const { port, sockets } = await start(t, { settings: { maxConcurrentStreams } })
    const clients = await Promise.all(Array.from({ length: count }, () => connect(`wss://localhost:${port}/ws`, TLS)))
    t.equal(sockets.size, sessions)
    clients.shift()!.close(1000)
    await talk(t, clients[0]!)
    await Promise.all(clients.map(async client => {
      client.close(1000)
      await client.closed
    }))
    const again = await connect(`wss://localhost:${port}/ws`, TLS)
    t.equal(sockets.size, sessions, 'there is room where some have gone')
    again.terminate()
  }
})

test('a server that allows no stream at all, speaks no HTTP/2 or takes no WebSockets over it: FST_WS_HTTP2', async t => {
  const none = await start(t, { settings: { maxConcurrentStreams: 0 } })
  await t.rejects(connect(`wss://localhost:${none.port}/ws`, TLS), { code: 'FST_WS_HTTP2', statusCode: 503 })
  const old = await portOf(t, createTlsServer(CERTIFICATE))
  await t.rejects(connect(`wss://localhost:${old}/ws`, TLS), { code: 'FST_WS_HTTP2', statusCode: 501, message: /does not speak it/ })
  const plain = await portOf(t, createSecureServer({ ...CERTIFICATE, allowHTTP1: true }))
  await t.rejects(within(5_000, connect(`wss://localhost:${plain}/ws`, TLS), 'the error'), { code: 'FST_WS_HTTP2', statusCode: 501, message: /takes no WebSockets over it/ })
})

test('auto: HTTP/2 where the server has it, else HTTP/1.1, at once and on the connection that there is', async t => {
  const both = await start(t)
  const client = await connect(`wss://localhost:${both.port}/ws`, AUTO)
  await talk(t, client)
  t.strictSame(both.versions, ['2.0'])
  client.terminate()

  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { server: { https: CERTIFICATE } as FastifyServerOptions })
  const counted = { count: 0 }
  const proxy = await portOf(t, createTcpServer(socket => {
    counted.count++
    const upstream = connectTcp(site.port, '127.0.0.1')
    socket.on('error', () => {}).pipe(upstream).on('error', () => {}).pipe(socket)
  }))
  const clients = await Promise.all([1, 2, 3].map(() => connect(`wss://localhost:${proxy}/ws`, AUTO)))
  clients.push(await connect(`wss://localhost:${proxy}/ws`, AUTO))
  await Promise.all(clients.map(client => talk(t, client)))
  t.equal(counted.count, 4, 'one connection each: it is remembered')
  for (const client of clients) client.terminate()
})

test('auto: a server whose HTTP/2 takes no WebSockets gets HTTP/1.1 on a second connection, and is remembered', async t => {
  const app = Fastify({ https: CERTIFICATE } as FastifyServerOptions)
  await app.register(websocket)
  app.get('/ws', { websocket: true }, echo)
  await app.ready()
  let connections = 0
  const server = createSecureServer({ ...CERTIFICATE, allowHTTP1: true })
  server.on('connection', () => { connections++ })
  server.on('upgrade', (request, socket, head) => { app.server.emit('upgrade', request, socket, head) })
  const port = await portOf(t, server)
  t.teardown(() => app.close())
  for (const expected of [2, 3]) {
    const client = await within(5_000, connect(`wss://localhost:${port}/ws`, AUTO), 'the connection')
    await talk(t, client)
    t.equal(connections, expected)
    client.terminate()
    await client.closed
  }
})

test('auto is HTTP/1.1 for ws:, and for who says how to connect; true does not go with that', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  for (const request of [{}, { createConnection: () => connectTcp(site.port, '127.0.0.1') }, { agent: false as const }]) {
    const client = await connect(`ws://127.0.0.1:${site.port}/ws`, { http2: 'auto', request })
    await talk(t, client)
    client.terminate()
  }
  for (const [url, options] of [
    ['wss://a.example/', { request: { agent: false } }], ['wss://a.example/', { request: { createConnection: () => { throw new Error('no') } } }], ['ws+unix:/a:/b', {}]
  ] as Array<[string, ConnectOptions]>) {
    await t.rejects(connect(url, { ...options, http2: true }), { name: 'TypeError', message: /http2: true opens connections of its own/ })
  }
  await t.rejects(connect('wss://a.example/', { http2: 'h2' as never }), { name: 'TypeError', message: /http2 must be true, false or 'auto', not "h2"/ })
})

test('behind a GOAWAY the open connections stay, and the next is on a new session', async t => {
  const { port, sessions, sockets } = await start(t)
  const url = `wss://localhost:${port}/ws`
  const first = await connect(url, TLS)
  const second = await connect(url, TLS)
  const [session] = sessions
  session!.goaway()
  const third = await connect(url, TLS)
  await Promise.all([first, second, third].map(client => talk(t, client)))
  await talk(t, await connect(url, TLS))
  t.equal(sockets.size, 2)
  first.terminate()
  second.close(1000)
  await second.closed
})

/** A server of HTTP/2 that answers by hand. */
async function answering (t: Test, onStream: (stream: ServerHttp2Stream, count: number) => void): Promise<{ port: number, counts: { sessions: number } }> {
  const server = createServer({ settings: { enableConnectProtocol: true } })
  const counts = { sessions: 0 }
  let streams = 0
  server.on('session', session => {
    counts.sessions++
    t.teardown(() => { session.destroy() })
    session.on('error', () => {})
  })
  server.on('stream', stream => {
    stream.on('error', () => {})
    onStream(stream, streams++)
  })
  return { port: await portOf(t, server), counts }
}

test('a stream that is refused is asked for once more, and no more than that', async t => {
  const { port } = await answering(t, (stream, count) => {
    if (count === 0) stream.close(7)
    else stream.respond({ ':status': 200 })
  })
  const client = await connect(`ws://127.0.0.1:${port}/`, { http2: true })
  t.equal(client.readyState, 1)
  client.terminate()
  const never = await answering(t, stream => { stream.close(7) })
  await t.rejects(connect(`ws://127.0.0.1:${never.port}/`, { http2: true }), { code: 'ERR_HTTP2_STREAM_ERROR', message: /REFUSED_STREAM/ })
})

test('a session that ends before it has answered is followed by another', async t => {
  const { port, counts } = await answering(t, (stream, count) => {
    if (count === 0) stream.session!.destroy()
    else stream.respond({ ':status': 200 })
  })
  const client = await connect(`ws://127.0.0.1:${port}/`, { http2: true })
  t.equal(counts.sessions, 2)
  client.terminate()
})

test('an answer that is no 200 is a refusal with its body, and leaves its session to others', async t => {
  const { port, counts } = await answering(t, (stream, count) => {
    stream.respond({ ':status': count === 0 ? 403 : 200 })
    if (count === 0) stream.end('no')
  })
  await t.rejects(connect(`ws://127.0.0.1:${port}/`, { http2: true }), { statusCode: 403, body: 'no' } as unknown as Error)
  const client = await connect(`ws://127.0.0.1:${port}/`, { http2: true })
  t.equal(counts.sessions, 1)
  client.terminate()
})

test('a session on which a handshake was not answered in time takes no more', async t => {
  const { port, counts } = await answering(t, (stream, count) => { if (count !== 1) stream.respond({ ':status': 200 }) })
  const url = `ws://127.0.0.1:${port}/`
  const first = await connect(url, { http2: true })
  await t.rejects(connect(url, { http2: true, handshakeTimeout: 100 }), { code: 'FST_WS_HANDSHAKE_TIMEOUT' })
  const second = await connect(url, { http2: true })
  t.equal(counts.sessions, 2)
  t.equal(first.readyState, 1, 'what is open may go on')
  first.terminate()
  second.terminate()
})

test('a session of which a connection was silent takes no more', async t => {
  const { port, counts } = await answering(t, stream => { stream.respond({ ':status': 200 }) })
  const url = `ws://127.0.0.1:${port}/`
  const silent = await connect(url, { http2: true, heartbeat: { interval: 40, timeout: 40 } })
  t.match(await silent.closed, { cause: 'silent' })
  const next = await connect(url, { http2: true })
  t.equal(counts.sessions, 2)
  next.terminate()
})

test('a session that has died without a word is left within the handshake, which goes on elsewhere', async t => {
  const { port, sockets } = await start(t)
  const pairs: Array<[Socket, Socket]> = []
  const between = await portOf(t, createTcpServer(socket => {
    const upstream = connectTcp(port, '127.0.0.1')
    pairs.push([socket, upstream])
    socket.on('error', () => {}).pipe(upstream).on('error', () => {}).pipe(socket)
  }))
  t.teardown(() => { for (const pair of pairs) for (const socket of pair) socket.destroy() })
  const url = `wss://localhost:${between}/ws`
  const first = await connect(url, TLS)
  const [[client, upstream]] = pairs as [[Socket, Socket]]
  client.unpipe(upstream).resume()
  upstream.unpipe(client).resume()
  const { setTimeout, performance } = globalThis
  t.teardown(() => { Object.assign(globalThis, { setTimeout }) })
  const { now } = performance
  t.teardown(() => { performance.now = now })
  performance.now = () => now.call(performance) + 10_001 // so that it is asked
  Object.assign(globalThis, {
    setTimeout: (callback: () => void, milliseconds: number) => setTimeout(callback, milliseconds === 5_000 ? 20 : milliseconds)
  })
  const second = await within(9_000, connect(url, TLS), 'the connection')
  Object.assign(globalThis, { setTimeout })
  performance.now = now
  await talk(t, second)
  t.equal(sockets.size, 2)
  first.terminate()
  second.terminate()
})

test('a signal gives up a session that is being opened, if nobody else waits for it', async t => {
  const ends: Array<Promise<unknown>> = []
  const server = createTcpServer(socket => {
    ends.push(once(socket.resume(), 'close'))
    socket.on('error', () => {})
  })
  const port = await portOf(t, server)
  const accepted = once(server, 'connection')
  const url = `ws://127.0.0.1:${port}/`
  const controller = new AbortController()
  const given = connect(url, { http2: true, signal: controller.signal })
  const other = connect(url, { http2: true, handshakeTimeout: 200 })
  other.catch(() => {})
  await accepted
  controller.abort(new Error('enough'))
  await t.rejects(given, { message: 'enough' })
  await t.rejects(other, { code: 'FST_WS_HANDSHAKE_TIMEOUT' })
  t.equal(ends.length, 1)
  await Promise.all(ends)
  await t.rejects(connect('ws://127.0.0.1:1/', { http2: true }), { code: 'ECONNREFUSED' })
  const hangsUp = await portOf(t, createTcpServer(socket => { socket.destroy() }))
  await t.rejects(connect(`ws://127.0.0.1:${hangsUp}/`, { http2: true }), { code: /ECONNRESET|ERR_HTTP2/ })
})

test('a session goes through a proxy like everything else', async t => {
  const { port, versions } = await start(t)
  const asked: string[] = []
  const proxy = (await import('node:http')).createServer().on('connect', (request, socket) => {
    asked.push(request.url!)
    const upstream = connectTcp(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.on('error', () => {}).pipe(upstream).on('error', () => {}).pipe(socket)
    })
  })
  const proxyPort = await portOf(t, proxy)
  const clients = [1, 2].map(() => connect(`wss://localhost:${port}/ws`, { ...AUTO, proxy: `http://127.0.0.1:${proxyPort}` }))
  for (const client of await Promise.all(clients)) {
    await talk(t, client)
    client.terminate()
  }
  t.strictSame(asked, [`localhost:${port}`])
  t.strictSame(versions, ['2.0', '2.0'])
})
