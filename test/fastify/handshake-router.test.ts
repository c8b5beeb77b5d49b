import dns from 'node:dns'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex, Readable } from 'node:stream'
import Fastify, { type FastifyServerOptions } from 'fastify'
import { test } from 'tap'
import websocket from '../../lib/index.ts'
import { CERTIFICATE, close, deferred, echo, handshake, listen, Peer, problem, request, serve, text, within, type Fields } from '../helpers/http.ts'

// One server, any number of scopes

test('a server has one upgrade listener however many scopes register the plugin', async t => {
  const app = Fastify()
  await app.register(websocket)
  for (const prefix of ['/a', '/b']) {
    await app.register(async scope => {
      await scope.register(websocket)
      scope.get('/ws', { websocket: true }, echo)
    }, { prefix })
  }
  const site = await listen(t, app)
  t.equal(app.server.listenerCount('upgrade'), 1)
  for (const path of ['/a/ws', '/b/ws']) {
    const peer = await site.open(path)
    t.strictSame(await peer.write(text(path)).contents(1), [path])
  }
})

test('each server has its own router', async t => {
  const [a, b] = await Promise.all(['a', 'b'].map(async name => {
    return await serve(t, app => { app.get('/ws', { websocket: true }, connection => { connection.send(name) }) })
  }))
  t.strictSame(await (await a!.site.open('/ws')).contents(1), ['a'])
  const peer = await b!.site.open('/ws')
  t.strictSame(await peer.contents(1), ['b'])
  peer.reset()
  await b!.app.close()
  t.strictSame(await (await a!.site.open('/ws')).contents(1), ['a'], 'only the other is closed')
})

// Pipelining: answers leave in the order of the requests, RFC 9112 §9.3.2

test('a handshake behind a slow request in one write is answered in its turn', async t => {
  const slow = deferred<string>()
  const { app, site } = await serve(t, app => {
    app.get('/slow', () => slow.promise)
    app.get('/ws', { websocket: true }, echo)
  })
  const upgraded = once(app.server, 'upgrade')
  const peer = await site.connect()
  peer.write(request('/slow'), handshake(), text('1'), text('2'))
  await upgraded
  slow.resolve('at last')
  t.match(await peer.answer(), { statusCode: 200, body: 'at last' })
  t.match(await peer.answer(), { statusCode: 101 })
  t.strictSame(await peer.contents(2), ['1', '2'])
  t.strictSame(await peer.write(text('3')).contents(1), ['3'])
  t.equal(site.sockets.values().next().value!.timeout, 0, 'the time-out for the next request is lifted')
})

test('a handshake behind several requests of different pace is answered last', async t => {
  const slow = deferred<string>()
  const { app, site } = await serve(t, app => {
    app.get('/slow', () => slow.promise)
    app.get('/fast', async () => 'fast')
    app.post('/post', async ({ body }) => body)
    app.get('/ws', { websocket: true }, echo)
  })
  const upgraded = once(app.server, 'upgrade')
  const peer = await site.connect()
  peer.write(
    request('/fast'), request('/slow'), request('/fast'),
    'POST /post HTTP/1.1\r\nHost: server.example.com\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody',
    handshake(), text('1')
  )
  await upgraded
  slow.resolve('slow')
  const bodies: string[] = []
  for (let i = 0; i < 4; i++) bodies.push((await peer.answer()).body)
  t.strictSame(bodies, ['fast', 'slow', 'fast', 'body'])
  t.equal((await peer.answer()).statusCode, 101)
  t.strictSame(await peer.contents(1), ['1'])
})

