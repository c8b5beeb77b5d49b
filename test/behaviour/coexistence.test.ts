// Other listeners of 'upgrade' on the same server.
import { once } from 'node:events'
import { createServer, ServerResponse, type IncomingMessage, type Server } from 'node:http'
import type { ServerHttp2Stream, Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'
import proxy from '@fastify/http-proxy'
import Fastify, { type FastifyInstance } from 'fastify'
import { Server as SocketIoServer } from 'socket.io'
import { io } from 'socket.io-client'
import { test, type Test } from 'tap'
import { WebSocketServer } from 'ws'
import websocket, { upgrade } from '../../lib/index.ts'
import { serveHttp2, openSession } from '../helpers/http2.ts'
import { CERTIFICATE, close, deferred, echo, handshake, listen, problem, request, serve, text, within, type Site } from '../helpers/http.ts'

/** That the app's own WebSocket route /ws works. */
async function echoes (t: Test, site: Site, path = '/ws'): Promise<void> {
  const peer = await site.open(path)
  t.strictSame(await peer.write(text('hello')).contents(1), ['hello'], path)
  await peer.write(close(1000)).ended
}

/** A server to which a proxy can go, which says what it gets with a name before it. */
async function startUpstream (t: Test): Promise<string> {
  const { site } = await serve(t, app => {
    app.get('/', { websocket: true }, connection => { connection.on('message', data => { connection.send(`upstream ${String(data)}`) }) })
  })
  return `http://127.0.0.1:${site.port}`
}

/** As Vite does for its hot module replacement, and others with noServer: by the subprotocol, whatever the path. */
async function withHotReload (app: FastifyInstance): Promise<void> {
  const server = new WebSocketServer({ noServer: true, handleProtocols: () => 'vite-hmr' })
  app.server.on('upgrade', (request, socket, head) => {
    if (request.headers['sec-websocket-protocol'] !== 'vite-hmr') return
    server.handleUpgrade(request, socket, head, client => {
      client.send('hot')
      client.on('message', data => { client.send(`hot ${String(data)}`) })
    })
  })
  app.addHook('preClose', async () => { for (const client of server.clients) client.terminate() })
}

type Register = (app: FastifyInstance) => Promise<unknown>

async function withSocketIo (app: FastifyInstance): Promise<void> {
  const server = new SocketIoServer(app.server)
  server.on('connection', socket => { socket.on('question', (question, answer) => { answer(`answer to ${String(question)}`) }) })
  app.addHook('preClose', async () => { server.disconnectSockets(true) })
}

async function withPlugin (app: FastifyInstance): Promise<void> {
  await app.register(websocket)
  app.get('/ws', { websocket: true }, echo)
}

/** An upgrade listener like that of a development server: takes what is its own and ignores the rest. */
function takeProtocol (server: Server, protocol: string): void {
  server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    if (request.headers['sec-websocket-protocol'] !== protocol) return
    socket.on('error', () => {})
    socket.end('HTTP/1.1 101 Switching Protocols\r\nX-Owner: another\r\n\r\n')
  })
}

test('another server may pass its upgrades on to ours, and its other listeners take theirs', async t => {
  const app = Fastify()
  await withPlugin(app)
  await app.ready()
  t.teardown(() => app.close())
  const front = createServer()
  front.on('upgrade', (...upgrade) => { app.server.emit('upgrade', ...upgrade) })
  takeProtocol(front, 'another')
  const site = await listen(t, {
    server: front,
    listen: async ({ port, host }) => { await once(front.listen(port, host), 'listening'); return '' },
    close: () => front.close()
  })
  await echoes(t, site)
  const peer = await site.connect()
  const answer = await peer.write(handshake('/ws', { 'Sec-WebSocket-Protocol': 'another' })).answer()
  t.match(answer, { statusCode: 101, headers: { 'x-owner': 'another' } })
  t.equal(await peer.rest(), '')
})

