import { EventEmitter, once } from 'node:events'
import { readdirSync, readlinkSync } from 'node:fs'
import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import Fastify, { type FastifyError } from 'fastify'
import { test, type Test } from 'tap'
import { Http1Handshake } from '../../lib/handshake/http1-handshake.ts'
import websocket, { HandshakeError } from '../../lib/index.ts'
import {
  ACCEPT, CERTIFICATE, close, deferred, echo, handshake, KEY, listen, problem, request, serve, text, within, type Peer, type Site
} from '../helpers/http.ts'

const KIB_64 = 64 * 1024
/** More than the buffers of TCP hold. */
const LONG = 'x'.repeat(12_000_000)

/** Resolves when the event loop has gone round once. */
const turn = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

// Accepting

test('a handshake is accepted with the response of RFC 6455 §1.2', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const peer = await site.connect()
  const { statusCode, headers } = await peer.write(
    'GET /ws HTTP/1.1\r\n' +
    'Host: server.example.com\r\n' +
    'Upgrade: websocket\r\n' +
    'Connection: Upgrade\r\n' +
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' +
    'Sec-WebSocket-Version: 13\r\n' +
    '\r\n'
  ).answer()
  t.equal(statusCode, 101)
  t.strictSame({ ...headers, date: undefined }, {
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    date: undefined
  })
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

const unusualHandshakes: Array<[title: string, bytes: string]> = [
  ['names in any case', handshake('/ws', { Upgrade: 'WebSocket', Connection: 'uPGRADE' })],
  ['a Connection field of several options, as from Firefox', handshake('/ws', { Connection: 'keep-alive, Upgrade' })],
  ['an Upgrade field of several protocols', handshake('/ws', { Upgrade: 'h2c, websocket' })],
  ['Content-Length: 0, as from Java', handshake('/ws', { 'Content-Length': '0' })],
  ['empty lists of subprotocols and extensions', handshake('/ws', { 'Sec-WebSocket-Protocol': '', 'Sec-WebSocket-Extensions': ',' })],
  ['extensions that are unknown here', handshake('/ws', { 'Sec-WebSocket-Extensions': 'x-webkit-deflate-frame, bbf-usp-protocol; eid="doc"' })],
  ['a query', handshake('/ws?a=1')],
  ['Expect: 100-continue', handshake('/ws', { Expect: '100-continue' })],
  ['an absolute URL', handshake('http://server.example.com/ws')]
]
for (const [title, bytes] of unusualHandshakes) {
  test(`a handshake with ${title} is accepted`, async t => {
    const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
    const peer = await site.connect()
    const { statusCode, headers } = await peer.write(bytes).answer()
    t.equal(statusCode, 101)
    t.equal(headers['sec-websocket-accept'], ACCEPT)
    t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
  })
}

test('a handshake is accepted however its bytes are cut', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const peer = await site.connect()
  for (const byte of Buffer.concat([Buffer.from(handshake()), text('Hello')])) {
    await new Promise(resolve => { peer.socket.write(Buffer.from([byte]), resolve) })
  }
  t.equal((await peer.answer()).statusCode, 101)
  t.strictSame(await peer.contents(1), ['Hello'])
})

test('a connection lives on TLS', async t => {
  const app = Fastify({ https: CERTIFICATE })
  await app.register(websocket)
  app.get('/ws', { websocket: true }, echo)
  const site = await listen(t, app, { tls: true })
  const peer = await site.open('/ws')
  const long = 'x'.repeat(300_000)
  t.strictSame(await peer.write(text('Hello'), text(long)).contents(2), ['Hello', long])
  t.strictSame(await peer.write(close(1000)).contents(1), [1000])
  await peer.closed

  const refused = await site.connect()
  t.match(await refused.write(handshake('/nowhere'), Buffer.alloc(200_000)).answer(), { statusCode: 404, headers: { connection: 'close' } })
  t.equal(await refused.closed, null)
  await within(2000, site.emptied(), 'no connection is left')
})

// Refusing

interface Refusal {
  title: string
  bytes: string
  statusCode: number
  code: string
  headers?: Record<string, string>
}