test('a handshake on a connection that has served requests is accepted', async t => {
  const { site } = await serve(t, app => {
    app.get('/', async () => 'http')
    app.get('/ws', { websocket: true }, echo)
  })
  const peer = await site.connect()
  for (let i = 0; i < 3; i++) t.equal((await peer.write(request('/')).answer()).body, 'http')
  t.equal((await peer.write(handshake()).answer()).statusCode, 101)
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

test('a handshake behind a slow request is refused in its turn', async t => {
  const slow = deferred<string>()
  const begun = deferred()
  const { site } = await serve(t, app => {
    app.get('/slow', () => {
      begun.resolve()
      return slow.promise
    })
  })
  const peer = await site.connect()
  peer.write(request('/slow'), handshake('/nowhere'), Buffer.alloc(200_000))
  await begun.promise
  await new Promise(resolve => { setImmediate(resolve) }) // the handshake is in the same chunk
  slow.resolve('at last')
  t.match(await peer.answer(), { statusCode: 200, body: 'at last' })
  t.match(await peer.answer(), { statusCode: 404, headers: { connection: 'close' } })
  t.equal(await peer.closed, null)
  await within(2000, site.emptied(), 'no connection is left')
})

test('a handshake behind a request that was the last on its connection is not looked at', async t => {
  const slow = deferred<void>()
  const { app, site } = await serve(t, app => {
    app.get('/slow', async (_request, reply) => {
      await slow.promise
      return await reply.header('connection', 'close').send('at last')
    })
    app.get('/ws', { websocket: true, onRequest: async () => { t.fail('a hook ran') } }, () => { t.fail('the handler ran') })
  })
  const upgraded = once(app.server, 'upgrade')
  const peer = await site.connect()
  peer.write(request('/slow'), handshake())
  await upgraded
  slow.resolve()
  t.match(await peer.answer(), { statusCode: 200, body: 'at last' })
  t.equal(await peer.rest(), '')
  await within(2000, site.emptied(), 'no connection is left')
})

for (const how of ['reset', 'end'] as const) {
  test(`after a ${how === 'reset' ? 'RST' : 'FIN'} behind a slow request a handshake is not looked at`, async t => {
    const slow = deferred<string>()
    const { app, site } = await serve(t, app => {
      app.get('/slow', () => slow.promise)
      app.get('/ws', { websocket: true, onRequest: async () => { t.fail('a hook ran') } }, () => { t.fail('the handler ran') })
    })
    const upgraded = once(app.server, 'upgrade')
    const peer = await site.connect()
    peer.write(request('/slow'), handshake('/ws'))
    await upgraded
    peer[how]()
    await within(2000, site.emptied(), 'no connection is left')
    slow.resolve('too late')
    t.equal((await site.ask(request('/nowhere'))).statusCode, 404, 'the server lives on')
  })
}

const hasIPv6 = Object.values(networkInterfaces()).flat().some(address => address?.address === '::1')
test('the servers of both addresses of localhost take handshakes, also pipelined ones, and leave other upgrades alone', { skip: !hasIPv6 && 'no ::1 here' }, async t => {
  const { lookup } = dns
  t.intercept(dns, 'lookup', {
    value (host: string, options: dns.LookupOptions, callback: (error: null, addresses: dns.LookupAddress[]) => void) {
      // not every /etc/hosts has both
      if (host === 'localhost' && options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }, { address: '::1', family: 6 }])
      else lookup(host, options, callback as never)
    }
  })
  const requests = { slow: deferred<string>(), received: 0 }
  const app = Fastify()
  await app.register(websocket)
  app.get('/slow', () => requests.slow.promise)
  app.post('/', async ({ body }) => body)
  app.get('/ws', { websocket: true }, echo)
  const site = await listen(t, app, { host: 'localhost' })
  t.strictSame(app.addresses().map(address => (address as AddressInfo).address).sort(), ['127.0.0.1', '::1'])
  for (const host of ['127.0.0.1', '::1']) {
    requests.slow = deferred()
    const upgraded = once(app.server, 'upgrade')
    const peer = await site.connect({ host })
    peer.write(request('/slow'), handshake(), text(host))
    await upgraded
    requests.slow.resolve('at last')
    t.match(await peer.answer(), { statusCode: 200, body: 'at last' })
    t.match(await peer.answer(), { statusCode: 101 })
    t.strictSame(await peer.contents(1), [host])
    t.strictSame(await peer.write(close(1000)).contents(1), [1000])
    await peer.closed
    const other = await site.connect({ host })
    other.write(request('/', { Upgrade: 'h2c', Connection: 'Upgrade' }))
    t.match(await other.answer(), { statusCode: 404, headers: { connection: 'keep-alive' } })
    other.write(request('/', { Upgrade: 'h2c', Connection: 'Upgrade', 'Content-Type': 'text/plain', 'Content-Length': '5' }, { method: 'POST' }), 'Hello')
    t.match(await other.answer(), { statusCode: 200, body: 'Hello' })
  }
})