for (const [name, first, second] of [['before', withHotReload, withPlugin], ['after', withPlugin, withHotReload]] as Array<[string, Register, Register]>) {
  for (const options of [{}, { https: CERTIFICATE }]) {
    test(`ws on a path of ours by its subprotocol, attached ${name} the plugin, ${'https' in options ? 'on TLS' : 'on TCP'}: a client has one answer`, async t => {
      const app = Fastify(options as object) as unknown as FastifyInstance
      await first(app)
      await second(app)
      app.get('/', { websocket: true }, echo)
      const site = await listen(t, app, { tls: 'https' in options })
      for (let i = 0; i < 2; i++) {
        const peer = await site.open('/', { 'Sec-WebSocket-Protocol': 'vite-hmr' })
        t.strictSame(await peer.write(text('hello')).contents(2), ['hot', 'hot hello'])
        peer.socket.destroy()
        await echoes(t, site, '/')
        await echoes(t, site)
      }
      t.equal(app.websocketServer.stats().opened, 4)
    })
  }

  test(`ws that answers behind a slow request, attached ${name} the plugin: we do not answer too`, async t => {
    const slow = deferred<string>()
    const app = Fastify()
    await first(app)
    await second(app)
    app.get('/', { websocket: true, onRequest: async () => { t.fail('a hook ran') } }, echo)
    app.get('/slow', () => slow.promise)
    const site = await listen(t, app)
    const upgraded = once(app.server, 'upgrade')
    const peer = await site.connect()
    peer.write(request('/slow'), handshake('/', { 'Sec-WebSocket-Protocol': 'vite-hmr' }))
    await upgraded
    t.equal((await peer.answer()).statusCode, 101)
    t.strictSame(await peer.contents(1), ['hot'])
    slow.resolve('late')
    t.match(await peer.answer(), { statusCode: 200, body: 'late' }, 'that order is its own')
    peer.reset()
    await within(2000, site.emptied(), 'no connection is left')
  })
}

for (const [name, first, second] of [['before', withSocketIo, withPlugin], ['after', withPlugin, withSocketIo]] as Array<[string, Register, Register]>) {
  test(`socket.io on the same server, attached ${name} the plugin: both serve`, async t => {
    const app = Fastify({ forceCloseConnections: true })
    await first(app)
    await second(app)
    const site = await listen(t, app)
    await echoes(t, site)
    const client = io(`http://127.0.0.1:${site.port}`, { transports: ['websocket'] })
    t.teardown(() => client.close())
    t.equal(await client.emitWithAck('question', 42), 'answer to 42')
    await echoes(t, site)
  })

  test(`@fastify/http-proxy on the same server, registered ${name} the plugin: both serve, and so does HTTP`, async t => {
    const upstream = await startUpstream(t)
    const withProxy: Register = async app => app.register(proxy, { upstream, prefix: '/proxied', websocket: true })
    const app = Fastify()
    await (first === withPlugin ? withPlugin : withProxy)(app)
    await (first === withPlugin ? withProxy : withPlugin)(app)
    app.get('/http', async () => 'http')
    const site = await listen(t, app)
    for (let i = 0; i < 2; i++) {
      await echoes(t, site)
      const proxied = await site.open('/proxied/')
      t.strictSame(await proxied.write(text('hello')).contents(1), ['upstream hello'])
      proxied.reset()
    }
    t.match(await site.ask(request('/http')), { statusCode: 200, body: 'http' })
  })

  test(`a proxy of the whole site, registered ${name} the plugin, leaves the WebSocket routes alone`, async t => {
    const upstream = await startUpstream(t)
    const withProxy: Register = async app => app.register(proxy, { upstream, websocket: true })
    const app = Fastify()
    await (first === withPlugin ? withPlugin : withProxy)(app)
    await (first === withPlugin ? withProxy : withPlugin)(app)
    const site = await listen(t, app)
    await echoes(t, site)
    const proxied = await site.open('/')
    t.strictSame(await proxied.write(text('hello')).contents(1), ['upstream hello'])
    proxied.reset()
  })
}