const VERSION_13 = { 'sec-websocket-version': '13', upgrade: 'websocket' }
const refusals: Refusal[] = [
  { title: 'without a key', bytes: handshake('/ws', { 'Sec-WebSocket-Key': undefined }), statusCode: 400, code: 'FST_WS_KEY' },
  { title: 'with two keys', bytes: handshake('/ws', { 'Sec-WebSocket-Key': [KEY, KEY] }), statusCode: 400, code: 'FST_WS_KEY' },
  { title: 'with a key that is not base64', bytes: handshake('/ws', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25j!Q==' }), statusCode: 400, code: 'FST_WS_KEY' },
  { title: 'with a key of 15 bytes', bytes: handshake('/ws', { 'Sec-WebSocket-Key': Buffer.alloc(15).toString('base64') }), statusCode: 400, code: 'FST_WS_KEY' },
  { title: 'with a key of 17 bytes', bytes: handshake('/ws', { 'Sec-WebSocket-Key': Buffer.alloc(17).toString('base64') }), statusCode: 400, code: 'FST_WS_KEY' },
  { title: 'of version 8', bytes: handshake('/ws', { 'Sec-WebSocket-Version': '8' }), statusCode: 426, code: 'FST_WS_VERSION', headers: VERSION_13 },
  { title: 'of version 013', bytes: handshake('/ws', { 'Sec-WebSocket-Version': '013' }), statusCode: 426, code: 'FST_WS_VERSION', headers: VERSION_13 },
  { title: 'without a version', bytes: handshake('/ws', { 'Sec-WebSocket-Version': undefined }), statusCode: 426, code: 'FST_WS_VERSION', headers: VERSION_13 },
  { title: 'with its version twice', bytes: handshake('/ws', { 'Sec-WebSocket-Version': ['13', '13'] }), statusCode: 426, code: 'FST_WS_VERSION', headers: VERSION_13 },
  { title: 'of HTTP/1.0', bytes: handshake('/ws', {}, { version: '1.0' }), statusCode: 400, code: 'FST_WS_HTTP_VERSION' },
  { title: 'without a Host', bytes: handshake('/ws', { Host: undefined }), statusCode: 400, code: 'FST_WS_HOST' },
  { title: 'with two Hosts', bytes: handshake('/ws', { Host: ['server.example.com', 'other.example.com'] }), statusCode: 400, code: 'FST_WS_HOST' },
  { title: 'with a body of 5 bytes', bytes: handshake('/ws', { 'Content-Length': '5' }) + 'Hello', statusCode: 400, code: 'FST_WS_BODY' },
  { title: 'with a body that is announced and does not come', bytes: handshake('/ws', { 'Content-Length': '5' }), statusCode: 400, code: 'FST_WS_BODY' },
  { title: 'with a chunked body', bytes: handshake('/ws', { 'Transfer-Encoding': 'chunked' }) + '5\r\nHello\r\n0\r\n\r\n', statusCode: 400, code: 'FST_WS_BODY' },
  { title: 'with a subprotocol that is not a token', bytes: handshake('/ws', { 'Sec-WebSocket-Protocol': 'chat, a b' }), statusCode: 400, code: 'FST_WS_PROTOCOL' },
  { title: 'with a subprotocol twice', bytes: handshake('/ws', { 'Sec-WebSocket-Protocol': ['chat', 'chat'] }), statusCode: 400, code: 'FST_WS_PROTOCOL' },
  { title: 'with a malformed list of extensions', bytes: handshake('/ws', { 'Sec-WebSocket-Extensions': 'permessage-deflate; =1' }), statusCode: 400, code: 'FST_WS_EXTENSIONS' }
]
for (const { title, bytes, statusCode, code, headers = {} } of refusals) {
  test(`a handshake ${title} is refused with ${statusCode}`, async t => {
    const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') }) })
    const peer = await site.connect()
    const answer = await peer.write(bytes).answer()
    t.equal(answer.statusCode, statusCode)
    t.match(answer.headers, { ...headers, connection: 'close', 'content-type': 'application/json; charset=utf-8' })
    const { message, ...rest } = problem(answer)
    t.strictSame(rest, { statusCode, code, error: STATUS_CODES[statusCode] })
    t.not(message, '')
    t.equal(await peer.rest(), '', 'nothing follows')
    await within(2000, site.emptied(), 'the connection is gone')
  })
}

test('a handshake by POST finds no route', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const answer = await site.ask(handshake('/ws', {}, { method: 'POST' }))
  t.match(answer, { statusCode: 404, headers: { connection: 'close' } })
  t.equal(problem(answer).message, 'Route POST:/ws not found')
})

test('a request that does not name upgrade in its Connection field is an ordinary request', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const answer = await site.ask(handshake('/ws', { Connection: 'keep-alive', 'Sec-WebSocket-Key': undefined }))
  t.match(answer, { statusCode: 404, headers: { connection: 'keep-alive' } })
})

