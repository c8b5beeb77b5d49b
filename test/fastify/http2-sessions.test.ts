// Sessions of HTTP/2: what becomes of them and their WebSockets, and what these leave for other streams.
import { once } from 'node:events'
import { connect as connectHttp2, constants, type Http2Server, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { connect as connectTcp, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketHandler } from '../../types/fastify.ts'
import { CERTIFICATE, close, content, deferred, echo, text, within } from '../helpers/http.ts'
import { readFrames } from '../helpers/frames.ts'
import { addressOf, openOverHttp2, openSession, serveHttp2, type Http2Client } from '../helpers/http2.ts'

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])

const serveEcho = (app: FastifyInstance): void => {
  app.get('/ws', { websocket: true }, echo)
  app.get('/', async () => 'page')
}
const closing = (app: FastifyInstance): Promise<void> => (async () => { await app.close() })()
const serverOf = (app: FastifyInstance): Http2Server => app.server as unknown as Http2Server

/** A session whose server side is known. */
async function openBoth (t: Test, app: FastifyInstance, options?: object): Promise<[Http2Client, ServerHttp2Session]> {
  const accepted = once(serverOf(app), 'session') as Promise<[ServerHttp2Session]>
  const client = await openSession(t, app, options)
  return [client, (await accepted)[0]]
}

/** A frame of HTTP/2. */
function frame (type: number, flags: number, stream: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0, payload.length >> 8, payload.length & 255, type, flags, 0, 0, 0, stream]), payload])
}

/** The bytes of a client that opens a WebSocket and allows any number of bytes to come. */
function rawConnect (path: string): Buffer {
  const fields = {
    ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'http', ':path': path, ':authority': 'a', 'sec-websocket-version': '13'
  }
  // RFC 7541 §6.2.2: a literal field that is not indexed, with a new name
  const block = Object.entries(fields).map(([name, value]) =>
    Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]))
  return Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(0x4, 0, 0, Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff])), // SETTINGS_INITIAL_WINDOW_SIZE
    frame(0x8, 0, 0, Buffer.from([0x7f, 0, 0, 0])), // WINDOW_UPDATE of the session
    frame(0x1, 0x4, 1, Buffer.concat(block)) // HEADERS
  ])
}

// Time

test('an idle WebSocket outlives the session\'s timeout: its session only takes no more', async t => {
  const app = await serveHttp2(t, serveEcho, { server: { http2SessionTimeout: 50 } })
  const client = await openSession(t, app)
  const peer = await client.open()
  await within(2000, once(client.session, 'goaway'), 'GOAWAY')
  t.equal(client.session.closed, true)
  t.strictSame(await peer.write(text('still here')).contents(1), ['still here'])
})

test('heartbeats keep a session open for more', async t => {
  const app = await serveHttp2(t, serveEcho, { server: { http2SessionTimeout: 400 }, plugin: { heartbeat: { interval: 50, timeout: 10_000 } } })
  const client = await openSession(t, app)
  const peer = await client.open()
  const begin = performance.now()
  while (performance.now() - begin < 1000) {
    t.equal((await peer.frame()).opcode, 0x9)
    peer.write(PONG)
  }
  t.equal(client.session.closed, false)
  t.equal((await client.get('/').whole()).body, 'page')
})

test('connectionTimeout ends an idle session with its WebSockets, and heartbeats prevent it', async t => {
  for (const heartbeat of [false, { interval: 50, timeout: 10_000 }] as const) {
    const app = await serveHttp2(t, serveEcho, { server: { connectionTimeout: 1000, http2SessionTimeout: 1000 }, plugin: { heartbeat } })
    const client = await openSession(t, app)
    const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const peer = await client.open()
    const [connection] = await connected
    if (heartbeat === false) {
      t.match(await within(10_000, connection.closed, 'the end'), { code: 1006 })
    } else {
      const begin = performance.now()
      while (performance.now() - begin < 1500) {
        await peer.frame()
        peer.write(PONG)
      }
      t.equal(connection.readyState, connection.OPEN)
    }
  }
})