// Every kind of server

test('a handshake behind a slow request is answered in its turn on TLS', async t => {
  const slow = deferred<string>()
  const app = Fastify({ https: CERTIFICATE })
  await app.register(websocket)
  app.get('/slow', () => slow.promise)
  app.get('/ws', { websocket: true }, echo)
  const site = await listen(t, app, { tls: true })
  const upgraded = once(app.server, 'upgrade')
  const peer = await site.connect()
  peer.write(request('/slow'), handshake(), text('1'))
  await upgraded
  slow.resolve('at last')
  t.match(await peer.answer(), { statusCode: 200, body: 'at last' })
  t.match(await peer.answer(), { statusCode: 101 })
  t.strictSame(await peer.contents(1), ['1'])
})

test('handshakes by HTTP/1.1 are taken beside HTTP/2', async t => {
  const slow = deferred<string>()
  const app = Fastify({ http2: true, https: { allowHTTP1: true, ...CERTIFICATE } })
  await app.register(websocket)
  app.get('/slow', () => slow.promise)
  app.get('/ws', { websocket: true }, echo)
  const site = await listen(t, app as never, { tls: true })
  const upgraded = once(app.server, 'upgrade')
  const peer = await site.connect()
  peer.write(request('/slow'), handshake(), text('1'))
  await upgraded
  slow.resolve('at last')
  t.match(await peer.answer(), { statusCode: 200, body: 'at last' })
  t.match(await peer.answer(), { statusCode: 101 })
  t.strictSame(await peer.contents(1), ['1'])
})

test('a server that a serverFactory made takes handshakes', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) },
    { server: { serverFactory: handler => createServer(handler) } })
  t.strictSame(await (await site.open('/ws')).write(text('Hello')).contents(1), ['Hello'])
})

test('a server on a Unix socket takes handshakes', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'ws-')) // the path of a socket has at most 107 bytes
  t.teardown(() => { rmSync(directory, { recursive: true }) })
  const path = join(directory, 'socket')
  const app = Fastify()
  await app.register(websocket)
  app.get('/ws', { websocket: true }, echo)
  await app.listen({ path })
  const socket = connect(path)
  t.teardown(async () => {
    socket.destroy()
    await app.close()
  })
  const peer = new Peer(socket, false)
  t.equal((await peer.write(handshake(), text('Hello')).answer()).statusCode, 101)
  t.strictSame(await peer.contents(1), ['Hello'])
})

test('a handshake with so many header fields that the parser may have dropped some is refused with 431', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const open = async (count: number) => await site.ask(handshake('/ws', { A: Array(count).fill('1'), 'Content-Length': '11' }), text('Hello'))
  t.equal(problem(await open(900)).code, 'FST_WS_BODY')
  // by now the parser of Node 20 keeps Content-Length to itself; newer ones refuse on their own
  t.equal((await open(2100)).statusCode, 431)
  app.server.maxHeadersCount = 20
  t.equal((await site.ask(handshake('/ws', { A: Array(14).fill('1') }))).statusCode, 101)
  t.equal((await site.ask(handshake('/ws', { A: Array(20).fill('1') }))).statusCode, 431)
})

// Upgrades to something else: RFC 9110 §7.8, a server may ignore the field

/** What `curl --http2` and Java's client say with every first request. */
const H2C = { Upgrade: 'h2c', Connection: 'Upgrade, HTTP2-Settings', 'HTTP2-Settings': 'AAMAAABkAAQAoAAAAAIAAAAA' }