test('a handshake with 100 KiB of header fields gets 431, and the server lives on', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const flooding = await site.connect()
  t.equal((await flooding.write(handshake('/ws', { Cookie: 'x'.repeat(100 * 1024) })).answer()).statusCode, 431)
  await flooding.closed
  const peer = await site.open('/ws')
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

test('a hook that refuses a 101 in onSend leaves a normal refusal', async t => {
  const { site } = await serve(t, app => {
    app.get('/status', {
      websocket: true,
      onSend: async (_request, reply) => {
        reply.code(403)
        return 'not today'
      }
    }, () => { t.fail('the handler ran') })
    app.get('/throw', {
      websocket: true,
      onSend: async () => { throw Object.assign(new Error('not today'), { statusCode: 403 }) }
    }, () => { t.fail('the handler ran') })
  })
  for (const path of ['/status', '/throw']) {
    const peer = await site.connect()
    const { statusCode, headers, body } = await peer.write(handshake(path)).answer()
    t.equal(statusCode, 403, path)
    t.match(body, 'not today', path)
    t.equal(headers.connection, 'close', path)
    t.notOk('upgrade' in headers, path)
    t.notOk('sec-websocket-accept' in headers, path)
    t.equal(await peer.rest(), '', path)
  }
  await within(2000, site.emptied(), 'no connection is left')
})

// What becomes of the client that was refused

test('a refused client gets the whole answer, however much it has sent that nobody reads', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/late', { websocket: true, onRequest: async (_request, reply) => { await turn(); return reply.code(401).send('who are you?') } }, echo)
  })
  for (const [path, body] of [['/nowhere', 'Route GET:/nowhere not found'], ['/late', 'who are you?']] as const) {
    const peer = await site.connect()
    peer.write(handshake(path), Buffer.alloc(200_000))
    t.match((await peer.answer()).body, body)
    peer.write(Buffer.alloc(200_000))
    t.equal(await peer.closed, null, 'no ECONNRESET')
  }
  await within(2000, site.emptied(), 'no connection is left')
})

test('a refused client gets the whole answer also when it was made to wait before', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', {
      websocket: true,
      onRequest: async ({ raw }, reply) => {
        await once(raw.socket, 'pause')
        return reply.code(401).send('who are you?')
      }
    }, echo)
  })
  const peer = await site.connect()
  peer.write(handshake(), Buffer.alloc(10_000_000))
  t.match(await peer.answer(), { statusCode: 401, body: 'who are you?' })
  t.equal(await peer.closed, null, 'no ECONNRESET')
  await within(2000, site.emptied(), 'no connection is left')
})

test('a refused client that never ends its side is dropped', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const peers = await Promise.all(Array.from({ length: 3 }, () => site.connect({ staysHalfOpen: true })))
  await Promise.all(peers.map(peer => peer.write(handshake('/nowhere')).answer()))
  await Promise.all(peers.map(({ ended }) => ended))
  t.equal(site.sockets.size, 3)
  await within(2000, site.emptied(), 'no connection is left')
})

test('a long refusal arrives whole', async t => {
  const { site } = await serve(t, app => { app.setNotFoundHandler((_request, reply) => reply.code(404).send(LONG)) })
  const answer = await site.ask(handshake('/nowhere'))
  t.equal(answer.body.length, LONG.length)
})

test('a long refusal arrives whole at a client that has ended its side', async t => {
  const { site } = await serve(t, app => { app.setNotFoundHandler((_request, reply) => reply.code(404).send(LONG)) })
  const peer = await site.connect({ staysHalfOpen: true })
  const answer = await peer.write(handshake('/nowhere')).end().answer()
  t.equal(answer.body.length, LONG.length)
})

test('a refusal that is a stream arrives whole', async t => {
  const { site } = await serve(t, app => {
    app.setNotFoundHandler((_request, reply) => reply.code(404).send(new Blob(['x'.repeat(3_000_000)]).stream()))
  })
  const answer = await site.ask(handshake('/nowhere'))
  t.match(answer, { statusCode: 404, headers: { connection: 'close', 'transfer-encoding': 'chunked' } })
  t.equal(answer.body.length, 3_000_000)
})

test('a refused client that reads nothing of a long answer is dropped', async t => {
  const answered = deferred()
  const { site } = await serve(t, app => {
    app.setNotFoundHandler((_request, reply) => {
      reply.code(404).send(LONG)
      answered.resolve()
    })
  }, { plugin: { handshakeTimeout: 100 } })
  const peer = await site.connect({ deaf: true })
  peer.write(handshake('/nowhere'))
  await answered.promise
  await within(2000, site.emptied(), 'no connection is left')
})

// What the client sends before it has the answer

test('frames that come with the handshake are delivered after open, in order', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const peer = await site.connect()
  peer.write(handshake(), text('1'), text('2'), text('3'))
  t.equal((await peer.answer()).statusCode, 101)
  t.strictSame(await peer.contents(3), ['1', '2', '3'])
})