test('an upgrade listener that takes some handshakes and ignores the others, as a development server does', async t => {
  const { app, site } = await serve(t, app => {
    takeProtocol(app.server, 'vite-hmr')
    app.get('/ws', { websocket: true }, echo)
    app.get('/*', async () => 'the page')
  })
  await echoes(t, site)
  const peer = await site.connect()
  const taken = await peer.write(handshake('/', { 'Sec-WebSocket-Protocol': 'vite-hmr' })).answer()
  t.match(taken, { statusCode: 101, headers: { 'x-owner': 'another' } })
  t.equal(app.server.listenerCount('upgrade'), 2)
})

test('a handshake that is nobody\'s gets its 404 when the time for a handshake is over', async t => {
  const { site } = await serve(t, app => { takeProtocol(app.server, 'vite-hmr') }, { plugin: { handshakeTimeout: 50 } })
  t.match(problem(await site.ask(handshake('/nowhere'))), { statusCode: 404, message: 'Route GET:/nowhere not found' })
  await within(2000, site.emptied(), 'no connection is left')
})

test('a handshake that is nobody\'s yet is answered when the server closes', async t => {
  const { app, site } = await serve(t, app => { takeProtocol(app.server, 'vite-hmr') }, { plugin: { handshakeTimeout: 60_000 } })
  const peer = await site.connect()
  const upgraded = once(app.server, 'upgrade')
  peer.write(handshake('/nowhere'))
  await upgraded
  const closed = app.close()
  t.match(await peer.answer(), { statusCode: 503 })
  peer.end()
  await within(2000, closed, 'the app is closed')
})

test('a handshake that is nobody\'s and comes while the server is closing is answered at once', async t => {
  let closing = false
  const { app, site } = await serve(t, app => {
    takeProtocol(app.server, 'vite-hmr')
    app.addHook('preClose', async () => {
      closing = true
      t.equal((await site.ask(handshake('/nowhere'))).statusCode, 503)
    })
  }, { plugin: { handshakeTimeout: 60_000 } })
  await app.close()
  t.ok(closing)
})

test('a client that leaves before anybody took its handshake does no harm', async t => {
  const { app, site } = await serve(t, app => {
    takeProtocol(app.server, 'vite-hmr')
    app.get('/ws', { websocket: true }, echo)
  }, { plugin: { handshakeTimeout: 50 } })
  for (const how of ['end', 'reset'] as const) {
    const peer = await site.connect()
    const upgraded = once(app.server, 'upgrade')
    peer.write(handshake('/nowhere'))
    await upgraded
    peer[how]()
    await peer.closed
  }
  await within(2000, site.emptied(), 'no connection is left')
  await echoes(t, site)
})

test('Upgrade: h2c is an ordinary request beside other listeners too, any other protocol is theirs', async t => {
  const { site } = await serve(t, app => {
    app.server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
      if (request.headers.upgrade === 'their-protocol') socket.end('HTTP/1.1 101 Switching Protocols\r\nX-Owner: another\r\n\r\n')
    })
    app.get('/', async () => 'http')
    app.get('/ws', { websocket: true }, echo)
  })
  t.match(await site.ask(request('/', { Upgrade: 'h2c', Connection: 'Upgrade, HTTP2-Settings' })), { statusCode: 200, body: 'http' })
  t.match(await site.ask(request('/', { Upgrade: 'their-protocol', Connection: 'Upgrade' })), { statusCode: 101, headers: { 'x-owner': 'another' } })
  await echoes(t, site)
})

test('a listener that answers every handshake itself, without looking, keeps what it has taken', async t => {
  const { site } = await serve(t, app => {
    app.server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n')
    })
    app.get('/ws', { websocket: true }, () => { t.fail('it was answered already') })
  })
  t.match(await site.ask(handshake('/ws')), { statusCode: 403 })
})

