// The HTTP/2 door, seen by a client that knows nothing of lib.
import { once } from 'node:events'
import dns from 'node:dns'
import { constants, createSecureServer, type Http2SecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { connect as connectTcp, type AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { test } from 'tap'
import type { WebSocketConnection } from '../../types/connection.ts'
import { ACCEPT, CERTIFICATE, close, deferred, echo, handshake, KEY, Peer, text, within } from '../helpers/http.ts'
import { openOverHttp2, openSession, serveHttp2 } from '../helpers/http2.ts'

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = constants

const serveEcho = (app: FastifyInstance): void => { app.get('/ws', { websocket: true }, echo) }
const h2 = (request: FastifyRequest): Http2ServerRequest => request.raw as unknown as Http2ServerRequest
const rawReply = (reply: FastifyReply): Http2ServerResponse => reply.raw as unknown as Http2ServerResponse

// Accepting

test('an extended CONNECT is accepted with 200, and no field of HTTP/1.1 or of a body', async t => {
  const app = await serveHttp2(t, serveEcho)
  const client = await openSession(t, app)
  t.equal(client.session.remoteSettings.enableConnectProtocol, true)
  const peer = client.handshake()
  const { ':status': status, date, ...fields } = await peer.response
  t.equal(status, 200)
  t.type(date, 'string')
  t.strictSame(Object.fromEntries(Object.entries(fields)), {})
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

test('an app has in hand what it has on HTTP/1.1: GET, and 101', async t => {
  const seen: unknown[] = []
  const app = await serveHttp2(t, app => {
    app.addHook('onSend', async (request, reply) => { seen.push(request.method, reply.statusCode, request.ws) })
    app.addHook('onResponse', async (_request, reply) => { seen.push(reply.statusCode, reply.sent) })
    app.get('/ws', { websocket: true }, (connection, request) => {
      seen.push(request.host, request.protocol, request.ip)
      echo(connection)
    })
  })
  const client = await openSession(t, app)
  const peer = await client.open()
  await peer.write(text('a')).contents(1)
  t.strictSame(seen, ['GET', 101, true, 'server.example.com', 'http', '127.0.0.1', 101, true])
})

test('`:protocol` is compared without case, and a key is answered when it is a right one', async t => {
  const app = await serveHttp2(t, serveEcho)
  const client = await openSession(t, app)
  t.equal(await client.handshake('/ws', { ':protocol': 'WebSocket' }).status(), 200)
  const keyed = await client.handshake('/ws', { 'sec-websocket-key': KEY }).response
  t.equal(keyed['sec-websocket-accept'], ACCEPT)
  const wrong = await client.handshake('/ws', { 'sec-websocket-key': 'short' }).response
  t.equal(wrong[':status'], 200)
  t.equal(wrong['sec-websocket-accept'], undefined)
})

test('header fields and cookies of hooks are on the 200, but not those of a connection or a body', async t => {
  const app = await serveHttp2(t, app => {
    app.get('/ws', {
      websocket: true,
      onRequest: async (_request, reply) => {
        reply.header('x-own', 'yes').header('content-length', '5').header('upgrade', 'x').header('set-cookie', ['a=1', 'b=2'])
        reply.raw.setHeader('trailer', 'x')
        reply.raw.setHeader('x-raw', 'yes')
        reply.header('sec-websocket-extensions', 'permessage-deflate').header('Sec-WebSocket-Version', '8').header('sec-websocket-protocol', 'b')
        reply.raw.setHeader('Sec-WebSocket-Accept', 'x')
      }
    }, echo)
  })
  const client = await openSession(t, app)
  const { ':status': status, date: _date, ...fields } = await client.handshake('/ws', { 'sec-websocket-protocol': 'a, b' }).response
  t.equal(status, 200)
  t.strictSame(Object.fromEntries(Object.entries(fields)), { 'x-own': 'yes', 'x-raw': 'yes', 'set-cookie': ['a=1', 'b=2'], 'sec-websocket-protocol': 'a' })
})

test('of two fields of a client that differ in case alone the handshake\'s own goes out', async t => {
  const app = await serveHttp2(t, app => {
    app.get('/ws', { websocket: true }, (connection, { headers, host }) => { connection.send(JSON.stringify([headers['sec-websocket-version'], headers['x-own'], host])) })
  })
  const connection = await openOverHttp2(app, '/ws', { headers: { 'SEC-websocket-version': '8', 'X-Own': '1', Host: 'b.example' } })
  t.teardown(() => { connection.terminate() })
  t.strictSame(JSON.parse(String(await connection.receive())), ['13', '1', 'b.example'])
})

test('permessage-deflate is agreed on as on HTTP/1.1', async t => {
  const app = await serveHttp2(t, app => { app.get('/ws', { websocket: { perMessageDeflate: { threshold: 0 } } }, echo) })
  const client = await openSession(t, app)
  const { 'sec-websocket-extensions': field } = await client.handshake('/ws', { 'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits' }).response
  t.match(field, /^permessage-deflate/)
  const connection = await openOverHttp2(app, '/ws', { perMessageDeflate: true } as object)
  t.teardown(() => { connection.terminate() })
  t.match(connection.extensions, /^permessage-deflate/)
  connection.send('hello '.repeat(1000))
  t.equal(await connection.receive(), 'hello '.repeat(1000))
  t.ok(connection.stats().bytesReceived < 1000)
})

test('onResponse runs at the handshake, and onRequestAbort not when the WebSocket is dropped', async t => {
  const calls: string[] = []
  const responded = deferred()
  let request: FastifyRequest | undefined
  const app = await serveHttp2(t, app => {
    app.addHook('onResponse', async () => { calls.push('onResponse'); responded.resolve() })
    app.addHook('onRequestAbort', async _request => { calls.push('onRequestAbort') })
    app.get('/ws', { websocket: true }, (_connection, given) => { request = given })
  })
  const client = await openSession(t, app)
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  await client.open()
  await within(2000, responded.promise, 'onResponse')
  t.equal(request!.signal.aborted, false)
  const over = new Promise(resolve => { request!.raw.once('close', resolve) })
  client.session.destroy()
  const [connection] = await connected
  t.match(await connection.closed, { code: 1006 })
  await over
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(request!.raw.aborted, false)
  t.strictSame(calls, ['onResponse'])
})

test('what comes during the hooks is kept, also more than is read ahead', async t => {
  const held = deferred()
  const begun = deferred()
  const app = await serveHttp2(t, app => {
    app.get('/ws', { websocket: true, onRequest: async () => { begun.resolve(); await held.promise } }, echo)
  }, { server: { http2SessionTimeout: 10_000 } })
  const client = await openSession(t, app)
  const peer = client.handshake()
  await begun.promise
  const messages = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(10_000))
  for (const message of messages) peer.write(text(message))
  await new Promise(resolve => { client.session.ping(resolve) })
  held.resolve()
  t.strictSame(await peer.contents(messages.length), messages)
})

test('a reply that is used after the 200 harms nothing', async t => {
  const used = deferred()
  const app = await serveHttp2(t, app => {
    app.get('/ws', { websocket: true }, connection => { echo(connection) })
    app.addHook('onResponse', async (_request, reply) => {
      const raw = rawReply(reply)
      raw.write('not a frame')
      raw.end('nor this')
      raw.writeHead(200)
      raw.destroy()
      used.resolve()
    })
  })
  const client = await openSession(t, app)
  const peer = await client.open()
  await within(2000, used.promise, 'the end of the hook')
  t.strictSame(await peer.write(text('a')).contents(1), ['a'])
})

// Refusing

const refused: Array<[title: string, changes: Record<string, string | undefined>, status: number, code: string]> = [
  ['another version', { 'sec-websocket-version': '8' }, 400, 'FST_WS_VERSION'],
  ['no version', { 'sec-websocket-version': undefined }, 400, 'FST_WS_VERSION'],
  ['a body', { 'content-length': '5' }, 400, 'FST_WS_BODY'],
  ['a page of another origin', { origin: 'https://evil.example' }, 403, 'FST_WS_ORIGIN'],
  ['subprotocols that are none', { 'sec-websocket-protocol': 'a, a' }, 400, 'FST_WS_PROTOCOL'],
  ['extensions that are none', { 'sec-websocket-extensions': '=' }, 400, 'FST_WS_EXTENSIONS']
]
for (const [title, changes, status, code] of refused) {
  test(`a handshake with ${title} is refused with ${status}, and its stream ends`, async t => {
    const app = await serveHttp2(t, serveEcho)
    const client = await openSession(t, app)
    const peer = client.handshake('/ws', changes)
    const answer = await peer.whole()
    t.equal(answer.status, status)
    t.equal(JSON.parse(answer.body).code, code)
    if (code === 'FST_WS_VERSION') t.equal(answer.headers['sec-websocket-version'], '13')
    t.equal(await within(2000, peer.rstCode(), 'the end of the stream'), NGHTTP2_NO_ERROR)
  })
}

test('a handshake that ends its stream is refused with 400', async t => {
  const app = await serveHttp2(t, serveEcho)
  const client = await openSession(t, app)
  const answer = await client.handshake('/ws', {}, { endStream: true }).whole()
  t.equal(answer.status, 400)
  t.match(answer.body, 'FST_WS_END_STREAM')
})

test('no 2xx gets out that does not open a WebSocket', async t => {
  const path = new URL('./http2-handshake.test.ts', import.meta.url).pathname
  const app = await serveHttp2(t, async app => {
    app.get('/http', async () => 'http')
    const hooks: Record<string, (request: FastifyRequest, reply: FastifyReply) => unknown> = {
      send: (_request, reply) => reply.send('hello'),
      empty: (_request, reply) => reply.code(204).send(),
      stream: (_request, reply) => reply.code(206).send(Readable.from(['hel', 'lo'])),
      raw: (_request, reply) => { reply.hijack(); rawReply(reply).end('hello') },
      core: (request, reply) => { reply.hijack(); h2(request).stream.respond(); h2(request).stream.end('hello') },
      core2: (request, reply) => { reply.hijack(); h2(request).stream.respond({ ':status': 'none' as never }); h2(request).stream.end('hello') },
      core3: (request, reply) => { reply.hijack(); h2(request).stream.respond(null as never); h2(request).stream.end('hello') },
      file: (request, reply) => { reply.hijack(); h2(request).stream.respondWithFile(path) },
      late: (request, reply) => {
        reply.hijack()
        h2(request).stream.respondWithFile(path, { ':status': 404 }, { statCheck (_stat, fields) { fields[':status'] = 200 } })
      },
      reason: (_request, reply) => { reply.hijack(); rawReply(reply).writeHead(101, 'Switching Protocols').end() },
      fd: async (request, reply) => {
        reply.hijack()
        const { open } = await import('node:fs/promises')
        const file = await open(path)
        h2(request).stream.once('close', () => { void file.close() })
        h2(request).stream.respondWithFD(file, { ':status': 202 })
      },
      switching: (_request, reply) => reply.code(101).send()
    }
    for (const [name, hook] of Object.entries(hooks)) {
      app.get(`/${name}`, { websocket: true, onRequest: (request, reply, next) => { if (hook(request, reply) === next) next() } }, () => { t.fail('the handler ran') })
    }
  })
  const client = await openSession(t, app)
  const expected: Array<[string, number, RegExp]> = [
    ['/http', 404, /Not Found/], ['/send', 403, /^hello$/], ['/empty', 403, /^$/], ['/stream', 403, /^hello$/], ['/raw', 403, /^hello$/],
    ['/core', 403, /^hello$/], ['/core2', 403, /^hello$/], ['/core3', 403, /^hello$/], ['/late', 403, /seen by a client/], ['/reason', 500, /^$/],
    ['/file', 403, /seen by a client/], ['/fd', 403, /seen by a client/], ['/switching', 500, /^$/]
  ]
  for (const [path, status, body] of expected) {
    const peer = client.handshake(path)
    const answer = await within(2000, peer.whole(), path)
    t.equal(answer.status, status, path)
    t.match(answer.body, body, path)
    peer.end() // which the server waits for when it has sent a file
    t.equal(await within(2000, peer.rstCode(), 'the end of the stream'), NGHTTP2_NO_ERROR)
  }
})

test('an onSend hook that changes its mind refuses, whatever it says instead', async t => {
  const app = await serveHttp2(t, app => {
    app.setErrorHandler((_error: FastifyError, _request, reply) => { reply.code(200).send('all is well') })
    app.get('/forbidden', { websocket: true, onSend: async (_request, reply) => { reply.code(403) } }, echo)
    app.get('/ok', { websocket: true, onSend: async (_request, reply) => { reply.code(200) } }, echo)
    app.get('/throw', { websocket: true, onSend: async (_request, reply) => { if (reply.statusCode === 101) throw new Error('no') } }, echo)
  })
  const client = await openSession(t, app)
  for (const path of ['/forbidden', '/ok', '/throw']) t.equal((await client.handshake(path).whole()).status, 403, path)
  t.equal(app.websocketServer.clients.size, 0)
})

test('an answer with a trailer and a long body comes whole, to a client that leaves its side open', async t => {
  const body = 'x'.repeat(3_000_000)
  const app = await serveHttp2(t, app => {
    app.get('/ws', {
      websocket: true,
      onRequest: (_request, reply) => { reply.code(401).trailer('x-end', (_reply, _payload, done) => { done(null, 'yes') }).send(body) }
    }, echo)
  })
  const client = await openSession(t, app)
  const peer = client.handshake()
  const trailers = once(peer.stream, 'trailers') as Promise<[Record<string, string>]>
  const answer = await peer.whole()
  t.equal(answer.status, 401)
  t.equal(answer.body.length, body.length)
  t.match((await trailers)[0], { 'x-end': 'yes' })
})

test('a CONNECT that is none of ours is answered as by Node, or with 501 for a protocol that is unknown', async t => {
  const app = await serveHttp2(t, serveEcho)
  const client = await openSession(t, app)
  const peer = client.handshake('/ws', { ':protocol': undefined, ':path': undefined, ':scheme': undefined })
  t.equal((await peer.whole()).status, 405)
  t.equal(await within(2000, peer.rstCode(), 'the end of the stream'), NGHTTP2_NO_ERROR)
  t.equal((await client.handshake('/ws', { ':protocol': 'connect-udp' }).whole()).status, 501)
})

test('other \'connect\' listeners get what no WebSocket route matches; what they leave is answered in the end', async t => {
  const app = await serveHttp2(t, serveEcho, { plugin: { handshakeTimeout: 100 } })
  app.server.on('connect', (request: Http2ServerRequest, response: Http2ServerResponse) => {
    if (request.url === '/theirs' || request.headers[':protocol'] === undefined) response.writeHead(200).end('theirs')
    if (request.url === '/slow') {
      request.stream.on('data', () => {})
      setTimeout(() => { response.writeHead(200).end('slow') }, 200)
    }
  })
  const client = await openSession(t, app)
  const peer = await client.open()
  t.strictSame(await peer.write(text('a')).contents(1), ['a'])
  t.equal((await client.handshake('/theirs').whole()).body, 'theirs')
  t.equal((await client.handshake('/ws', { ':protocol': undefined, ':path': undefined, ':scheme': undefined }).whole()).body, 'theirs')
  t.equal((await client.handshake('/slow').whole()).body, 'slow')
  t.equal((await client.handshake('/nobody').whole()).status, 404)
  const left = client.handshake('/nobody')
  left.stream.close(NGHTTP2_CANCEL)
  await left.closed
})

// Leaving, and taking too long

test('a client that leaves during the hooks aborts the request: by RST_STREAM, END_STREAM or with its session', async t => {
  for (const leave of [
    (peer: { stream: { close: (code: number) => void } }) => { peer.stream.close(NGHTTP2_CANCEL) },
    (peer: { stream: { end: () => void } }) => { peer.stream.end() },
    (peer: { stream: { session?: { destroy: () => void } | undefined } }) => { peer.stream.session!.destroy() }
  ]) {
    const aborted = deferred()
    const begun = deferred()
    const app = await serveHttp2(t, app => {
      app.addHook('onRequestAbort', async _request => { aborted.resolve() })
      app.get('/ws', {
        websocket: true,
        preValidation: async request => {
          begun.resolve()
          if (!request.signal.aborted) await once(request.signal, 'abort')
        }
      }, () => { t.fail('the handler ran') })
    })
    const client = await openSession(t, app)
    const peer = client.handshake()
    await begun.promise
    leave(peer as never)
    await within(2000, aborted.promise, 'onRequestAbort')
    await within(2000, peer.closed, 'the end of the stream')
  }
})

test('hooks that take too long are refused with 503, and a client that does not read the refusal is dropped', async t => {
  const closed = deferred<number>()
  const app = await serveHttp2(t, app => {
    app.setErrorHandler((_error, request, reply) => {
      h2(request).stream.once('close', () => { closed.resolve(h2(request).stream.rstCode) })
      reply.code(503).send('x'.repeat(1_000_000))
    })
    app.get('/ws', { websocket: true, onRequest: () => new Promise(() => {}) }, echo)
  }, { plugin: { handshakeTimeout: 50 } })
  const client = await openSession(t, app)
  const peer = client.handshake('/ws', {}, { deaf: true })
  t.equal(await peer.status(), 503)
  t.equal(await within(2000, closed.promise, 'the end of the stream'), NGHTTP2_CANCEL)
  const begun = deferred()
  const other = await serveHttp2(t, app => {
    app.get('/ws', {
      websocket: true,
      onRequest: (_request, reply) => { // never ends
        reply.hijack()
        rawReply(reply).writeHead(401)
        begun.resolve()
      }
    }, echo)
  }, { plugin: { handshakeTimeout: 50 } })
  const stuck = (await openSession(t, other)).handshake()
  t.equal(await stuck.status(), 401)
  t.equal(await within(2000, stuck.rstCode(), 'the end of the stream'), NGHTTP2_CANCEL)
})

test('a refusal that the response cannot carry drops the stream', async t => {
  const app = await serveHttp2(t, app => {
    app.get('/ws', { websocket: true, onRequest: (_request, reply) => { reply.code(401).header('x-bad', 'a\nb').send('no') } }, echo)
  })
  const client = await openSession(t, app)
  const peer = client.handshake()
  t.not(await within(2000, peer.status().catch(() => null), 'an end'), 200)
})

// The end of a connection

test('after both Close frames comes END_STREAM, then RST_STREAM with NO_ERROR, to a client that leaves its side open', async t => {
  const app = await serveHttp2(t, serveEcho)
  const client = await openSession(t, app)
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await client.open()
  t.strictSame(await peer.write(close(1000)).contents(1), [1000])
  await peer.ended
  t.equal(await within(2000, peer.rstCode(), 'the end of the stream'), NGHTTP2_NO_ERROR)
  t.match(await (await connected)[0].closed, { code: 1000, wasClean: true })
})

test('terminate() sends RST_STREAM with CANCEL', async t => {
  const app = await serveHttp2(t, app => { app.get('/ws', { websocket: true }, connection => { connection.on('message', () => { connection.terminate() }) }) })
  const client = await openSession(t, app)
  const peer = await client.open()
  peer.write(text('a'))
  t.equal(await within(2000, peer.rstCode(), 'the end of the stream'), NGHTTP2_CANCEL)
})

for (const code of [0, 1, 2, 7, 8, 11]) {
  test(`RST_STREAM with ${code} ends a connection with 1006, and with it nothing else`, async t => {
    const app = await serveHttp2(t, serveEcho)
    const client = await openSession(t, app)
    const bystander = await client.open()
    const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const peer = await client.open()
    const [connection] = await connected
    peer.stream.close(code)
    t.match(await within(2000, connection.closed, 'the end'), { code: 1006, wasClean: false })
    t.strictSame(await bystander.write(text('a')).contents(1), ['a'])
  })
}

test('RST_STREAM with NO_ERROR behind bytes that a paused connection does not read is noticed when it sends', async t => {
  const app = await serveHttp2(t, app => { app.get('/ws', { websocket: { highWaterMark: 10 } }, connection => { connection.pause() }) })
  const client = await openSession(t, app)
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await client.open()
  const [connection] = await connected
  const aborted = once(connection._socket!, 'aborted')
  for (let i = 0; i < 100; i++) peer.write(text('x'.repeat(300)))
  await once(connection._socket!, 'pause')
  await new Promise(resolve => { peer.stream.write(text('the last'), resolve) })
  peer.stream.close(NGHTTP2_NO_ERROR)
  await within(2000, aborted, 'the end of the stream')
  t.equal(connection.readyState, connection.OPEN)
  const closed = new Promise(resolve => { connection._socket!.once('close', resolve) })
  connection.send('hello')
  await within(2000, closed, 'the end of the transport')
  connection.terminate()
  t.match(await within(2000, connection.closed, 'the end'), { code: 1006 })
})

test('END_STREAM without a Close frame ends a connection with 1006', async t => {
  const app = await serveHttp2(t, serveEcho)
  const client = await openSession(t, app)
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await client.open()
  peer.write(text('a')).end()
  t.strictSame(await peer.contents(1), ['a'])
  t.match(await within(2000, (await connected)[0].closed, 'the end'), { code: 1006, wasClean: false })
  await within(2000, peer.closed, 'the end of the stream')
})

// Beside HTTP/1.1

test('with allowHTTP1 the same route serves both, on one port', async t => {
  const app = await serveHttp2(t, serveEcho, { server: { https: { ...CERTIFICATE, allowHTTP1: true } } })
  const { port } = app.server.address() as AddressInfo
  const peer = await Peer.connect({ port, tls: true })
  t.teardown(() => { peer.socket.destroy() })
  t.equal((await peer.write(handshake()).answer()).statusCode, 101)
  t.strictSame(await peer.write(text('one')).contents(1), ['one'])
  const client = await openSession(t, app)
  const other = await client.open('/ws', { ':scheme': 'https', origin: 'https://server.example.com' })
  t.strictSame(await other.write(text('two')).contents(1), ['two'])
  t.equal(app.websocketServer.clients.size, 2)
})

test('with allowHTTP1 a server that Node has given no shouldUpgradeCallback takes handshakes of HTTP/1.1 all the same', async t => {
  const serverFactory = (handler: (request: Http2ServerRequest, response: Http2ServerResponse) => void): Http2SecureServer =>
    Object.assign(createSecureServer({ ...CERTIFICATE, allowHTTP1: true }, handler), { shouldUpgradeCallback: undefined })
  const app = await serveHttp2(t, serveEcho, { server: { serverFactory } })
  const { port } = app.server.address() as AddressInfo
  const peer = await Peer.connect({ port, tls: true })
  t.teardown(() => { peer.socket.destroy() })
  t.equal((await peer.write(handshake()).answer()).statusCode, 101)
  t.strictSame(await peer.write(text('one')).contents(1), ['one'])
  // the versions that ask it call it for each request; the others leave it alone
  const { shouldUpgradeCallback } = app.server as unknown as { shouldUpgradeCallback: (request: { headers: object }) => boolean }
  t.equal(shouldUpgradeCallback({ headers: { upgrade: 'websocket' } }), true)
})

test('a CONNECT of HTTP/1.1 is dropped, as by Node', async t => {
  const app = await serveHttp2(t, serveEcho, { server: { https: { ...CERTIFICATE, allowHTTP1: true } } })
  const { port } = app.server.address() as AddressInfo
  const socket = connectTls({ port, host: '127.0.0.1', ca: CERTIFICATE.cert, servername: 'localhost' })
  socket.on('error', () => {})
  socket.write('CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n')
  await within(2000, once(socket, 'close'), 'the end of the socket')
})

test('every server of listen(\'localhost\') opens WebSockets over HTTP/2', async t => {
  // two addresses for it, whatever this machine has
  const { lookup } = dns
  t.teardown(() => { dns.lookup = lookup })
  dns.lookup = ((host: string, options: { all?: boolean }, callback: (error: null, addresses: object[]) => void) => {
    if (host !== 'localhost' || options.all !== true) lookup(host, options, callback as never)
    else process.nextTick(callback, null, ['127.0.0.1', '127.0.0.2'].map(address => ({ address, family: 4 })))
  }) as unknown as typeof lookup
  const app = await serveHttp2(t, serveEcho, { host: 'localhost' })
  const addresses = app.addresses() as AddressInfo[]
  t.equal(addresses.length, 2)
  for (const { address, port } of addresses) {
    const client = await openSession(t, `http://${address}:${port}`)
    const peer = await client.open()
    t.strictSame(await peer.write(text(address)).contents(1), [address])
  }
  await within(2000, (async () => { await app.close() })(), 'the end of the app')
})

test('a peer that speaks no HTTP/2 harms nothing', async t => {
  const app = await serveHttp2(t, serveEcho)
  const socket = connectTcp({ port: (app.server.address() as AddressInfo).port, host: '127.0.0.1' })
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\n\r\n')
  socket.resume()
  await within(2000, once(socket, 'close'), 'the end of the socket')
  t.equal(await (await openSession(t, app)).handshake().status(), 200)
})