test('frames that come during async hooks are delivered after open, in order', async t => {
  const inHook = deferred()
  const { site } = await serve(t, app => {
    app.addHook('preHandler', () => inHook.promise)
    app.get('/ws', { websocket: true }, echo)
  })
  const peer = await site.connect()
  peer.write(handshake(), text('1'), text('2').subarray(0, 3))
  const [socket] = site.sockets
  await once(socket!, 'data')
  peer.write(text('2').subarray(3), text('3'))
  await once(socket!, 'data')
  inHook.resolve()
  t.equal((await peer.answer()).statusCode, 101)
  t.strictSame(await peer.contents(3), ['1', '2', '3'])
})

test('of early data 64 KiB are read during hooks, and all of it is delivered after open', async t => {
  const inHook = deferred()
  const { site } = await serve(t, app => {
    app.addHook('preHandler', () => inHook.promise)
    app.get('/ws', { websocket: true }, async connection => {
      for (let count = 0; ; count++) {
        const [data] = await once(connection, 'message') as [Buffer]
        if (Number(data.toString().split(' ')[0]) !== count) throw new Error(`message ${count} is missing`)
        if (count === 999) connection.send('1000 messages in order')
      }
    })
  })
  const peer = await site.connect()
  peer.write(handshake(), ...Array.from({ length: 1000 }, (_, i) => text(`${i} ${'x'.repeat(10_000)}`)))
  const [socket] = site.sockets
  await once(socket!, 'pause')
  t.ok(socket!.bytesRead >= KIB_64, `${socket!.bytesRead} bytes were read`)
  t.ok(socket!.bytesRead <= 4 * KIB_64, `${socket!.bytesRead} bytes were read`)
  inHook.resolve()
  t.equal((await peer.answer()).statusCode, 101)
  t.strictSame(await peer.contents(1), ['1000 messages in order'])
})

test('a Close frame that comes with the handshake is answered after the handler had its turn', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, connection => { connection.send('hello') }) })
  const peer = await site.connect()
  peer.write(handshake(), close(1000)).end()
  t.equal((await peer.answer()).statusCode, 101)
  t.strictSame(await peer.contents(2), ['hello', 1000])
  await within(2000, site.emptied(), 'no connection is left')
})

// The client that leaves

for (const how of ['reset', 'end'] as const) {
  const name = how === 'reset' ? 'RST' : 'FIN'

  for (const hook of ['onRequest', 'preHandler', 'onSend'] as const) {
    test(`after a ${name} during ${hook} the request is aborted and the handler never opens`, async t => {
      const inHook = deferred()
      const leave = deferred()
      const aborted = deferred()
      const calls: string[] = []
      const { site } = await serve(t, app => {
        const wait = async (request: { signal: AbortSignal }): Promise<void> => {
          request.signal.addEventListener('abort', () => { calls.push('signal') })
          inHook.resolve()
          await leave.promise
          calls.push('hook')
        }
        if (hook === 'onSend') {
          app.addHook('onSend', wait)
        } else {
          app.addHook(hook, wait)
          app.addHook('onSend', async () => { calls.push('onSend') }) // there is nothing to send, and nobody to send it to
        }
        app.addHook('onRequestAbort', async _request => {
          calls.push('onRequestAbort')
          aborted.resolve()
        })
        app.get('/ws', { websocket: true }, () => { calls.push('handler') })
      })
      const peer = await site.connect()
      peer.write(handshake(), text('too late'))
      await inHook.promise
      peer[how]()
      await aborted.promise
      t.strictSame(calls, ['signal', 'onRequestAbort'])
      leave.resolve()
      await within(2000, site.emptied(), 'no connection is left')
      await turn()
      t.strictSame(calls, ['signal', 'onRequestAbort', 'hook'])
      t.equal((await site.ask(handshake('/nowhere'))).statusCode, 404, 'the server lives on')
    })
  }

  test(`a ${name} right behind the handshake leaves nothing`, async t => {
    const { site } = await serve(t, app => {
      app.addHook('preHandler', async () => { await turn() })
      app.get('/ws', { websocket: true }, echo)
    })
    const peers = await Promise.all(Array.from({ length: 20 }, () => site.connect()))
    for (const [i, peer] of peers.entries()) {
      peer.write(handshake(i % 2 === 0 ? '/ws' : '/nowhere'), text('too late'))
      if (i % 4 < 2) await turn()
      peer[how]()
    }
    await Promise.all(peers.map(({ closed }) => closed))
    await within(2000, site.emptied(), 'no connection is left')
    t.equal((await site.open('/ws')).socket.destroyed, false, 'the server lives on')
  })
}