for (const upgrade of ['h2c', 'TLS/1.0', 'websockets', 'websocket/13']) {
  test(`a request with Upgrade: ${upgrade} is an ordinary request, and not the last on its connection`, async t => {
    const { site } = await serve(t, app => {
      app.route({
        method: 'GET',
        url: '/both',
        handler: async request => ({ ws: request.ws, url: request.url }),
        wsHandler: echo
      })
    })
    const peer = await site.connect()
    for (let i = 0; i < 3; i++) {
      const { statusCode, headers, body } = await peer.write(handshake('/both?a=1', { ...H2C, Upgrade: upgrade })).answer()
      t.equal(statusCode, 200)
      t.equal(headers.connection, 'keep-alive')
      t.strictSame(JSON.parse(body), { ws: false, url: '/both?a=1' })
    }
    t.equal((await peer.write(handshake('/both')).answer()).statusCode, 101, 'it can still become a WebSocket')
    t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
  })
}

test('an ordinary request with an Upgrade field may take longer than handshakeTimeout', async t => {
  const slow = deferred<string>()
  const { site } = await serve(t, app => {
    app.get('/slow', () => slow.promise)
    app.get('/hangs', { websocket: true, onRequest: () => new Promise(() => {}) }, echo)
  }, { plugin: { handshakeTimeout: 50 } })
  const peer = await site.connect()
  peer.write(request('/slow', { Upgrade: 'h2c', Connection: 'Upgrade' }))
  t.equal((await site.ask(handshake('/hangs'))).statusCode, 503, 'so much time has passed')
  slow.resolve('at last')
  t.match(await peer.answer(), { statusCode: 200, body: 'at last' })
})

test('requests of all methods may have an Upgrade field that is ignored', async t => {
  const { site } = await serve(t, app => {
    app.route({ method: ['GET', 'POST', 'DELETE'], url: '/', handler: async ({ method, body }) => ({ method, body: body ?? null }) })
  })
  for (const [method, fields] of [['GET', {}], ['POST', {}], ['POST', { 'Content-Length': '0' }], ['DELETE', {}]] as const) {
    const answer = await site.ask(request('/', { Upgrade: 'h2c', Connection: 'Upgrade', ...fields }, { method }))
    t.match(answer, { statusCode: 200, headers: { connection: 'keep-alive' } })
    t.strictSame(JSON.parse(answer.body), { method, body: null })
  }
  const peer = await site.connect()
  const answer = await peer.write(request('/', { Upgrade: 'h2c', Connection: 'Upgrade' }, { method: 'HEAD' })).answer({ head: true })
  t.match(answer, { statusCode: 200, headers: { 'content-length': String('{"method":"HEAD","body":null}'.length) } })
})

test('an ordinary request with an Upgrade field can be answered by a stream of any length', async t => {
  const { site } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.send(Readable.from(Array.from({ length: 300 }, () => Buffer.alloc(10_000, 'x')))))
  })
  t.equal((await site.ask(request('/', { Upgrade: 'h2c', Connection: 'Upgrade' }))).body.length, 3_000_000)
})

const LONG_BODY = JSON.stringify('x'.repeat(900_000))
const bodies: Array<[title: string, fields: Fields, parts: string[], body: string]> = [
  ['of 7 bytes', { 'Content-Length': '7' }, ['"Hello"'], 'Hello'],
  ['that comes later', { 'Content-Length': '7' }, ['', '"He', 'llo"'], 'Hello'],
  ['in chunks', { 'Transfer-Encoding': 'chunked' }, ['3\r\n"He\r\n4\r\nllo"\r\n0\r\n\r\n'], 'Hello'],
  ['in chunks that come later', { 'Transfer-Encoding': 'chunked' }, ['3\r\n"H', 'e\r\n4\r\nllo"\r', '\n0\r\n\r\n'], 'Hello'],
  ['of 900 KB', { 'Content-Length': String(LONG_BODY.length) }, [LONG_BODY.slice(0, 100_000), LONG_BODY.slice(100_000)], JSON.parse(LONG_BODY) as string],
  ['that waits for 100 Continue', { 'Content-Length': '7', Expect: '100-continue' }, ['', '"Hello"'], 'Hello']
]
const ignore = (): void => {}

