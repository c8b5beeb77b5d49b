import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { test } from 'tap'
import websocket from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketHandler } from '../../types/fastify.ts'
import type { WebSocketRouteOptions } from '../../types/options.ts'
import { ACCEPT, close, deferred, echo, handshake, listen, problem, request, serve, text, within } from '../helpers/http.ts'

// Hooks

test('all hooks run for a handshake, in the order of Fastify and once', async t => {
  const calls: string[] = []
  const over = deferred()
  const { site } = await serve(t, app => {
    app.addHook('onRequest', async () => { calls.push('onRequest') })
    app.addHook('preParsing', async () => { calls.push('preParsing') })
    app.addHook('preValidation', async () => { calls.push('preValidation') })
    app.addHook('preHandler', async () => { calls.push('preHandler') })
    app.addHook('onSend', async (_request, reply, payload) => {
      calls.push(`onSend ${reply.statusCode} ${payload}`)
      return payload
    })
    app.addHook('onError', async () => { calls.push('onError') })
    app.addHook('onTimeout', async () => { calls.push('onTimeout') })
    app.addHook('onRequestAbort', async _request => { calls.push('onRequestAbort') })
    app.addHook('onResponse', async (_request, reply) => {
      calls.push(`onResponse ${reply.statusCode}`)
      over.resolve()
    })
    app.get('/ws', {
      websocket: true,
      onRequest: [async () => { calls.push('onRequest of the route') }],
      preHandler: (_request, _reply, done) => {
        calls.push('preHandler of the route')
        setImmediate(done)
      },
      onSend: (_request, _reply, payload, done) => {
        calls.push('onSend of the route')
        setImmediate(done, null, payload)
      }
    }, connection => {
      calls.push('handler')
      echo(connection)
    })
  })
  const peer = await site.open('/ws')
  await over.promise
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
  t.strictSame(await peer.write(close(1000)).contents(1), [1000])
  await peer.closed
  t.strictSame(calls, [
    'onRequest', 'onRequest of the route', 'preParsing', 'preValidation', 'preHandler', 'preHandler of the route',
    'onSend 101 undefined', 'onSend of the route', 'handler', 'onResponse 101'
  ])
})

test('header fields and cookies that hooks set reach the 101', async t => {
  const { site } = await serve(t, app => {
    app.addHook('onRequest', async (_request, reply) => { reply.header('x-request', '1').header('set-cookie', 'a=1') })
    app.addHook('preHandler', async (_request, reply) => { reply.raw.setHeader('x-raw', '2') })
    app.addHook('onSend', async (_request, reply) => { reply.header('x-send', '3').header('set-cookie', 'b=2') })
    app.get('/ws', { websocket: true }, echo)
  })
  const peer = await site.connect()
  const { statusCode, headers } = await peer.write(handshake()).answer()
  t.equal(statusCode, 101)
  t.match(headers, { 'x-request': '1', 'x-raw': '2', 'x-send': '3', 'set-cookie': 'a=1, b=2', connection: 'Upgrade', upgrade: 'websocket' })
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

test('what the handshake agrees on is nobody else\'s to say, whatever hooks do', async t => {
  const { site } = await serve(t, app => {
    app.addHook('onRequest', async (_request, reply) => {
      reply.headers({ 'sec-websocket-extensions': 'permessage-deflate', 'Sec-WebSocket-Protocol': 'none', 'sec-websocket-version': '8', Upgrade: 'h2c', connection: 'close' })
      reply.raw.setHeader('Sec-WebSocket-Accept', 'wrong')
      reply.raw.setHeader('sec-websocket-key', 'x')
    })
    app.addHook('onSend', async (_request, reply) => { reply.header('SEC-WEBSOCKET-EXTENSIONS', 'permessage-deflate') })
    app.get('/ws', { websocket: true }, echo)
  })
  for (const [changes, protocol] of [[{}, undefined], [{ 'Sec-WebSocket-Protocol': 'a, none', 'Sec-WebSocket-Extensions': 'permessage-deflate' }, 'a']] as const) {
    const peer = await site.connect()
    const { statusCode, headers: { date: _date, ...headers } } = await peer.write(handshake('/ws', changes)).answer()
    t.equal(statusCode, 101)
    t.strictSame(headers, {
      upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-accept': ACCEPT, ...(protocol === undefined ? {} : { 'sec-websocket-protocol': protocol })
    })
    t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
  }
})

test('the fields of a 101 are written as in RFC 6455, each once', async t => {
  const { site } = await serve(t, app => {
    app.addHook('onRequest', async (_request, reply) => { reply.header('connection', 'x').header('upgrade', 'x').header('sec-websocket-protocol', 'x') })
    app.get('/ws', { websocket: { perMessageDeflate: true } }, echo)
  })
  const peer = await site.connect()
  peer.write(handshake('/ws', { 'Sec-WebSocket-Protocol': 'a', 'Sec-WebSocket-Extensions': 'permessage-deflate' }), close(1000))
  const head = (await peer.rest()).split('\r\n\r\n')[0]!
  t.strictSame(head.split('\r\n').slice(1).map(line => line.split(':')[0]).sort(), [
    'Connection', 'Date', 'Sec-WebSocket-Accept', 'Sec-WebSocket-Extensions', 'Sec-WebSocket-Protocol', 'Upgrade'
  ])
})

test('an empty offer of subprotocols and extensions is accepted', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: { protocols: ['a'], perMessageDeflate: true } }, echo) })
  const peer = await site.connect()
  const { statusCode, headers } = await peer.write(handshake('/ws', { 'Sec-WebSocket-Protocol': '', 'Sec-WebSocket-Extensions': '' })).answer()
  t.equal(statusCode, 101)
  t.notOk('sec-websocket-protocol' in headers)
  t.notOk('sec-websocket-extensions' in headers)
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