test('onRequestAbort does not run after a refusal, however the client leaves', async t => {
  const aborts: string[] = []
  const { site } = await serve(t, app => {
    app.addHook('onRequestAbort', async ({ url }) => { aborts.push(url) })
    app.setNotFoundHandler(async (_request, reply) => await reply.code(404).send('no'))
    app.get('/ws', { websocket: true }, echo)
  })
  for (const how of ['reset', 'end'] as const) {
    for (const bytes of [handshake(`/nowhere-${how}`), handshake(`/ws?${how}`, { 'Sec-WebSocket-Version': '8' })]) {
      const peer = await site.connect({ staysHalfOpen: true })
      await peer.write(bytes).answer()
      peer[how]()
      await peer.closed
    }
  }
  await within(2000, site.emptied(), 'no connection is left')
  t.strictSame(aborts, [])
})

test('onRequestAbort does not run after a 101, however the client leaves', async t => {
  const aborts: string[] = []
  const { app, site } = await serve(t, app => {
    app.addHook('onRequestAbort', async ({ url }) => { aborts.push(url) })
    app.get('/ws', { websocket: true }, (connection, request) => {
      request.signal.addEventListener('abort', () => { aborts.push('signal') })
    })
  })
  for (const leave of [(peer: Peer) => peer.reset(), (peer: Peer) => peer.end(), (peer: Peer) => peer.write(close(1000))]) {
    const connected = once(app.websocketServer, 'connection')
    const peer = await site.open('/ws')
    const [connection] = await connected
    const closed = once(connection, 'close')
    leave(peer)
    await closed
    await peer.closed
  }
  await within(2000, site.emptied(), 'no connection is left')
  t.strictSame(aborts, [])
})

// Time-outs

/** Hooks that take until `late` emits 'now'. */
const lateHooks: Array<[title: string, hooks: (late: EventEmitter) => Fastify.RouteShorthandOptions]> = [
  ['preHandler that then goes on', late => ({
    preHandler: async () => { await once(late, 'now') }
  })],
  ['preHandler that then throws', late => ({
    preHandler: async () => {
      await once(late, 'now')
      throw new Error('late')
    }
  })],
  ['preHandler that then answers', late => ({
    preHandler: async (_request, reply) => {
      await once(late, 'now')
      return reply.code(401).send('late')
    }
  })],
  ['onSend that then goes on', late => ({
    onSend: async () => { await once(late, 'now') }
  })],
  ['onSend that then throws', late => ({
    onSend: async () => {
      await once(late, 'now')
      throw new Error('late')
    }
  })],
  ['onSend with a callback that then goes on', late => ({
    onSend: (_request, _reply, _payload, next) => { late.once('now', () => { setImmediate(() => { next() }) }) }
  })],
  ['onSend with a callback that then fails', late => ({
    onSend: (_request, _reply, _payload, next) => { late.once('now', () => { setImmediate(() => { next(new Error('late')) }) }) }
  })],
  ['onSend with a callback that then refuses', late => ({
    onSend: (_request, reply, _payload, next) => {
      late.once('now', () => {
        reply.code(403)
        setImmediate(() => { next(null, 'late') })
      })
    }
  })]
]
for (const [title, hooks] of lateHooks) {
  test(`handshakeTimeout refuses with 503 during ${title}`, async t => {
    const late = new EventEmitter()
    const calls: string[] = []
    const { site } = await serve(t, app => {
      app.get('/ws', { websocket: true, ...hooks(late) }, () => { calls.push('handler') })
    }, { plugin: { handshakeTimeout: 50 } })
    const peer = await site.connect()
    const answer = await peer.write(handshake(), text('too early')).answer()
    t.match(answer, { statusCode: 503, headers: { connection: 'close', 'content-type': 'application/json; charset=utf-8' } })
    t.match(problem(answer), { statusCode: 503, code: 'FST_WS_HANDSHAKE_TIMEOUT', error: 'Service Unavailable' })
    t.equal(await peer.rest(), '')
    late.emit('now')
    t.equal((await site.ask(handshake('/nowhere'))).statusCode, 404, 'the server lives on')
    await within(2000, site.emptied(), 'no connection is left')
    t.strictSame(calls, [])
  })
}

test('a handshake that handshakeTimeout refused has one response for onResponse', async t => {
  const late = new EventEmitter()
  const calls: string[] = []
  const { site } = await serve(t, app => {
    app.addHook('onResponse', async (_request, reply) => { calls.push(`onResponse ${reply.statusCode}`) })
    app.get('/ws', { websocket: true, preHandler: async () => { await once(late, 'now') } }, echo)
  }, { plugin: { handshakeTimeout: 50 } })
  const peer = await site.connect()
  await peer.write(handshake()).answer()
  late.emit('now')
  await within(2000, site.emptied(), 'no connection is left')
  t.strictSame(calls, ['onResponse 503'])
})