test('a client that answers no Ping is dropped, though its session lives', async t => {
  const app = await serveHttp2(t, serveEcho, { plugin: { heartbeat: { interval: 50, timeout: 50 } } })
  const client = await openSession(t, app)
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  client.handshake('/ws')
  const [connection] = await connected // answers no Ping
  t.match(await within(2000, connection.closed, 'the end'), { code: 1006 })
})

// GOAWAY and the end of a session

test('after GOAWAY of the client its WebSockets go on', async t => {
  const app = await serveHttp2(t, serveEcho)
  const [client, session] = await openBoth(t, app)
  const peer = await client.open()
  client.session.goaway(NGHTTP2_NO_ERROR)
  await within(2000, once(session, 'goaway'), 'GOAWAY')
  t.strictSame(await peer.write(text('still here')).contents(1), ['still here'])
})

for (const [title, end] of [
  ['GOAWAY with an error', client => { client.session.goaway(constants.NGHTTP2_INTERNAL_ERROR) }],
  ['an end without a word', client => { client.session.destroy() }],
  ['bytes that are no HTTP/2', (_client, socket) => { socket.write('x'.repeat(1000)) }],
  ['a TCP reset', (_client, socket) => { socket.resetAndDestroy() }]
] as Array<[string, (client: Http2Client, socket: Socket) => void]>) {
  test(`${title} ends all WebSockets of a session with 1006, and no others`, async t => {
    // Node 20 tells nobody that it has given up a session whose client broke the rules: there it is a Ping that stays unsent
    const app = await serveHttp2(t, serveEcho, { plugin: { heartbeat: { interval: 200, timeout: 200 }, stallTimeout: 300 } })
    const bystander = await openOverHttp2(app, '/ws')
    t.teardown(() => { bystander.terminate() })
    const socket = connectTcp((app.server.address() as AddressInfo).port, '127.0.0.1')
    const client = await openSession(t, app, { createConnection: () => socket })
    const connections: WebSocketConnection[] = []
    app.websocketServer.on('connection', connection => { connections.push(connection) })
    for (let i = 0; i < 3; i++) await client.open()
    end(client, socket)
    for (const connection of connections) t.match(await within(2000, connection.closed, 'the end'), { code: 1006 })
    t.equal(connections.length, 3)
    bystander.send('a')
    t.equal(await bystander.receive(), 'a')
  })
}

test('the socket of a session that has ended is not kept', async t => {
  for (const server of [{}, { https: CERTIFICATE }]) {
    const app = await serveHttp2(t, serveEcho, { server })
    const sockets: Array<WeakRef<Socket>> = []
    app.server.on('https' in server ? 'secureConnection' : 'connection', (socket: Socket) => { sockets.push(new WeakRef(socket)) })
    const closed: Array<Promise<unknown>> = []
    serverOf(app).on('session', session => { closed.push(once(session, 'close')) })
    for (let i = 0; i < 3; i++) {
      const client = await openSession(t, app)
      await client.open()
      await client.get('/').whole()
      client.session.destroy()
      await closed[i]
    }
    const left = (): number => sockets.filter(socket => socket.deref() !== undefined).length
    for (let i = 0; i < 20 && left() > 0; i++) {
      await new Promise(resolve => { setImmediate(resolve) }) // a WeakRef holds on until the end of the turn
      collectGarbage()
    }
    t.equal(sockets.length, 3)
    t.equal(left(), 0)
  }
})