test('a handshake whose upgrade a proxy has dropped gets 426 where a route speaks WebSocket alone, a plain request 404', async t => {
  const seen: unknown[] = []
  const { site } = await serve(t, app => {
    app.addHook('onError', async (_request, _reply, error) => { seen.push(error.code) })
    app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') })
    app.get('/guarded', { websocket: true, onRequest: async (_request, reply) => await reply.code(401).send('no') }, echo)
    app.route({ method: 'GET', url: '/both', handler: async () => 'http', wsHandler: echo })
  })
  const peer = await site.connect()
  for (const changes of [{ Upgrade: undefined, Connection: 'keep-alive' }, { Connection: undefined }, { Upgrade: undefined, Connection: undefined }]) {
    const answer = await peer.write(handshake('/ws', changes)).answer()
    t.match(answer, { statusCode: 426, headers: { upgrade: 'websocket', connection: 'Upgrade' } })
    t.match(problem(answer), { code: 'FST_WS_UPGRADE_REQUIRED', error: 'Upgrade Required', message: /A proxy has dropped them/ })
  }
  t.match(await peer.write(handshake('/guarded', { Upgrade: undefined, Connection: undefined })).answer(), { statusCode: 401 }, 'hooks come first')
  t.match(await peer.write(handshake('/both', { Upgrade: undefined, Connection: undefined })).answer(), { statusCode: 200, body: 'http' })
  t.match(await peer.write(handshake('/nowhere', { Upgrade: undefined, Connection: undefined })).answer(), { statusCode: 404 })
  t.match(problem(await peer.write(request('/ws')).answer()), { statusCode: 404, message: 'Route GET:/ws not found' })
  t.match(await site.ask(handshake('/ws', { Upgrade: undefined, Connection: 'close' }, { version: '1.0' })), { statusCode: 426 }, 'by HTTP/1.0, as nginx sends it')
  t.strictSame(seen, Array(4).fill('FST_WS_UPGRADE_REQUIRED'))
})

test('what onSend makes the payload of a 101 is dropped', async t => {
  const { site } = await serve(t, app => {
    app.addHook('onSend', async (_request, reply) => {
      reply.type('text/plain')
      return 'payload'
    })
    app.get('/ws', { websocket: true }, echo)
  })
  const peer = await site.connect()
  const { statusCode, headers } = await peer.write(handshake(), text('Hello')).answer()
  t.equal(statusCode, 101)
  t.notOk('content-type' in headers)
  t.notOk('content-length' in headers)
  t.notOk('transfer-encoding' in headers)
  t.strictSame(await peer.contents(1), ['Hello'])
})

test('a 101 is logged as a completed request', async t => {
  const lines: Array<{ msg: string, level: number, res?: { statusCode: number } }> = []
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) },
    { server: { logger: { level: 'info', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } } })
  const peer = await site.open('/ws')
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
  t.strictSame(lines.filter(({ res }) => res !== undefined).map(({ msg, res }) => [msg, res!.statusCode]), [['request completed', 101]])
  t.equal(lines.every(({ level }) => level === 30), true, 'and nothing worse')
})

const hookRefusals: Array<[title: string, statusCode: number, body: string | RegExp, hook: (request: FastifyRequest, reply: FastifyReply, done: () => void) => unknown]> = [
  ['replies 401', 401, 'who are you?', async (_request, reply) => await reply.code(401).send('who are you?')],
  ['throws a 403', 403, /"message":"go away"/, async () => { throw Object.assign(new Error('go away'), { statusCode: 403 }) }],
  ['throws', 500, /"message":"oops"/, async () => { throw new Error('oops') }],
  ['redirects', 302, '', async (_request, reply) => await reply.redirect('/login')],
  ['replies with success', 200, 'fine', async (_request, reply) => await reply.send('fine')],
  ['calls the 404 handler', 404, /Route GET:\/ws not found/, (_request, reply, _done) => { reply.callNotFound() }]
]
for (const [title, statusCode, body, hook] of hookRefusals) {
  test(`a hook that ${title} refuses the handshake with ${statusCode}`, async t => {
    for (const name of ['onRequest', 'preValidation', 'preHandler'] as const) {
      const { site } = await serve(t, app => {
        app.get('/ws', { websocket: true, [name]: hook }, () => { t.fail('the handler ran') })
      })
      const peer = await site.connect()
      const answer = await peer.write(handshake()).answer()
      t.equal(answer.statusCode, statusCode, name)
      t.equal(answer.headers.connection, 'close', name)
      t.match(answer.body, body, name)
      t.equal(await peer.rest(), '', name)
    }
  })
}