test('the error handler and the hooks of the app shape what handshakeTimeout refuses', async t => {
  const late = new EventEmitter()
  const calls: string[] = []
  const { site } = await serve(t, app => {
    app.setErrorHandler((error: FastifyError, _request, reply) => { reply.code(error.statusCode ?? 500).send({ shaped: error.code }) })
    app.addHook('onError', async (_request, _reply, error) => { calls.push(`onError ${error.code}`) })
    app.addHook('onSend', async (_request, reply) => { reply.header('x-hook', 'onSend') })
    app.addHook('onResponse', async (_request, reply) => { calls.push(`onResponse ${reply.statusCode}`) })
    app.get('/ws', { websocket: true, preValidation: async () => { await once(late, 'now') } }, echo)
  }, { plugin: { handshakeTimeout: 50 } })
  const peer = await site.connect()
  const answer = await peer.write(handshake()).answer()
  t.match(answer, { statusCode: 503, headers: { 'x-hook': 'onSend', connection: 'close' } })
  t.strictSame(JSON.parse(answer.body), { shaped: 'FST_WS_HANDSHAKE_TIMEOUT' })
  late.emit('now')
  await within(2000, site.emptied(), 'no connection is left')
  t.strictSame(calls, ['onError FST_WS_HANDSHAKE_TIMEOUT', 'onResponse 503'])
})

test('where the error handler does not answer either, the client gets its 503 all the same', async t => {
  const { site } = await serve(t, app => {
    app.setErrorHandler(() => new Promise(() => {}))
    app.get('/ws', { websocket: true, onRequest: () => new Promise(() => {}) }, echo)
  }, { plugin: { handshakeTimeout: 50 } })
  t.match(problem(await within(3000, site.ask(handshake()), 'an answer')), { code: 'FST_WS_HANDSHAKE_TIMEOUT' })
})

test('each registration has its own handshakeTimeout', async t => {
  const { site } = await serve(t, async app => {
    await app.register(async scope => {
      await scope.register(websocket, { handshakeTimeout: 50 })
      scope.get('/ws', { websocket: true, onRequest: () => new Promise(() => {}) }, echo)
    })
  }, { plugin: { handshakeTimeout: 60_000 } })
  t.match(problem(await site.ask(handshake())), { message: 'the opening handshake was not answered within 50 ms' })
})

test('handshakeTimeout is over with the 101', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/hangs', { websocket: true, onRequest: () => new Promise(() => {}) }, echo)
  }, { plugin: { handshakeTimeout: 50 } })
  const peer = await site.open('/ws')
  t.equal((await site.ask(handshake('/hangs'))).statusCode, 503, 'so much time has passed')
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

test('the time-outs of HTTP end with the handshake', async t => {
  let timeout: number | undefined
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true, onRequest: async ({ raw }) => { timeout = raw.socket.timeout } }, echo)
  }, { server: { connectionTimeout: 50, keepAliveTimeout: 50, requestTimeout: 50 } })
  const peer = await site.open('/ws')
  t.equal(timeout, 0, 'for its hooks as well')
  const silent = await site.connect()
  await silent.closed // so much time has passed
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

test('a client that sends more than is read and then leaves is noticed after handshakeTimeout', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true, onRequest: () => new Promise(() => {}) }, echo)
  }, { plugin: { handshakeTimeout: 100 } })
  const peer = await site.connect()
  peer.write(handshake(), Buffer.alloc(10_000_000))
  await once(site.sockets.values().next().value!, 'pause')
  peer.reset()
  await within(2000, site.emptied(), 'no connection is left')
})

test('a hook may take the response or the socket for itself', async t => {
  const { site } = await serve(t, app => {
    app.get('/response', {
      websocket: true,
      onRequest: (_request, reply, _done) => {
        reply.hijack()
        reply.raw.writeHead(299, 'Mine', { 'content-length': 4 }).end('mine')
      }
    }, () => { t.fail('the handler ran') })
    app.get('/socket', {
      websocket: true,
      onRequest: ({ raw }, reply, _done) => {
        reply.hijack()
        raw.socket.end('mine')
      }
    }, () => { t.fail('the handler ran') })
  })
  t.match(await site.ask(handshake('/response')), { statusCode: 299, body: 'mine', headers: { connection: 'close' } })
  const peer = await site.connect()
  t.equal(await peer.write(handshake('/socket')).rest(), 'mine')
  await within(2000, site.emptied(), 'no connection is left')
})

// Without Fastify

function createUpgradeServer (onUpgrade: (upgrade: Http1Handshake, socket: Socket) => void): Server {
  const server = createServer()
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    onUpgrade(new Http1Handshake(request, socket, head), socket)
  })
  return server
}