for (const [title, code, end] of [
  ['said Close', 4000, connection => { connection.close(4000, 'bye') }],
  ['failed', 1011, () => { throw new Error('oops') }]
] as Array<[string, number, (connection: WebSocketConnection) => void]>) {
  test(`a client that reads slowly gets all, and can answer, when the server has ${title} and its closeTimeout is over`, async t => {
    const app = await serveHttp2(t, app => {
      app.get('/ws', { websocket: true }, connection => {
        connection.send(Buffer.alloc(1_000_000))
        connection.once('message', () => { end(connection) })
      })
    }, { plugin: { closeTimeout: 50 } })
    const client = await openSession(t, app, { settings: { initialWindowSize: 2 ** 22 } })
    client.session.setLocalWindowSize(2 ** 22)
    const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const peer = client.handshake('/ws', {}, { deaf: true })
    const [connection] = await connected
    if (connection.bufferedAmount > 0) await once(connection, 'drain') // before the end begins, as closeTimeout would drop what is unsent
    peer.write(text('x'))
    t.match(await within(5000, connection.closed, 'the end here'), { code: 1006 })
    await new Promise(resolve => { client.session.ping(resolve) })
    t.equal(peer.stream.closed, false)
    const chunks: Buffer[] = []
    peer.stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
    await within(5000, once(peer.stream, 'end'), 'the end there')
    const { frames } = readFrames(Buffer.concat(chunks))
    t.equal(frames[0]!.payload.length, 1_000_000)
    t.equal(content(frames.at(-1)!), code)
    peer.write(close(code)).end()
    t.equal(await within(5000, peer.rstCode(), 'the end of the stream'), NGHTTP2_NO_ERROR)
  })
}

// The end of the app

for (const server of [{}, { https: CERTIFICATE }, { https: { ...CERTIFICATE, allowHTTP1: true } }]) {
  test(`app.close() says 1001 and ends sessions, idle ones too: ${JSON.stringify(Object.keys(server.https ?? {}))}`, async t => {
    const app = await serveHttp2(t, serveEcho, { server, plugin: { shutdownTimeout: 20_000 } })
    const [client, idle] = [await openSession(t, app), await openSession(t, app)]
    const peer = await client.open()
    const closed = closing(app)
    t.strictSame(await peer.contents(1), [1001])
    peer.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]))
    await within(2000, closed, 'the end of the app')
    await within(2000, Promise.all([client, idle].map(async ({ session }) => session.destroyed || once(session, 'close'))), 'the end of the sessions')
  })
}

test('app.close() waits for a request on a session, also beyond shutdownTimeout, and then ends it', async t => {
  const held = deferred()
  const begun = deferred()
  const app = await serveHttp2(t, app => {
    serveEcho(app)
    app.get('/slow', async () => {
      begun.resolve()
      await held.promise
      return 'slow'
    })
  }, { plugin: { shutdownTimeout: 100 } })
  const client = await openSession(t, app)
  const peer = await client.open()
  const answer = client.get('/slow').whole()
  await begun.promise
  const closed = closing(app)
  await peer.closed // terminated, as it did not answer
  held.resolve()
  t.equal((await answer).body, 'slow')
  await within(2000, closed, 'the end of the app')
})

test('a session that comes when the app is closing is told to go', async t => {
  const seen: unknown[] = []
  const app = await serveHttp2(t, app => {
    serveEcho(app)
    app.addHook('preClose', async () => { // after that of the plugin
      const session = connectHttp2(addressOf(app))
      session.on('goaway', code => { seen.push(code) })
      await within(2000, new Promise(resolve => { session.once('close', resolve) }), 'the end of the session')
    })
  }, { plugin: { shutdownTimeout: 20_000 } })
  await within(4000, closing(app), 'the end of the app')
  t.equal(seen[0], NGHTTP2_NO_ERROR)
})