test('a request that its schema refuses gets 400', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', {
      websocket: true,
      schema: { querystring: { type: 'object', properties: { room: { type: 'integer' } }, required: ['room'] } }
    }, (connection, { query }) => { connection.send(JSON.stringify(query)) })
  })
  const answer = await site.ask(handshake('/ws?room=kitchen'))
  t.match(answer, { statusCode: 400, headers: { connection: 'close' } })
  t.match(problem(answer), { code: 'FST_ERR_VALIDATION', message: 'querystring/room must be integer' })
  const peer = await site.open('/ws?room=7')
  t.strictSame(await peer.contents(1), ['{"room":7}'])
})

test('the error handler of the app shapes refusals', async t => {
  const seen: unknown[] = []
  const { site } = await serve(t, app => {
    app.setErrorHandler((error: Error & { code: string, statusCode: number }, request, reply) => {
      seen.push([error.code, error.statusCode, request.ws])
      return reply.code(error.statusCode).header('x-error', error.code).send({ problem: error.message })
    })
    app.get('/ws', { websocket: true }, echo)
  })
  const peer = await site.connect()
  const { statusCode, headers, body } = await peer.write(handshake('/ws', { 'Sec-WebSocket-Key': 'short' })).answer()
  t.equal(statusCode, 400)
  t.match(headers, { 'x-error': 'FST_WS_KEY', connection: 'close' })
  t.match(JSON.parse(body), { problem: 'the Sec-WebSocket-Key header field must appear once and hold 16 bytes in base64, it is "short"' })
  t.equal(await peer.rest(), '')
  t.strictSame(seen, [['FST_WS_KEY', 400, true]])
})

test('a refusal of a wrong version names the right one, whatever the error handler makes of it', async t => {
  // RFC 6455 §4.2.2: an abort for the version MUST have a Sec-WebSocket-Version field
  const { site } = await serve(t, app => {
    app.setErrorHandler((error: Error & { statusCode: number }, _request, reply) => reply.code(error.statusCode).send('no'))
    app.get('/ws', { websocket: true }, echo)
  })
  t.match(await site.ask(handshake('/ws', { 'Sec-WebSocket-Version': '8' })), {
    statusCode: 426, body: 'no', headers: { 'sec-websocket-version': '13', upgrade: 'websocket' }
  })
})

test('the error handler of a route shapes its refusals, and an onError hook sees them', async t => {
  const seen: unknown[] = []
  const { site } = await serve(t, app => {
    app.addHook('onError', async (_request, _reply, error) => { seen.push(error.code) })
    app.get('/ws', {
      websocket: true,
      errorHandler: (error, _request, reply) => { reply.code(418).send(error.code) }
    }, echo)
  })
  t.match(await site.ask(handshake('/ws', { 'Sec-WebSocket-Version': '12' })), { statusCode: 418, body: 'FST_WS_VERSION' })
  t.strictSame(seen, ['FST_WS_VERSION'])
})

test('handlerTimeout refuses with 503 during hooks and is over with the 101', async t => {
  const lines: string[] = []
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true, handlerTimeout: 50 }, echo)
    app.get('/hangs', { websocket: true, handlerTimeout: 50, preHandler: () => new Promise(() => {}) }, echo)
  }, { server: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } } })
  const peer = await site.open('/ws')
  const answer = await site.ask(handshake('/hangs'))
  t.match(answer, { statusCode: 503, headers: { connection: 'close' } })
  t.equal(problem(answer).code, 'FST_ERR_HANDLER_TIMEOUT')
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
  t.strictSame(lines.map(line => JSON.parse(line).err.code), ['FST_ERR_HANDLER_TIMEOUT'])
})

// What a handler gets

test('a handler gets the connection, the request, and the instance as this', async t => {
  const { site } = await serve(t, app => {
    app.decorate('name', 'outer')
    app.decorateRequest('user', '')
    app.addHook('onRequest', async request => { request.setDecorator('user', 'me') })
    app.register(async scope => {
      scope.decorate('secret', 'inner')
      scope.get<{ Params: { id: string }, Querystring: { q: string } }>('/rooms/:id', { websocket: true, config: { color: 'red' } as object }, function (connection, request) {
        const { params, query, ws, routeOptions, method, headers } = request
        connection.send(JSON.stringify([
          this.getDecorator('name'), this.getDecorator('secret'), params.id, query.q, ws, request.getDecorator('user'),
          (routeOptions.config as unknown as { color: string }).color, method, headers.upgrade
        ]))
      })
    }, { prefix: '/scope' })
  })
  const peer = await site.open('/scope/rooms/kitchen%20sink?q=a%26b')
  t.strictSame(JSON.parse(String((await peer.contents(1))[0])),
    ['outer', 'inner', 'kitchen sink', 'a&b', true, 'me', 'red', 'GET', 'websocket'])
})