for (const beside of ['alone', 'beside another listener'] as const) {
  for (const [title, fields, [first = '', ...later], body] of bodies) {
    test(`a request for another upgrade has its body ${title}, to a server ${beside}`, async t => {
      const { app, site } = await serve(t, app => {
        if (beside !== 'alone') app.server.on('upgrade', ignore)
        app.post('/', async ({ body, headers }) => ({ body, host: headers.host, settings: headers['http2-settings'] }))
        app.get('/ws', { websocket: true }, echo)
      })
      const peer = await site.connect()
      const arrived = once(app.server, 'request')
      peer.write(request('/', { ...H2C, 'Content-Type': 'application/json', ...fields }, { method: 'POST' }), first)
      if (later.length > 0) {
        if ('Expect' in fields) t.equal((await peer.answer()).statusCode, 100)
        else await Promise.race([arrived, once(app.server, 'upgrade')])
      }
      for (const part of later) await new Promise(resolve => { peer.socket.write(part, resolve) })
      const answer = await peer.answer()
      t.equal(answer.statusCode, 200)
      t.strictSame(JSON.parse(answer.body), { body, host: 'server.example.com', settings: H2C['HTTP2-Settings'] })
      if (answer.headers.connection === 'keep-alive') {
        t.equal((await peer.write(handshake()).answer()).statusCode, 101, 'it can still become a WebSocket')
      } else {
        t.equal(await peer.rest(), '', 'Node 26, which has parsed the body, takes nothing else behind it')
      }
    })
  }
}

test('a request for another upgrade beside another listener is given back to the parser as it came', async t => {
  const { site } = await serve(t, app => {
    app.server.on('upgrade', ignore)
    app.get('/:name', async ({ raw }) => ({ url: raw.url, headers: raw.rawHeaders }))
  })
  const peer = await site.connect()
  const { body } = await peer.write(
    'GET /%C3%A9?a=1 HTTP/1.1\r\nhOST:server.example.com\r\nX-Two: 1\r\nX-two:  2 \r\nX-Latin: \xe9\r\nConnection: keep-alive, uPGRADE ,HTTP2-Settings\r\n' +
    'CONNECTION: Upgrade\r\nUpgrade: h2c\r\nX-Empty:\r\n\r\n'
  ).answer()
  t.strictSame(JSON.parse(body), {
    url: '/%C3%A9?a=1',
    headers: [
      'hOST', 'server.example.com', 'X-Two', '1', 'X-two', '2', 'X-Latin', 'é'.split('').map(() => '\xc3\xa9').join(''),
      'Connection', 'keep-alive, HTTP2-Settings', 'CONNECTION', '', 'Upgrade', 'h2c', 'X-Empty', ''
    ]
  })
})

for (const [name, server] of [
  ['TLS', { https: CERTIFICATE }], ['HTTP/1.1 beside HTTP/2', { http2: true, https: { allowHTTP1: true, ...CERTIFICATE } }]
] as Array<[string, object]>) {
  for (const beside of ['alone', 'beside another listener'] as const) {
    test(`a request for another upgrade has its body on ${name}, to a server ${beside}`, async t => {
      const app = Fastify(server as FastifyServerOptions)
      await app.register(websocket)
      if (beside !== 'alone') app.server.on('upgrade', ignore)
      app.post('/', async ({ body }) => body)
      const site = await listen(t, app, { tls: true })
      const peer = await site.connect()
      t.match(await peer.write(request('/', H2C)).answer(), { statusCode: 404, headers: { connection: 'keep-alive' } })
      const bytes = request('/', { ...H2C, 'Content-Type': 'text/plain', 'Content-Length': '5' }, { method: 'POST' })
      t.match(await peer.write(bytes, 'Hello').answer(), { statusCode: 200, body: 'Hello' })
    })
  }
}