test('terminate() ends a connection at once whose client reads nothing at all', async t => {
  const connected = deferred<WebSocketConnection>()
  const app = await serveHttp2(t, app => {
    app.get('/flood', { websocket: true }, async connection => {
      connected.resolve(connection)
      while (connection.readyState === connection.OPEN) if (!connection.send(Buffer.alloc(65_536))) await connection.drained()
    })
  })
  const socket = connectTcp((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  socket.write(rawConnect('/flood'))
  const connection = await connected.promise
  for (let idle = 0, sent = 0; idle < 200; idle = connection.stats().bytesSent > sent ? 0 : idle + 1) { // until TCP takes no more
    sent = connection.stats().bytesSent
    await new Promise(resolve => { setImmediate(resolve) })
  }
  connection.terminate()
  t.match(await within(1000, connection.closed, 'the end'), { code: 1006 })
})

test('clients that read nothing more, or never end their side, do not hold up the end of the app', async t => {
  const app = await serveHttp2(t, app => {
    serveEcho(app)
    app.get('/flood', { websocket: true }, async connection => {
      for (;;) {
        if (!connection.send(Buffer.alloc(65_536))) await connection.drained()
        if (connection.readyState !== connection.OPEN) return
      }
    })
  }, { plugin: { shutdownTimeout: 200, closeTimeout: 200 } })
  for (const [path, isDeaf] of [['/flood', true], ['/ws', true], ['/ws', false]] as Array<[string, boolean]>) {
    const connected = once(app.websocketServer, 'connection')
    const socket = connectTcp({ port: (app.server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
    t.teardown(() => { socket.destroy() })
    if (!isDeaf) socket.resume()
    socket.write(rawConnect(path))
    await within(2000, connected, 'the connection')
  }
  await within(3000, closing(app), 'the end of the app')
})

test('a handshake in its hooks is refused when the app closes', async t => {
  const begun = deferred()
  const app = await serveHttp2(t, app => {
    app.get('/ws', { websocket: true, onRequest: () => { begun.resolve(); return new Promise(() => {}) } }, echo)
  })
  const client = await openSession(t, app)
  const peer = client.handshake()
  await begun.promise
  const closed = closing(app)
  const answer = await within(2000, peer.whole(), 'an answer')
  t.equal(answer.status, 503)
  await within(2000, closed, 'the end of the app')
})

// How many streams

/** The numbers of streams that a new session of `app` is told it may have, until its client has had every answer. */
async function announced (t: Test, app: FastifyInstance): Promise<Array<number | undefined>> {
  const session = connectHttp2(addressOf(app), { ca: CERTIFICATE.cert, servername: 'localhost' })
  t.teardown(() => { session.destroy() })
  const numbers: Array<number | undefined> = []
  session.on('remoteSettings', ({ maxConcurrentStreams }) => { numbers.push(maxConcurrentStreams) })
  await once(session, 'remoteSettings')
  // what is announced once the client's acknowledgement is here comes before the second answer
  for (let i = 0; i < 2; i++) await new Promise(resolve => { session.ping(resolve) })
  return numbers
}

test('a client is told that it may have 500 streams', async t => {
  const app = await serveHttp2(t, serveEcho)
  t.equal((await announced(t, app)).at(-1), 500)
  const secure = await serveHttp2(t, serveEcho, { server: { https: CERTIFICATE } })
  t.equal((await announced(t, secure)).at(-1), 500)
})

test('the number of streams that the application has set stays, wherever it has set it', async t => {
  const settings = { maxConcurrentStreams: 42 }
  for (const server of [{ http: { settings } }, { https: { ...CERTIFICATE, settings } }]) {
    t.strictSame(await announced(t, await serveHttp2(t, serveEcho, { server })), [42])
  }
  const updated = await serveHttp2(t, serveEcho)
  t.equal((await announced(t, updated)).at(-1), 500)
  serverOf(updated).updateSettings(settings)
  t.strictSame(await announced(t, updated), [42])
  const bySession = await serveHttp2(t, app => {
    serveEcho(app)
    serverOf(app).on('session', session => { session.settings(settings) })
  })
  t.equal((await announced(t, bySession)).at(-1), 42)
})

// How much a client may send before it waits for the server

/** For the session and for each stream, as the server has said after a request was answered. */
async function windows (t: Test, app: FastifyInstance, isWebSocket = true): Promise<[session: number | undefined, stream: number | undefined]> {
  const client = await openSession(t, app)
  if (isWebSocket) await client.open()
  else await client.get('/').whole()
  for (let i = 0; i < 3; i++) await new Promise(resolve => { client.session.ping(resolve) })
  return [client.session.state.remoteWindowSize, client.session.remoteSettings.initialWindowSize]
}

test('a client with a WebSocket may have more on the way than the 64 KiB with which HTTP/2 begins', async t => {
  const app = await serveHttp2(t, serveEcho)
  t.strictSame(await windows(t, app), [2 * 2 ** 20, 256 * 1024])
  t.strictSame(await windows(t, await serveHttp2(t, serveEcho, { server: { https: CERTIFICATE } })), [2 * 2 ** 20, 256 * 1024])
  t.strictSame(await windows(t, app, false), [65_535, 65_535], 'one without is left alone')
})

test('the windows that the application has set stay', async t => {
  const settings = { initialWindowSize: 100_000 }
  t.strictSame(await windows(t, await serveHttp2(t, serveEcho, { server: { http: { settings } } })), [2 * 2 ** 20, 100_000])
  const bySession = await serveHttp2(t, app => {
    serveEcho(app)
    serverOf(app).on('session', session => {
      session.setLocalWindowSize(200_000)
      session.settings(settings)
    })
  })
  t.strictSame(await windows(t, bySession), [200_000, 100_000])
})

test('of 1,200 WebSockets of one client 500 are open at a time and the others wait: none is refused', async t => {
  const app = await serveHttp2(t, app => { app.get('/ws', { websocket: true }, connection => { connection.on('message', () => { connection.close(1000) }) }) })
  const [client, session] = await openBoth(t, app)
  while (client.session.remoteSettings.maxConcurrentStreams !== 500) await within(5000, once(client.session, 'remoteSettings'), 'the number')
  if (session.pendingSettingsAck) await once(session, 'localSettings')
  const codes: unknown[] = []
  let most = 0
  app.websocketServer.on('connection', () => { most = Math.max(most, app.websocketServer.clients.size) })
  await Promise.all(Array.from({ length: 1200 }, async () => {
    const peer = await client.open()
    codes.push(...await peer.write(text('x')).contents(1))
    peer.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]))
    await peer.closed
  }))
  t.strictSame(codes, Array(1200).fill(1000))
  t.ok(most <= 500, `${most} at a time`)
  t.equal(client.session.closed, false)
})

// Many streams

test('a WebSocket whose 30 MiB nobody reads does not disturb other streams of its session', async t => {
  const connected = deferred<WebSocketConnection>()
  const app = await serveHttp2(t, app => {
    serveEcho(app)
    app.get('/large', { websocket: true }, connection => {
      connection.send(Buffer.alloc(30 * 1024 * 1024))
      connected.resolve(connection)
    })
  }, { plugin: { maxBufferedAmount: 64 * 1024 * 1024 } })
  const client = await openSession(t, app)
  const large = client.handshake('/large', {}, { deaf: true })
  t.equal(await large.status(), 200)
  const connection = await connected.promise
  t.ok(connection.bufferedAmount > 29 * 1024 * 1024)
  const page = client.get('/')
  t.equal((await within(2000, page.whole(), 'the page')).body, 'page')
  const peer = await client.open()
  t.strictSame(await peer.write(text('a')).contents(1), ['a'])
  // and it arrives when it is read
  let missing = 30 * 1024 * 1024 + 10
  for await (const chunk of large.stream as AsyncIterable<Buffer>) {
    missing -= chunk.length
    if (missing === 0) break
  }
  t.equal(connection.bufferedAmount, 0)
})

/** Sends without end, at the client's pace. */
const flood: WebSocketHandler = async connection => {
  const data = Buffer.alloc(60_000)
  while (connection.readyState === connection.OPEN) if (!connection.send(data)) await connection.drained()
}

test('WebSockets that always have more to send, to a client that reads, let other streams of their session through', async t => {
  const app = await serveHttp2(t, app => {
    serveEcho(app)
    app.get('/flood', { websocket: true }, flood)
  })
  const client = await openSession(t, app)
  for (let i = 0; i < 8; i++) {
    const peer = client.handshake('/flood', {}, { deaf: true })
    t.equal(await peer.status(), 200)
    peer.stream.resume()
  }
  for (let i = 0; i < 3; i++) t.equal((await within(5000, client.get('/').whole(), 'the page')).body, 'page')
  t.strictSame(await (await client.open()).write(text('a')).contents(1), ['a'])
})

test('so many of them, read or not, that Node would refuse new streams leave room for those', async t => {
  const app = await serveHttp2(t, app => {
    serveEcho(app)
    app.get('/flood', { websocket: true }, flood)
  })
  const client = await openSession(t, app)
  for (let i = 0; i < 200; i++) {
    const peer = client.handshake('/flood', {}, { deaf: true })
    if (await peer.status() !== 200) t.fail(`number ${i} is refused`)
    if (i % 2 === 0) peer.stream.resume()
  }
  t.equal((await within(30_000, client.get('/').whole(), 'the page')).body, 'page')
})

test('WebSockets that nobody reads leave enough of the session\'s window for answers of any length', async t => {
  const size = 2 ** 24
  const app = await serveHttp2(t, app => {
    app.get('/flood', { websocket: true }, flood)
    app.get('/large', async () => Buffer.alloc(size))
  })
  const [client, session] = await openBoth(t, app, { settings: { initialWindowSize: size } })
  client.session.setLocalWindowSize(size)
  for (let i = 0; i < 4; i++) t.equal(await client.handshake('/flood', {}, { deaf: true }).status(), 200)
  for (let left = 0; left !== session.state.remoteWindowSize;) { // until they have stopped
    left = session.state.remoteWindowSize!
    for (let i = 0; i < 50; i++) await new Promise(resolve => { client.session.ping(resolve) })
  }
  const { stream } = client.get('/large')
  let length = 0
  stream.on('data', (chunk: Buffer) => { length += chunk.length })
  await within(10_000, once(stream, 'end'), 'the answer')
  t.equal(length, size)
})

test('what is sent before close() arrives, however much of the session\'s window it needs', async t => {
  const size = 2 ** 23
  const app = await serveHttp2(t, app => {
    app.get('/much', { websocket: true }, connection => {
      for (let i = 0; i < 240; i++) connection.send(Buffer.alloc(100_000))
      connection.close(4000)
    })
  }, { plugin: { maxBufferedAmount: 2 ** 26, closeTimeout: 2000 } })
  const client = await openSession(t, app, { settings: { initialWindowSize: size } })
  client.session.setLocalWindowSize(size)
  const peer = client.handshake('/much', {}, { deaf: true }) // answers no Ping
  let length = 0
  const last = new Promise<Buffer>(resolve => {
    peer.stream.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length >= 240 * 100_010 + 4) resolve(chunk)
    })
  })
  t.equal((await within(10_000, last, 'all of it')).readUInt16BE((await last).length - 2), 4000)
})