test('a listener that gives a handshake of ours a response of its own keeps it', async t => {
  const { site } = await serve(t, app => {
    app.server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
      const response = new ServerResponse(request)
      response.shouldKeepAlive = false
      response.assignSocket(socket)
      response.on('finish', () => { socket.end() })
      setImmediate(() => { response.writeHead(418).end('mine') })
    })
    app.get('/ws', { websocket: true }, () => { t.fail('it was answered by another') })
  })
  const peer = await site.connect()
  t.match(await peer.write(handshake('/ws')).answer(), { statusCode: 418, body: 'mine' })
  await peer.ended
})

test('routes with parameters, prefixes and wildcards are found, with a query too', async t => {
  const { site } = await serve(t, async app => {
    takeProtocol(app.server, 'vite-hmr')
    app.get('/room/:id', { websocket: true }, echo)
    app.get('/room/:id/seat/:number', { websocket: true }, echo)
    app.get('/files/*', { websocket: true }, echo)
    await app.register(async scope => { scope.get('/', { websocket: true }, echo) }, { prefix: '/inner' })
  }, { server: { routerOptions: { ignoreTrailingSlash: true, caseSensitive: false } } })
  for (const path of ['/room/5', '/ROOM/5?a=b', '/room/5/seat/6/', '/files/a/b/c', '/inner', '/inner/']) await echoes(t, site, path)
})

test('a path ends at a semicolon where the router of the app says so', async t => {
  for (const useSemicolonDelimiter of [true, false]) {
    const { site } = await serve(t, app => {
      takeProtocol(app.server, 'vite-hmr')
      app.get('/ws', { websocket: true }, echo)
      app.get('/a;b', { websocket: true }, echo)
    }, { server: { routerOptions: { useSemicolonDelimiter } as object }, plugin: { handshakeTimeout: useSemicolonDelimiter ? 60_000 : 50 } })
    if (useSemicolonDelimiter) {
      await echoes(t, site, '/ws;a=b')
    } else {
      await echoes(t, site, '/a;b')
      t.equal((await site.ask(handshake('/ws;a=b'))).statusCode, 404)
    }
  }
})

test('both paths of a route of a prefix are ours beside others', async t => {
  const { site } = await serve(t, async app => {
    takeProtocol(app.server, 'vite-hmr')
    await app.register(async scope => { scope.get('/', { websocket: true }, echo) }, { prefix: '/inner' })
  }, { plugin: { handshakeTimeout: 60_000 } })
  for (const path of ['/inner', '/inner/']) await echoes(t, site, path)
})

test('who writes to a socket has taken it, whether it listens or not', async t => {
  const { site } = await serve(t, app => {
    app.server.on('upgrade', ({ url }: IncomingMessage, socket: Socket) => {
      if (url === '/push') socket.write('HTTP/1.1 101 Switching Protocols\r\nX-Owner: another\r\n\r\n')
    })
  }, { plugin: { handshakeTimeout: 50 } })
  const peer = await site.connect()
  t.match(await peer.write(handshake('/push')).answer(), { statusCode: 101, headers: { 'x-owner': 'another' } })
  const [socket] = site.sockets
  t.equal((await site.ask(handshake('/nowhere'))).statusCode, 404, 'the time in which it would get one has passed')
  socket!.end('more')
  t.equal(await peer.rest(), 'more')
})

// HTTP/2: a listener of 'connect' sees what we see, one of 'stream' is called behind it in the same turn