test('request.ws tells a handshake from a request, in hooks too', async t => {
  const seen: unknown[] = []
  const { site } = await serve(t, app => {
    app.addHook('onRequest', async ({ url, ws }) => { seen.push([url, ws]) })
    app.route({ method: 'GET', url: '/both', handler: async ({ ws }) => ({ ws }), wsHandler: (connection, { ws }) => { connection.send(String(ws)) } })
  })
  t.equal((await site.ask(request('/both?http'))).body, '{"ws":false}')
  t.strictSame(await (await site.open('/both?ws')).contents(1), ['true'])
  await site.ask(handshake('/nowhere'))
  t.strictSame(seen, [['/both?http', false], ['/both?ws', true], ['/nowhere', true]])
})

test('what a hook stores in AsyncLocalStorage is there in the handler and in its listeners', async t => {
  const storage = new AsyncLocalStorage<string>()
  const { site } = await serve(t, app => {
    app.addHook('onRequest', ({ url }, _reply, done) => { storage.run(url, done) })
    app.get('/ws', { websocket: true, preHandler: async () => { await new Promise(resolve => { setImmediate(resolve) }) } }, connection => {
      connection.send(`handler ${storage.getStore()}`)
      connection.on('message', () => { connection.send(`message ${storage.getStore()}`) })
    })
  })
  const peers = [await site.open('/ws?1'), await site.open('/ws?2')]
  for (const [i, peer] of peers.entries()) {
    t.strictSame(await peer.write(text('')).contents(2), [`handler /ws?${i + 1}`, `message /ws?${i + 1}`])
  }
})

test('a handler may be async, and the connection stays open when its promise resolves', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, async connection => {
      await new Promise(resolve => { setImmediate(resolve) })
      connection.on('message', data => { connection.send(data.toString()) })
    })
  })
  const peer = await site.connect()
  await peer.write(handshake(), text('early')).answer()
  t.strictSame(await peer.contents(1), ['early'])
  t.strictSame(await peer.write(text('late')).contents(1), ['late'])
})

test('a message that comes after an async handler settled without a listener is discarded', async t => {
  const settled = deferred()
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, async connection => {
      connection.once('ping', () => { echo(connection) })
      await settled.promise
    })
  })
  const peer = await site.connect()
  await peer.write(handshake(), text('held')).answer()
  settled.resolve()
  peer.write(text('discarded'), Buffer.from('898000000000', 'hex'), text('heard'))
  t.strictSame(await peer.contents(2), ['', 'heard'], 'the Pong and then what came behind the Ping')
})

// HTTP beside it

test('a plain request to a WebSocket-only route gets the 404 of the instance', async t => {
  const { site } = await serve(t, app => {
    app.setNotFoundHandler(async (_request, reply) => await reply.code(404).send('nothing here'))
    app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') })
    app.route({ method: 'GET', url: '/ws-handler', websocket: true, handler: () => { t.fail('the handler ran') } })
  })
  for (const path of ['/ws', '/ws-handler']) {
    t.match(await site.ask(request(path)), { statusCode: 404, body: 'nothing here', headers: { connection: 'keep-alive' } })
    const peer = await site.connect()
    t.match(await peer.write(request(path, {}, { method: 'HEAD' })).answer({ head: true }), { statusCode: 404 })
  }
})

test('one URL can serve HTTP and WebSocket', async t => {
  const { site } = await serve(t, app => {
    app.route({
      method: 'GET',
      url: '/both',
      handler: async function () { return { instance: this === app } },
      wsHandler: function (connection) { connection.send(String(this === app)) }
    })
  })
  t.match(await site.ask(request('/both')), { statusCode: 200, body: '{"instance":true}' })
  const head = await site.connect()
  t.match(await head.write(request('/both', {}, { method: 'HEAD' })).answer({ head: true }), { statusCode: 200, headers: { 'content-length': '17' } })
  t.strictSame(await (await site.open('/both')).contents(1), ['true'])
  t.match(await site.ask(handshake('/both', { 'Sec-WebSocket-Version': '8' })), { statusCode: 426 }, 'a handshake is never served as HTTP')
})

test('a handshake by HEAD finds nothing, also where HTTP is served', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') })
    app.route({ method: 'GET', url: '/both', handler: async () => 'http', wsHandler: () => { t.fail('the handler ran') } })
  })
  for (const path of ['/ws', '/both']) {
    const peer = await site.connect()
    t.match(await peer.write(handshake(path, {}, { method: 'HEAD' })).answer({ head: true }), { statusCode: 404, headers: { connection: 'close' } })
  }
})

test('an unknown path and a route of HTTP alone give the 404 of the instance', async t => {
  const ran: string[] = []
  const { site } = await serve(t, app => {
    app.setNotFoundHandler({
      preHandler: async (request: FastifyRequest) => { ran.push(`preHandler ${request.url}`) }
    }, async (request, reply) => await reply.code(404).send(`outer: no ${request.url}`))
    app.get('/http', async () => { ran.push('handler') })
    app.post('/http', async () => { ran.push('handler') })
    app.register(async scope => {
      scope.setNotFoundHandler(async (request, reply) => await reply.code(404).send(`inner: no ${request.url}`))
      scope.get('/http', async () => { ran.push('handler') })
      scope.get('/*', async () => { ran.push('handler') })
    }, { prefix: '/scope' })
  })
  for (const [bytes, body] of [
    [handshake('/nowhere'), 'outer: no /nowhere'],
    [handshake('/http'), 'outer: no /http'],
    [handshake('/http', {}, { method: 'POST' }), 'outer: no /http'],
    [handshake('/scope/http'), 'inner: no /scope/http'],
    [handshake('/scope/any/thing'), 'inner: no /scope/any/thing']
  ] as const) {
    t.match(await site.ask(bytes), { statusCode: 404, body, headers: { connection: 'close' } })
  }
  t.strictSame(ran, ['preHandler /nowhere', 'preHandler /http', 'preHandler /http'])
})