test('a request that was answered and whose client goes on sending does not hold up the end', async t => {
  const app = await serveHttp2(t, app => { app.post('/', { bodyLimit: 10 }, () => 'ok') }, { plugin: { shutdownTimeout: 100 } })
  const { session } = await openSession(t, app)
  const request = session.request({ ':method': 'POST', ':path': '/', 'content-type': 'text/plain', 'content-length': '1000000' }, { endStream: false })
  request.on('error', () => {})
  request.write('x'.repeat(1000))
  const [fields] = await once(request, 'response') as [{ ':status': number }]
  t.equal(fields[':status'], 413)
  await within(5000, app.close(), 'the end')
})

test('300 WebSockets share a session, half of them unread or not reading', async t => {
  const app = await serveHttp2(t, app => {
    serveEcho(app)
    app.get('/paused', { websocket: true }, connection => { connection.pause() })
    app.get('/talker', { websocket: true }, connection => { connection.send(Buffer.alloc(200_000)) })
  })
  const client = await openSession(t, app)
  const peers = await Promise.all(Array.from({ length: 150 }, () => client.open()))
  for (let i = 0; i < 75; i++) {
    client.handshake('/talker', {}, { deaf: true })
    ;(await client.open('/paused')).write(text('x'.repeat(20_000)))
  }
  for (const [i, peer] of peers.entries()) peer.write(text(`message ${i}`))
  for (const [i, peer] of peers.entries()) t.equal(content(await within(5000, peer.frame(), `echo ${i}`)), `message ${i}`)
  t.equal((await client.get('/').whole()).body, 'page')
  t.equal(app.websocketServer.clients.size, 300)
})