async function listenAlone (t: Test, server: Server): Promise<Site> {
  return await listen(t, {
    server,
    listen: async options => {
      server.listen(options)
      await once(server, 'listening')
      return ''
    },
    close: () => server.close()
  })
}

test('a pending upgrade can be accepted by any response with status 101', async t => {
  const answers: Array<(response: ServerResponse) => ServerResponse> = [
    response => response.writeHead(101),
    response => response.writeHead(101, { 'x-own': '1', upgrade: 'other' }),
    response => response.writeHead(101, 'Switching', { 'x-own': '1' }),
    response => Object.assign(response, { statusCode: 101 }).setHeader('x-own', '1')
  ]
  for (const [i, answer] of answers.entries()) {
    const site = await listenAlone(t, createUpgradeServer(upgrade => {
      t.equal(upgrade.start(), true)
      upgrade.accept({ upgrade: 'test', connection: 'Upgrade' }, {
        onSwitched ({ stream }, head) {
          t.equal(upgrade.isOver, true)
          stream.end(`you said ${head}`)
        },
        onLost () { t.fail('it has switched') }
      })
      answer(upgrade.response).end()
    }))
    const peer = await site.connect()
    peer.write(handshake(), 'Hello')
    const { statusCode, headers } = await peer.answer()
    t.equal(statusCode, 101)
    t.match(headers, { upgrade: 'test', connection: 'Upgrade' })
    t.equal(headers['x-own'], i === 0 ? undefined : '1')
    t.equal(await peer.rest(), 'you said Hello')
  }
})

test('a pending upgrade leaves nothing of its own on the socket that another takes, but that an error ends nothing else', async t => {
  const events = ['data', 'end', 'close', 'drain', 'timeout', 'finish', 'error']
  const count = (socket: Socket): number[] => events.map(event => socket.listenerCount(event))
  const counts = deferred<[before: number[], after: number[]]>()
  const server = createServer()
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const before = count(socket)
    const upgrade = new Http1Handshake(request, socket, head)
    upgrade.leave()
    counts.resolve([before, count(socket)])
    socket.destroy()
  })
  const site = await listenAlone(t, server)
  const peer = await site.connect()
  peer.write(handshake())
  const [before, after] = await counts.promise
  t.strictSame(after, [...before.slice(0, -1), before.at(-1)! + 1])
})

test('a pending upgrade can be refused once, by anyone', async t => {
  const site = await listenAlone(t, createUpgradeServer(upgrade => {
    t.equal(upgrade.start(), true)
    t.equal(upgrade.isOver, false)
    upgrade.refuse(new HandshakeError('FST_WS_TEST', 418, 'short and stout', { 'x-pot': 'tea' }))
    t.equal(upgrade.isOver, true)
    upgrade.refuse(new HandshakeError('FST_WS_TEST', 500, 'too late'))
  }))
  const peer = await site.connect()
  const answer = await peer.write(handshake()).answer()
  t.match(answer, { statusCode: 418, headers: { 'x-pot': 'tea', connection: 'close' } })
  t.strictSame(problem(answer), { statusCode: 418, code: 'FST_WS_TEST', error: 'I\'m a Teapot', message: 'short and stout' })
  t.equal(await peer.rest(), '')
  await within(2000, site.emptied(), 'no connection is left')
})

test('a pending upgrade does not start for a client that has left', async t => {
  const left = deferred<[boolean, boolean]>()
  const site = await listenAlone(t, createUpgradeServer((upgrade, socket) => {
    socket.once('end', () => { left.resolve([upgrade.start(), upgrade.isOver]) })
  }))
  const peer = await site.connect()
  peer.write(handshake()).end()
  t.strictSame(await left.promise, [false, true])
  await within(2000, site.emptied(), 'no connection is left')
})

// All of it at once

test('300 connections that are accepted, refused, aborted or left hanging leave no descriptor', async t => {
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/late', { websocket: true, preHandler: async () => { await turn() } }, echo)
    app.get('/hangs', { websocket: true, onRequest: () => new Promise(() => {}) }, echo)
  }, { plugin: { handshakeTimeout: 100 } })
  const before = socketDescriptors()
  const lives: Array<(peer: Peer) => unknown> = [
    async peer => { // accepted
      await peer.write(handshake(), text('Hello')).answer()
      await peer.contents(1)
      await peer.write(close(1000)).contents(1)
    },
    async peer => { // dropped after that
      await peer.write(handshake('/late')).answer()
      peer.reset()
    },
    async peer => { await peer.write(handshake('/nowhere'), Buffer.alloc(1000)).answer() }, // refused
    peer => peer.write(handshake('/late'), text('Hello')).reset(), // aborted
    async peer => { await peer.write(handshake('/hangs')).answer() }, // timed out
    peer => peer.write(handshake('/hangs')).end(), // left hanging
    async peer => { await peer.write(request('/nowhere'), handshake('/ws', { Upgrade: 'h2c' })).end().answer() }, // not ours
    peer => peer.write(handshake().slice(0, 80)).reset() // never complete
  ]
  for (let round = 0; round < 6; round++) {
    const peers = await Promise.all(Array.from({ length: 50 }, () => site.connect()))
    await Promise.all(peers.map((peer, i) => lives[i % lives.length]!(peer)))
    await Promise.all(peers.map(({ closed }) => closed))
  }
  await within(2000, site.emptied(), 'no connection is left')
  t.equal(app.websocketServer.clients.size, 0)
  t.equal(socketDescriptors(), before)
})