type Http2Listener = (app: FastifyInstance) => void
const ANSWER = { ':status': 200, 'x-owner': 'another' }
const http2Listeners: Array<[title: string, listen: Http2Listener]> = [
  ["a 'connect' listener", app => {
    app.server.on('connect', (_request, response) => { (response as unknown as Http2ServerResponse).writeHead(200, { 'x-owner': 'another' }).write('mine') })
  }],
  ["a 'connect' listener that is called before us", app => {
    app.server.prependListener('connect', (_request, response) => { (response as unknown as Http2ServerResponse).stream.respond(ANSWER) })
  }],
  ["a 'stream' listener", app => {
    app.server.on('stream', (stream: ServerHttp2Stream, headers: Http2ServerRequest['headers']) => {
      if (headers[':method'] === 'CONNECT') stream.respond(ANSWER)
    })
  }],
  ["a 'stream' listener that is called before us", app => {
    app.server.prependListener('stream', (stream: ServerHttp2Stream, headers: Http2ServerRequest['headers']) => {
      if (headers[':method'] === 'CONNECT') stream.respond(ANSWER)
    })
  }]
]
for (const [title, listenToAnswer] of http2Listeners) {
  for (const path of ['/ws', '/nowhere']) {
    for (const when of ['before', 'after'] as const) {
      test(`${title}, added ${when} the plugin, that answers a CONNECT to ${path} at once: it is the only answer`, async t => {
        const app = await serveHttp2(t, app => {
          if (when === 'after') listenToAnswer(app)
          app.get('/ws', { websocket: true, onRequest: async () => { t.fail('a hook ran') } }, () => { t.fail('the handler ran') })
          app.setNotFoundHandler(() => { t.fail('the router was asked') })
          app.get('/http', async () => 'http')
        }, { before: when === 'before' ? listenToAnswer : () => {} })
        const client = await openSession(t, app)
        for (const changes of [{}, { ':protocol': 'their-protocol' }]) {
          const peer = client.handshake(path, changes)
          t.match(await peer.response, { ':status': 200, 'x-owner': 'another' })
          peer.stream.close()
          await peer.closed
        }
        t.equal((await client.get('/http').whole()).body, 'http', 'the session lives on')
      })
    }
  }
}

test("a 'stream' listener that answers some and leaves the others to us", async t => {
  const app = await serveHttp2(t, app => {
    app.server.on('stream', (stream: ServerHttp2Stream, headers: Http2ServerRequest['headers']) => {
      if (headers['sec-websocket-protocol'] === 'theirs') stream.respond(ANSWER)
    })
    app.get('/ws', { websocket: true }, echo)
  })
  const client = await openSession(t, app)
  t.match(await client.handshake('/ws', { 'sec-websocket-protocol': 'theirs' }).response, { ':status': 200, 'x-owner': 'another' })
  const peer = await client.open('/ws')
  t.strictSame(await peer.write(text('hello')).contents(1), ['hello'])
})

test('upgrade() beside the plugin on the same path: who hears of a handshake first has it, from early messages to the end of the app', async t => {
  const app = Fastify()
  const opened: string[] = []
  const taken: unknown[] = []
  const hook = deferred()
  const hung = deferred()
  await app.register(websocket, { shutdownTimeout: 200 })
  app.addHook('onRequest', async ({ url }) => {
    if (url === '/hangs') await new Promise(() => { hung.resolve() })
    await hook.promise
  })
  app.get('/*', { websocket: true }, (connection, { url }) => {
    opened.push(url)
    connection.on('message', data => { connection.send(data) })
  })
  app.server.on('upgrade', (request, socket, head) => {
    upgrade(request, socket as Socket, head).catch((error: Error & { code: string }) => { taken.push(error.code) })
  })
  const site = await listen(t, app)

  const [waits, leaves] = [await site.connect(), await site.connect()]
  leaves.write(handshake('/leaves'))
  waits.write(handshake('/waits'))
  while (taken.length < 2) await new Promise(resolve => { setImmediate(resolve) })
  waits.write(text('early'))
  leaves.reset()
  await leaves.closed
  await new Promise(resolve => { setImmediate(resolve) })
  hook.resolve()
  t.equal((await waits.answer()).statusCode, 101)
  t.strictSame(await waits.contents(1), ['early'])
  t.strictSame([opened, taken], [['/waits'], ['WS_ERR_CONNECTION_CLOSED', 'WS_ERR_CONNECTION_CLOSED']])

  const hangs = await site.connect()
  hangs.write(handshake('/hangs'))
  await hung.promise
  hangs.reset()
  waits.write(close(1000))
  await within(5000, app.close(), 'the end of the app')
})