// Routing

test('rewriteUrl comes before the search for a route', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, (connection, { url }) => { connection.send(url) }) },
    { server: { rewriteUrl: request => request.url!.replace('/old', '/ws') } })
  t.strictSame(await (await site.open('/old?a=1')).contents(1), ['/ws?a=1'])
})

test('a rewriteUrl that returns no string drops the handshake and nothing more', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) },
    { server: { rewriteUrl: request => request.url === '/bad' ? 5 as never : request.url! } })
  const peer = await site.connect()
  t.equal(await peer.write(handshake('/bad')).rest(), '')
  await within(2000, site.emptied(), 'no connection is left')
  t.strictSame(await (await site.open('/ws')).write(text('Hello')).contents(1), ['Hello'])
})

test('a rewriteUrl that throws leaves a handshake to its timeout', async t => {
  const thrown = deferred<Error>()
  process.setUncaughtExceptionCaptureCallback(thrown.resolve)
  t.teardown(() => { process.setUncaughtExceptionCaptureCallback(null) })
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) },
    { server: { rewriteUrl () { throw new Error('of the app') } }, plugin: { handshakeTimeout: 50 } })
  const peer = await site.connect()
  const answer = await within(5000, peer.write(handshake()).answer(), 'an answer')
  t.match(problem(answer), { statusCode: 503, code: 'FST_WS_HANDSHAKE_TIMEOUT' })
  t.equal((await thrown.promise).message, 'of the app')
})

test('a route has its prefix, with and without a slash', async t => {
  const { site } = await serve(t, app => {
    app.register(async scope => { scope.get('/', { websocket: true }, (connection, { url }) => { connection.send(url) }) }, { prefix: '/rooms' })
  })
  t.strictSame(await (await site.open('/rooms')).contents(1), ['/rooms'])
  t.strictSame(await (await site.open('/rooms/')).contents(1), ['/rooms/'])
})

test('routes on one URL are told apart by their constraints', async t => {
  const { site } = await serve(t, app => {
    for (const name of ['a', 'b']) {
      app.get('/ws', { websocket: true, constraints: { host: `${name}.example.com` } }, connection => { connection.send(`host ${name}`) })
    }
    app.get('/ws', { websocket: true, constraints: { version: '2.0.0' } }, connection => { connection.send('version 2') })
  })
  t.strictSame(await (await site.open('/ws', { Host: 'a.example.com' })).contents(1), ['host a'])
  t.strictSame(await (await site.open('/ws', { Host: 'b.example.com' })).contents(1), ['host b'])
  t.strictSame(await (await site.open('/ws', { 'Accept-Version': '2.x' })).contents(1), ['version 2'])
  t.equal((await site.ask(handshake('/ws', { Host: 'c.example.com' }))).statusCode, 404)
})

test('ignoreTrailingSlash and caseSensitive hold for handshakes', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, (connection, { url }) => { connection.send(url) }) },
    { server: { routerOptions: { ignoreTrailingSlash: true, caseSensitive: false } } })
  for (const path of ['/ws', '/ws/', '/WS', '/Ws/']) t.strictSame(await (await site.open(path)).contents(1), [path])
})

// Declaring

const declarationErrors: Array<[title: string, declare: (app: FastifyInstance) => unknown, message: string | RegExp]> = [
  ['a POST route', app => app.post('/ws', { websocket: true }, echo), 'websocket handler can only be declared in GET method'],
  ['a route of several methods', app => app.route({ method: ['GET', 'POST'], url: '/ws', websocket: true, handler: echo as never }), 'websocket handler can only be declared in GET method'],
  ['a wsHandler on a POST route', app => app.route({ method: 'POST', url: '/ws', handler: async () => '', wsHandler: echo }), 'websocket handler can only be declared in GET method'],
  ['a wsHandler that is no function', app => app.route({ method: 'GET', url: '/ws', handler: async () => '', wsHandler: 'echo' as never }), 'invalid wsHandler function'],
  ['an unknown option', app => app.get('/ws', { websocket: { maxPayLoad: 5 } as WebSocketRouteOptions }, echo), /^unknown WebSocket option maxPayLoad: there are maxPayload, /],
  ['an option of a wrong type', app => app.get('/ws', { websocket: { maxPayload: '5' as never } }, echo), 'the WebSocket option maxPayload must be an integer from 0 to 9007199254740991, not "5"'],
  ['an option out of range', app => app.get('/ws', { websocket: { closeTimeout: 0 } }, echo), 'the WebSocket option closeTimeout must be an integer from 1 to 2147483647, not 0'],
  ['an option of the plugin alone', app => app.get('/ws', { websocket: { shutdownTimeout: 5 } as WebSocketRouteOptions }, echo), /^unknown WebSocket option shutdownTimeout/],
  ['options that are no object', app => app.get('/ws', { websocket: 'yes' as never }, echo), /websocket/i],
  ['options that are a list', app => app.get('/ws', { websocket: ['maxPayload'] as never }, echo), /websocket/i]
]
for (const [title, declare, message] of declarationErrors) {
  test(`${title} cannot be declared as a WebSocket route`, async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(websocket)
    t.throws(() => { declare(app) }, { message })
  })
}