function socketDescriptors (): number {
  return readdirSync('/proc/self/fd').filter(descriptor => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`).startsWith('socket:')
    } catch {
      return false // the one by which the directory was read
    }
  }).length
}

test('what a handler writes behind a refusal that was given for it is ignored', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', {
      websocket: true,
      onRequest: (_request, reply, next) => {
        reply.raw.once('finish', () => {
          t.doesNotThrow(() => {
            reply.raw.writeHead(200, { 'x-late': '1' })
            reply.raw.write('late')
            reply.raw.end('later')
          })
          next()
        })
      }
    }, echo)
  }, { plugin: { handshakeTimeout: 20 } })
  const peer = await site.connect()
  const { statusCode, headers } = await peer.write(handshake()).answer()
  t.equal(statusCode, 503)
  t.notOk('x-late' in headers)
  t.equal(await peer.rest(), '')
})

test('a hook that spoils the head of every answer and never gives one costs the client its answer, and nothing more', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', {
      websocket: true,
      onRequest: (_request, reply) => {
        reply.raw.setHeader('trailer', 'x')
        return new Promise(() => {})
      }
    }, echo)
    app.get('/fine', { websocket: true }, echo)
  }, { plugin: { handshakeTimeout: 50 } })
  t.equal((await within(3000, site.ask(handshake()), 'an answer')).statusCode, 503)
  await within(3000, site.emptied(), 'no connection is left')
  await site.open('/fine')
})

test('a handshake that was refused is not accepted later, however slow the error handler is', async t => {
  const refused = deferred()
  const answered = deferred()
  const { site } = await serve(t, app => {
    app.setErrorHandler(async (error: FastifyError, _request, reply) => {
      refused.resolve()
      await answered.promise
      reply.code(error.statusCode!)
      return { shaped: error.code }
    })
    app.addHook('preHandler', async () => { await refused.promise })
    app.addHook('onSend', async () => { await turn() })
    app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') })
    app.addHook('preHandler', async () => { setImmediate(answered.resolve) })
  }, { plugin: { handshakeTimeout: 50 } })
  const answer = await site.ask(handshake())
  t.equal(answer.statusCode, 503)
  t.strictSame(JSON.parse(answer.body), { shaped: 'FST_WS_HANDSHAKE_TIMEOUT' })
  await within(3000, site.emptied(), 'no connection is left')
})

test('a refusal that does not begin is written without the error handler, one that does not come to its end is dropped', async t => {
  for (const chunks of [[], ['x']]) {
    const { site } = await serve(t, app => {
      app.setErrorHandler((_error, _request, reply) => { reply.send(new Readable({ read () { for (const chunk of chunks.splice(0)) this.push(chunk) } })) })
      app.get('/ws', { websocket: true, onRequest: () => new Promise(() => {}) }, echo)
    }, { plugin: { handshakeTimeout: 50 } })
    const begins = chunks.length > 0
    const peer = await site.connect()
    const rest = await within(4000, peer.write(handshake()).rest(), 'the end')
    t.equal(rest.includes('FST_WS_HANDSHAKE_TIMEOUT'), !begins)
  }
})

test('a trailer that a hook announces does not go out with the 101', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true, onRequest: async (_request, reply) => { reply.trailer('etag', async () => 'x') } }, echo)
  })
  const peer = await site.connect()
  const { statusCode, headers } = await peer.write(handshake(), text('Hello')).answer()
  t.equal(statusCode, 101)
  t.notOk('trailer' in headers || 'transfer-encoding' in headers)
  t.strictSame(await peer.contents(1), ['Hello'])
})

test('a refuser that fails is done without', async t => {
  const site = await listenAlone(t, createUpgradeServer(upgrade => {
    upgrade.start()
    upgrade.onRefusal(() => { throw new Error('oops') })
    upgrade.refuse(new HandshakeError('FST_WS_TEST', 418, 'short and stout'))
  }))
  t.match(problem(await site.ask(handshake())), { code: 'FST_WS_TEST' })
})