test('a request for another upgrade waits for its turn behind an earlier one, beside another listener', async t => {
  const slow = deferred<string>()
  const { app, site } = await serve(t, app => {
    app.server.on('upgrade', ignore)
    app.get('/slow', () => slow.promise)
    app.post('/', async ({ body }) => body)
  })
  const upgraded = once(app.server, 'upgrade')
  const peer = await site.connect()
  peer.write(request('/slow'), request('/', { ...H2C, 'Content-Type': 'text/plain', 'Content-Length': '5' }, { method: 'POST' }), 'Hello')
  await upgraded
  slow.resolve('at last')
  for (const body of ['at last', 'Hello']) t.match(await peer.answer(), { statusCode: 200, body })
})

test('a client that leaves before its request for another upgrade is given back does no harm', async t => {
  for (const how of ['end', 'reset'] as const) {
    const slow = deferred<string>()
    const { app, site } = await serve(t, app => {
      app.server.on('upgrade', ignore)
      app.get('/slow', () => slow.promise)
    })
    const upgraded = once(app.server, 'upgrade')
    const peer = await site.connect()
    peer.write(request('/slow'), request('/slow', H2C))
    await upgraded
    peer[how]()
    if (how === 'reset') await within(2000, site.emptied(), 'no connection is left')
    slow.resolve('too late')
    await within(2000, site.emptied(), 'no connection is left')
  }
})

test('a request for another upgrade with so many header fields that the parser may have dropped some is not given back', async t => {
  const { app, site } = await serve(t, app => {
    app.server.on('upgrade', ignore)
    app.get('/', async () => 'ok')
  })
  const peer = await site.connect()
  t.equal((await peer.write(request('/', { ...H2C, A: Array(20).fill('1') as string[] })).answer()).statusCode, 200)
  app.server.maxHeadersCount = 20 // of its next connections: newer Nodes refuse by it on their own
  t.equal((await peer.write(request('/', { ...H2C, A: Array(15).fill('1') as string[] })).answer()).statusCode, 200)
  const answer = await peer.write(request('/', { ...H2C, A: Array(16).fill('1') as string[] })).answer()
  t.match(problem(answer), { statusCode: 431, code: 'FST_WS_HEADERS' })
})

test('a request with a body that Node is not through with is answered where it is', async t => {
  // Node 26 hands over a stream that is no socket; here any Node does
  const { app } = await serve(t, app => {
    app.server.on('upgrade', ignore)
    app.get('/', async () => 'http')
  })
  const front = createServer()
  front.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    const stream = new Duplex({
      read () {},
      write: (chunk: Buffer, _encoding, callback) => { socket.write(chunk, callback) },
      final: callback => { socket.end(callback) }
    })
    app.server.emit('upgrade', Object.defineProperty(request, 'complete', { value: false }), stream, Buffer.alloc(0))
  })
  const site = await listen(t, {
    server: front,
    listen: async ({ port, host }) => { await once(front.listen(port, host), 'listening'); return '' },
    close: () => front.close()
  })
  const peer = await site.connect()
  peer.write(request('/', { ...H2C, Expect: '100-continue' }))
  t.match(await peer.answer(), { statusCode: 100 })
  t.match(await peer.answer(), { statusCode: 200, body: 'http', headers: { connection: 'close' } })
})

test('what an application says about upgrades is respected', { skip: !('shouldUpgradeCallback' in createServer()) && 'not in this Node' }, async t => {
  const asked: string[] = []
  const server = createServer() as Server & { shouldUpgradeCallback: (request: IncomingMessage) => boolean }
  const isUpgrade = ({ url }: IncomingMessage): boolean => {
    asked.push(url!)
    return url !== '/never'
  }
  server.shouldUpgradeCallback = isUpgrade
  const { app, site } = await serve(t, app => {
    app.get('/never', async () => 'http')
    app.get('/ws', { websocket: true }, echo)
  }, { server: { serverFactory: handler => server.on('request', handler) } })
  t.equal((await site.ask(handshake('/never'))).body, 'http')
  await site.open('/ws')
  t.strictSame(asked, ['/never', '/ws'])
  await app.close()
  t.equal(server.shouldUpgradeCallback, isUpgrade, 'it is left as it was')
})