test('a route that is declared in a plugin with a wrong option fails the start', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(websocket)
  app.register(async scope => { scope.get('/ws', { websocket: { maxPayload: -1 } }, echo) })
  await t.rejects(async () => { await app.ready() }, { message: 'the WebSocket option maxPayload must be an integer from 0 to 9007199254740991, not -1' })
})

test('websocket: false declares a route of HTTP', async t => {
  const { site } = await serve(t, app => { app.get('/http', { websocket: false }, async () => 'http') })
  t.match(await site.ask(request('/http')), { statusCode: 200, body: 'http' })
  t.match(await site.ask(handshake('/http')), { statusCode: 404 })
})

test('a wsHandler can be given beside options', async t => {
  const { site } = await serve(t, app => {
    app.route({ method: 'GET', url: '/both', websocket: { maxPayload: 5 }, handler: async () => 'http', wsHandler: echo })
  })
  t.match(await site.ask(request('/both')), { statusCode: 200, body: 'http' })
  t.strictSame(await (await site.open('/both')).write(text('12345'), text('123456')).contents(2), ['12345', 1009])
})

// Options: of the route over those of the scope

test('scopes side by side on one server have their own options', async t => {
  const app = Fastify()
  for (const [prefix, maxPayload] of [['/small', 5], ['/large', 10]] as const) {
    app.register(async scope => {
      await scope.register(websocket, { maxPayload })
      scope.get('/ws', { websocket: true }, echo)
      scope.get('/own', { websocket: { maxPayload: 7 } }, echo)
    }, { prefix })
  }
  const site = await listen(t, app)
  for (const [path, limit] of [['/small/ws', 5], ['/large/ws', 10], ['/small/own', 7], ['/large/own', 7]] as const) {
    const peer = await site.open(path)
    t.strictSame(await peer.write(text('x'.repeat(limit)), text('x'.repeat(limit + 1))).contents(2), ['x'.repeat(limit), 1009], path)
  }
})

test('a scope that registers the plugin again sets the options of its routes, and not of others', async t => {
  const app = Fastify()
  await app.register(websocket, { maxPayload: 5, protocols: ['outer'] })
  app.get('/ws', { websocket: true }, echo)
  app.register(async scope => {
    await scope.register(websocket, { maxPayload: 10 })
    scope.get('/ws', { websocket: true }, echo)
    scope.get('/own', { websocket: { maxPayload: 7 } }, echo)
    scope.register(async nested => { nested.get('/ws', { websocket: true }, echo) }, { prefix: '/nested' })
  }, { prefix: '/scope' })
  app.register(async scope => { scope.get('/ws', { websocket: true }, echo) }, { prefix: '/child' })
  const site = await listen(t, app)
  for (const [path, limit] of [['/ws', 5], ['/scope/ws', 10], ['/scope/own', 7], ['/scope/nested/ws', 10], ['/child/ws', 5]] as const) {
    const peer = await site.open(path)
    t.strictSame(await peer.write(text('x'.repeat(limit)), text('x'.repeat(limit + 1))).contents(2), ['x'.repeat(limit), 1009], path)
  }
})

// Subprotocols: RFC 6455 §1.9

const subprotocols: Array<[title: string, options: WebSocketRouteOptions, offered: string | string[] | undefined, chosen: string | undefined]> = [
  ['the first offered is chosen', {}, 'chat, superchat', 'chat'],
  ['the first of several fields is chosen', {}, ['chat', 'superchat'], 'chat'],
  ['none is chosen where none is offered', {}, undefined, undefined],
  ['the first of protocols that is offered is chosen', { protocols: ['v2', 'superchat', 'chat'] }, 'chat, superchat', 'superchat'],
  ['none is chosen when none of protocols is offered', { protocols: ['v2'] }, 'chat, superchat', undefined],
  ['names are compared with their case', { protocols: ['CHAT'] }, 'chat', undefined],
  ['handleProtocols chooses', { handleProtocols: protocols => [...protocols].at(-1)! }, 'chat, superchat', 'superchat'],
  ['handleProtocols comes before protocols', { handleProtocols: () => 'chat', protocols: ['superchat'] }, 'chat, superchat', 'chat'],
  ['false of handleProtocols is none', { handleProtocols: () => false }, 'chat', undefined],
  ['handleProtocols is not asked when none is offered', { handleProtocols: () => { throw new Error('asked') } }, undefined, undefined]
]
for (const [title, options, offered, chosen] of subprotocols) {
  test(`of subprotocols ${title}`, async t => {
    const { site } = await serve(t, app => {
      app.get('/ws', { websocket: options }, connection => { connection.send(connection.protocol) })
    })
    const peer = await site.connect()
    const { statusCode, headers } = await peer.write(handshake('/ws', { 'Sec-WebSocket-Protocol': offered })).answer()
    t.equal(statusCode, 101)
    t.equal(headers['sec-websocket-protocol'], chosen)
    t.strictSame(await peer.contents(1), [chosen ?? ''])
  })
}