test('messages of several MiB in both directions at once, on several streams, are whole', async t => {
  const app = await serveHttp2(t, serveEcho, { plugin: { maxPayload: 2 ** 24, maxBufferedAmount: 2 ** 28 } })
  const payload = 'abcdefghijklmnopqrstuvwxyz'.repeat(100_000)
  await Promise.all(Array.from({ length: 4 }, async (_, i) => {
    const connection = await openOverHttp2(app, '/ws', { maxPayload: 2 ** 24 })
    t.teardown(() => { connection.terminate() })
    for (let k = 0; k < 3; k++) connection.send(`${i} ${k} ${payload}`)
    for (let k = 0; k < 3; k++) t.equal(await connection.receive() === `${i} ${k} ${payload}`, true)
  }))
})

test('handshakes that are reset as fast as they come leave nothing behind', async t => {
  const app = await serveHttp2(t, app => {
    serveEcho(app)
    app.get('/slow', { websocket: true, onRequest: async request => { if (!request.signal.aborted) await once(request.signal, 'abort') } }, echo)
  })
  const bystander = await (await openSession(t, app)).open()
  let resets = 0
  for (let round = 0; round < 20; round++) {
    const [client, session] = await openBoth(t, app)
    const over = once(session, 'close')
    for (let i = 0; i < 100 && !client.session.destroyed; i++) {
      const { stream } = client.handshake(i % 2 === 0 ? '/ws' : '/slow')
      stream.once('ready', () => { stream.close(NGHTTP2_CANCEL) })
      resets++
    }
    client.session.close()
    await within(5000, over, 'the end of the session')
  }
  t.equal(resets, 2000)
  t.strictSame(await bystander.write(text('a')).contents(1), ['a'])
  t.equal(app.websocketServer.clients.size, 1)
  await new Promise(resolve => { serverOf(app).getConnections((_error, count) => { t.equal(count, 1); resolve(null) }) })
})