// While the server is closing

test('a handshake that comes while the server is closing is refused with 503', async t => {
  for (const return503OnClosing of [true, false]) {
    const { app, site } = await serve(t, app => {
      app.addHook('onError', async () => { t.fail('a hook ran') })
      app.get('/ws', { websocket: true }, echo)
    }, { server: { return503OnClosing } })
    const open = await site.open('/ws')
    const waiting = await site.connect()
    const closed = app.close()
    t.strictSame(await open.contents(1), [1001]) // by now it is closing, and it waits for the answer
    t.match(problem(await waiting.write(handshake(), text('Hello')).answer()), { statusCode: 503, code: 'FST_WS_CLOSING' })
    t.match(await site.ask(handshake()), { statusCode: 503, headers: { connection: 'close' } }, 'on a new connection')
    open.write(close(1001))
    await closed
  }
  t.plan(6)
})

test('a long answer that a handshake was pipelined behind goes on to its end', async t => {
  const body = 'x'.repeat(6_000_000)
  const { site } = await serve(t, app => {
    app.get('/big', (_request, reply) => { reply.send(Readable.from(Array.from({ length: 60 }, () => Buffer.alloc(100_000, 'x')), { objectMode: false })) })
    app.get('/ws', { websocket: true }, echo)
  })
  const peer = await site.connect()
  peer.write(request('/big'), handshake(), text('Hello'))
  t.ok((await peer.answer()).body === body)
  t.equal((await peer.answer()).statusCode, 101)
  t.strictSame(await peer.contents(1), ['Hello'])
})

test('an earlier request whose client leaves learns of it, with a handshake pipelined behind it too', async t => {
  for (const how of ['end', 'reset'] as const) {
    const events: string[] = []
    const over = deferred()
    const begun = deferred()
    const { site } = await serve(t, app => {
      app.get('/events', (request, reply) => {
        reply.hijack()
        request.raw.on('close', () => { events.push('close') })
        request.signal.addEventListener('abort', () => {
          events.push('abort')
          over.resolve()
        })
        reply.raw.writeHead(200)
        reply.raw.write('x')
        begun.resolve()
      })
      app.get('/ws', { websocket: true }, () => { t.fail('it had no turn') })
    })
    const peer = await site.connect()
    peer.write(request('/events'), handshake())
    await begun.promise
    await new Promise(resolve => { setImmediate(resolve) })
    peer[how]()
    await within(2000, over.promise, 'the abort')
    t.ok(events.includes('close'), how)
    await within(2000, site.emptied(), 'no connection is left')
  }
})

test('a handshake whose turn never comes does not hold up app.close() for longer than shutdownTimeout', async t => {
  const begun = deferred()
  const { app, site } = await serve(t, app => {
    app.get('/events', (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200)
      reply.raw.write('x')
      begun.resolve()
    })
    app.get('/ws', { websocket: true }, () => { t.fail('it had no turn') })
  }, { plugin: { shutdownTimeout: 100 } })
  const peer = await site.connect()
  peer.write(request('/events'), handshake())
  await begun.promise
  await new Promise(resolve => { setImmediate(resolve) })
  await within(2000, (async () => { await app.close() })(), 'close')
})

test('one server: an app after another is fine, two at a time are an error that says so', async t => {
  const server = createServer()
  for (const name of ['one', 'two']) {
    const app = Fastify()
    await app.register(websocket, { options: { server } })
    app.get('/ws', { websocket: true }, connection => { connection.send(name) })
    await app.ready()
    t.equal(server.listenerCount('upgrade'), 1)
    const other = Fastify()
    other.register(websocket, { options: { server } })
    await t.rejects((async () => { await other.ready() })(), { message: 'the WebSocket handshakes of this server belong to another Fastify app' })
    const client = await app.injectWS('/ws')
    t.equal(await client.receive(), name)
    await app.close()
    t.equal(server.listenerCount('upgrade'), 0)
  }
})