test('handleProtocols gets the offers and the request, and the options as this, as in ws', async t => {
  const calls: unknown[] = []
  const { site } = await serve(t, app => { app.get('/ws', { websocket: { maxPayload: 7 } }, echo) }, {
    plugin: {
      handleProtocols (this: WebSocketRouteOptions, protocols, request) {
        calls.push([protocols, request.url, request.headers['sec-websocket-protocol'], this.maxPayload])
        return 'b'
      }
    }
  })
  await site.open('/ws?x', { 'Sec-WebSocket-Protocol': 'a, b' })
  t.strictSame(calls, [[new Set(['a', 'b']), '/ws?x', 'a, b', 7]])
})

test('a handleProtocols that is wrong refuses the handshake with 500', async t => {
  const { site } = await serve(t, app => {
    app.get('/unoffered', { websocket: { handleProtocols: () => 'other' } }, () => { t.fail('the handler ran') })
    app.get('/true', { websocket: { handleProtocols: () => true as never } }, () => { t.fail('the handler ran') })
    app.get('/promise', { websocket: { handleProtocols: async () => 'chat' } as never }, () => { t.fail('the handler ran') })
    app.get('/throws', { websocket: { handleProtocols: () => { throw new Error('oops') } } }, () => { t.fail('the handler ran') })
  })
  for (const [path, code] of [['/unoffered', 'FST_WS_HANDLE_PROTOCOLS'], ['/true', 'FST_WS_HANDLE_PROTOCOLS'], ['/promise', 'FST_WS_HANDLE_PROTOCOLS'], ['/throws', undefined]] as const) {
    const answer = await site.ask(handshake(path, { 'Sec-WebSocket-Protocol': 'chat' }))
    t.match(answer, { statusCode: 500, headers: { connection: 'close' } })
    t.equal(problem(answer).code, code)
  }
})

// Errors of a handler

interface Failure {
  error: unknown
  instance: FastifyInstance
  connection: WebSocketConnection
  request: FastifyRequest
  reply: FastifyReply
}

const failures: Array<[title: string, handler: (connection: WebSocketConnection) => ReturnType<WebSocketHandler>]> = [
  ['throws', () => { throw new Error('oops') }],
  ['rejects', async () => { throw new Error('oops') }],
  ['rejects later', async connection => {
    await once(connection, 'message')
    throw new Error('oops')
  }],
  ['has a listener that throws', connection => { connection.on('message', () => { throw new Error('oops') }) }]
]
for (const [title, handler] of failures) {
  test(`a handler that ${title} is logged and closed with 1011`, async t => {
    const lines: Array<{ msg: string, level: number, reqId?: string, err?: { message: string } }> = []
    const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, handler) },
      { server: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } } })
    const peer = await site.connect()
    t.equal((await peer.write(handshake(), text('Hello')).answer()).statusCode, 101)
    t.strictSame(await peer.contents(1), [1011])
    await peer.write(close(1011)).closed
    t.match(lines, [{ level: 50, reqId: /./, err: { message: 'oops' }, msg: 'a WebSocket handler or listener failed' }])
    t.equal(lines.length, 1)
  })

  test(`a handler that ${title} gets its errorHandler, which decides`, async t => {
    const failed: Failure[] = []
    let connection: WebSocketConnection
    const { app, site } = await serve(t, app => {
      app.get('/ws', { websocket: true }, (_connection, request) => {
        connection = _connection
        return handler(connection)
      })
    }, {
      plugin: {
        errorHandler (error, connection, request, reply) {
          failed.push({ error, instance: this, connection, request, reply })
          connection.close(4000, 'so what')
        }
      }
    })
    const peer = await site.connect()
    await peer.write(handshake('/ws?a=1'), text('Hello')).answer()
    t.strictSame(await peer.contents(1), [4000])
    t.equal(failed.length, 1)
    t.match(failed[0]!.error, { message: 'oops' })
    t.equal(failed[0]!.instance, app)
    t.equal(failed[0]!.connection, connection!)
    t.equal(failed[0]!.request.url, '/ws?a=1')
    t.equal(failed[0]!.reply.statusCode, 101)
  })
}

test('the errorHandler of a route comes before that of the plugin', async t => {
  const { site } = await serve(t, app => {
    app.get('/own', { websocket: { errorHandler: (_error, connection) => { connection.close(4001) } } }, () => { throw new Error('oops') })
    app.get('/ws', { websocket: true }, () => { throw new Error('oops') })
  }, { plugin: { errorHandler: async (_error, connection) => { connection.close(4000) } } })
  t.strictSame(await (await site.open('/own')).contents(1), [4001])
  t.strictSame(await (await site.open('/ws')).contents(1), [4000])
})