test('a handshake whose stream somebody has closed before finds nobody to answer', async t => {
  const app = await serveHttp2(t, app => {
    app.addHook('onRequest', async () => { t.fail('a hook ran') })
    serveEcho(app)
  })
  serverOf(app).on('session', session => { session.prependListener('stream', stream => { stream.close(NGHTTP2_REFUSED_STREAM) }) })
  const client = await openSession(t, app)
  t.equal(await within(2000, client.handshake().rstCode(), 'the end of the stream'), NGHTTP2_REFUSED_STREAM)
  await within(2000, closing(app), 'the end of the app')
})

test('where the client allows no room at all, the server only waits', async t => {
  const connected = deferred<WebSocketConnection>()
  const app = await serveHttp2(t, app => {
    serveEcho(app)
    app.get('/hello', { websocket: true }, connection => {
      connection.send('hello')
      connected.resolve(connection)
    })
  }, { plugin: { stallTimeout: 200 } })
  const client = await openSession(t, app, { settings: { initialWindowSize: 0 } })
  const peer = client.handshake('/hello', {}, { deaf: true })
  t.equal(await peer.status(), 200)
  const connection = await connected.promise
  t.match(await within(3000, connection.closed, 'the end'), { code: 1006 })
  t.equal(await peer.rstCode(), NGHTTP2_CANCEL)
  t.not(peer.stream.rstCode, NGHTTP2_ENHANCE_YOUR_CALM)
})