test('an errorHandler that fails itself is logged and the connection closed with 1011', async t => {
  const lines: Array<{ err: { message: string } }> = []
  const { site } = await serve(t, app => {
    app.get('/throws', { websocket: { errorHandler: () => { throw new Error('worse') } } }, () => { throw new Error('oops') })
    app.get('/rejects', { websocket: { errorHandler: async () => { throw new Error('worse') } } }, () => { throw new Error('oops') })
  }, { server: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } } })
  for (const path of ['/throws', '/rejects']) t.strictSame(await (await site.open(path)).contents(1), [1011], path)
  t.strictSame(lines.map(({ err }) => err.message), ['worse', 'worse'])
})

test('an error that cannot even be logged closes the connection with 1011', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, (_connection, { log }) => {
      log.error = () => { throw new Error('the disk is full') }
      throw new Error('oops')
    })
  }, { server: { logger: { level: 'fatal', stream: { write: () => {} } } } })
  t.strictSame(await (await site.open('/ws')).contents(1), [1011])
})

test('an errorHandler that does nothing leaves the connection open', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: { errorHandler: () => {} } }, connection => {
      echo(connection)
      throw new Error('oops')
    })
  })
  t.strictSame(await (await site.open('/ws')).write(text('Hello')).contents(1), ['Hello'])
})

test('a handshake on a route of HTTP alone gets its 404 behind the onRequest hooks of the app, and so does one by HEAD', async t => {
  const calls: string[] = []
  const { site } = await serve(t, app => {
    app.addHook('onRequest', async request => { Object.assign(request, { user: 'Ada' }) })
    app.addHook('preHandler', async request => { calls.push((request as unknown as { user: string }).user) })
    app.get('/http', { onRequest: async () => { calls.push('of the route') } }, async () => 'http')
  })
  t.match(problem(await site.ask(handshake('/http'))), { statusCode: 404, message: 'Route GET:/http not found' })
  t.strictSame(calls, ['of the route', 'Ada'])
  t.equal((await site.ask(request('/http'))).body, 'http')
})

test('the method of a WebSocket route may be a list, and what is null is not there', async t => {
  const { site } = await serve(t, app => {
    app.route({ method: ['GET'], url: '/list', websocket: true, handler: echo as never })
    app.route({ method: ['GET', 'HEAD'], url: '/both', websocket: true, handler: echo as never })
    app.route({ method: 'GET', url: '/null', websocket: null as never, wsHandler: null as never, handler: async () => 'http' })
    t.throws(() => app.route({ method: ['GET', 'POST'], url: '/post', websocket: true, handler: echo as never }), { message: 'websocket handler can only be declared in GET method' })
  })
  for (const path of ['/list', '/both']) {
    const peer = await site.open(path)
    t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
  }
  t.equal((await site.ask(request('/null'))).body, 'http')
})

// Somebody is at work on a refusal: an error handler that takes its time

const lateVerdicts: Array<[title: string, verdict: () => Promise<boolean>]> = [
  ['lets the client in', async () => true],
  ['refuses it', async () => false],
  ['fails', async () => { throw new Error('late') }]
]
for (const [title, verdict] of lateVerdicts) {
  test(`an origin function that ${title} while a refusal is being written comes too late`, async t => {
    const [asked, goOn, refusing, written] = [deferred(), deferred(), deferred(), deferred()]
    const errors: string[] = []
    const { app, site } = await serve(t, app => {
      app.setErrorHandler(async (error: FastifyError, _request, reply) => {
        errors.push(error.code)
        refusing.resolve()
        await written.promise
        return await reply.code(503).send('in my own words')
      })
      app.get('/ws', {
        websocket: {
          origin: async () => {
            asked.resolve()
            await goOn.promise
            return await verdict()
          }
        }
      }, () => { t.fail('the handler ran') })
    }, { plugin: { handshakeTimeout: 50 } })
    const peer = await site.connect()
    peer.write(handshake('/ws', { Origin: 'http://a.example' }))
    await asked.promise
    await refusing.promise
    goOn.resolve()
    await new Promise(resolve => { setImmediate(resolve) })
    written.resolve()
    t.match(await peer.answer(), { statusCode: 503, body: 'in my own words' })
    t.equal(await peer.rest(), '')
    t.strictSame(errors, ['FST_WS_HANDSHAKE_TIMEOUT'])
    t.equal(app.websocketServer.stats().opened, 0)
  })
}

test('a hook that goes on while a refusal is being written does not bring the handshake any further', async t => {
  const [goOn, refusing, written] = [deferred(), deferred(), deferred()]
  const errors: string[] = []
  const { site } = await serve(t, app => {
    app.setErrorHandler(async (error: FastifyError, _request, reply) => {
      errors.push(error.code)
      refusing.resolve()
      await written.promise
      return await reply.code(503).send('in my own words')
    })
    app.get('/ws', {
      preHandler: () => goOn.promise,
      websocket: {
        origin: () => {
          t.fail('it was asked')
          return true
        }
      }
    }, () => { t.fail('the handler ran') })
  }, { plugin: { handshakeTimeout: 50 } })
  const peer = await site.connect()
  peer.write(handshake('/ws', { Origin: 'http://a.example' }))
  await refusing.promise
  goOn.resolve()
  await new Promise(resolve => { setImmediate(resolve) })
  written.resolve()
  t.match(await peer.answer(), { statusCode: 503, body: 'in my own words' })
  t.strictSame(errors, ['FST_WS_HANDSHAKE_TIMEOUT'])
})
