import { once, type EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { test } from 'tap'
import WebSocket from 'ws'
import type { WebSocketConnection } from '../../types/connection.ts'
import { startApp } from '../helpers/app.ts'
import { close, deferred, echo, handshake, problem, request, serve, text, within } from '../helpers/http.ts'

test('a connection is among clients from before the handler until its close event', async t => {
  const calls: unknown[] = []
  const over = deferred()
  const { app, site } = await serve(t, app => {
    const { websocketServer } = app
    app.get('/ws', { websocket: true }, connection => {
      calls.push(['handler', websocketServer.clients.has(connection)])
      connection.on('close', code => {
        calls.push(['close', code, websocketServer.clients.has(connection)])
        over.resolve()
      })
    })
    websocketServer.on('connection', connection => { calls.push(['connection', websocketServer.clients.has(connection)]) })
  })
  const { clients } = app.websocketServer
  t.equal(clients.size, 0)
  const peer = await site.open('/ws')
  t.equal(clients.size, 1)
  await peer.write(close(1000)).contents(1)
  await over.promise
  t.strictSame(calls, [['connection', true], ['handler', true], ['close', 1000, false]])
  t.equal(clients.size, 0)
})

test('connection is emitted with the connection and the request of node:http', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection, IncomingMessage]>
  await site.open('/ws?a=1')
  const [connection, request] = await connected
  t.equal(connection.readyState, connection.OPEN)
  t.equal(request.url, '/ws?a=1')
  t.equal(request.headers.upgrade, 'websocket')
})

test('clients reach everyone', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, connection => {
      connection.on('message', data => {
        for (const client of app.websocketServer.clients) client.send(`all: ${data}`)
      })
    })
  })
  const peers = [await site.open('/ws'), await site.open('/ws'), await site.open('/ws')]
  peers[1]!.write(text('Hello'))
  for (const peer of peers) t.strictSame(await peer.contents(1), ['all: Hello'])
})

test('a connection that is dropped is removed from clients', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  for (const how of ['reset', 'end'] as const) {
    const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const peer = await site.open('/ws')
    const [connection] = await connected
    const closed = once(connection, 'close')
    peer[how]()
    t.strictSame((await closed)[0], 1006, how)
    t.equal(app.websocketServer.clients.size, 0, how)
  }
  await within(2000, site.emptied(), 'no connection is left')
})

test('what is refused is never among clients', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  app.websocketServer.on('connection', () => { t.fail('a connection') })
  await site.ask(handshake('/ws', { 'Sec-WebSocket-Version': '8' }))
  await site.ask(handshake('/nowhere'))
  t.equal(app.websocketServer.clients.size, 0)
})

test('a connection listener that throws has the fate of a handler that throws', async t => {
  const lines: Array<{ err: { message: string } }> = []
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') }) },
    { server: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } } })
  app.websocketServer.on('connection', () => { throw new Error('oops') })
  const peer = await site.open('/ws')
  t.strictSame(await peer.contents(1), [1011])
  await peer.write(close(1011)).closed
  await within(2000, site.emptied(), 'no connection is left')
  t.strictSame(lines.map(({ err }) => err.message), ['oops'])
  t.equal(app.websocketServer.clients.size, 0)
})

test('a connection listener may close the connection', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, connection => { connection.send('too late') }) })
  app.websocketServer.on('connection', connection => { connection.close(4000) })
  const peer = await site.open('/ws')
  t.strictSame(await peer.contents(1), [4000])
  await peer.write(close(4000)).closed
  t.equal(peer.received.length, 0)
})

test('an async connection listener that rejects has the fate of a handler that rejects', async t => {
  const errors: unknown[] = []
  const { app, url } = await startApp(t, { errorHandler (error, connection) { errors.push(error); connection.close(1011) } }, app => {
    app.get('/', { websocket: true }, () => {})
  })
  app.websocketServer.on('connection', (async () => { throw new Error('of the listener') }) as () => void)
  const client = new WebSocket(url)
  t.strictSame((await once(client, 'close'))[0], 1011)
  t.match(errors, [{ message: 'of the listener' }])
  const emitter: EventEmitter = app.websocketServer
  emitter.on('other', async () => { throw new Error('of nobody') })
  emitter.emit('other')
})

test('lines that a headers listener adds to the head of a 101 go out with it, and those of the handshake stay', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const seen: unknown[] = []
  app.websocketServer.on('headers', (headers, request) => {
    seen.push([...headers], request.url)
    headers.push('X-Added: a: b', 'Set-Cookie: a=1', 'Set-Cookie: b=2')
    headers[3] = 'Sec-WebSocket-Accept: wrong'
    headers.push('Sec-WebSocket-Protocol: none', 'sec-websocket-extensions: permessage-deflate', 'SEC-WEBSOCKET-VERSION: 8', 'Connection: close')
  })
  const peer = await site.connect()
  const { headers } = await peer.write(handshake()).answer()
  t.strictSame(seen, [[
    'HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo='
  ], '/ws'])
  t.match(headers, { 'x-added': 'a: b', 'set-cookie': 'a=1, b=2', 'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', connection: 'Upgrade' })
  for (const name of ['protocol', 'extensions', 'version']) t.notOk(`sec-websocket-${name}` in headers, `${name} is the handshake's to agree on`)
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

test('a headers listener that throws, or adds what is no header field, refuses the handshake with 500', async t => {
  for (const listener of [() => { throw new Error('oops') }, (lines: string[]) => { lines.push('no field') }, (lines: string[]) => { lines.push('a: b\r\nc: d') }]) {
    const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') }) })
    app.websocketServer.on('headers', listener)
    t.equal((await site.ask(handshake())).statusCode, 500)
  }
})

test('options can be changed while it runs, where a route has none of its own', async t => {
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/own', { websocket: { protocols: ['own'] } }, echo)
  })
  const { options } = app.websocketServer
  t.equal(options.maxPayload, 1_048_576)
  const protocolOf = async (path: string): Promise<string | undefined> => {
    const peer = await site.connect()
    const { headers } = await peer.write(handshake(path, { 'Sec-WebSocket-Protocol': 'a, b, own' })).answer()
    peer.reset()
    return headers['sec-websocket-protocol']
  }
  t.equal(await protocolOf('/ws'), 'a')
  options.handleProtocols = protocols => protocols.has('b') && 'b'
  t.equal(await protocolOf('/ws'), 'b')
  options.handleProtocols = () => false
  t.equal(await protocolOf('/ws'), undefined)
  delete options.handleProtocols
  t.equal(await protocolOf('/own'), 'own')
})

test('close() takes no more connections and calls back when the last has ended, once', async t => {
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/', async () => 'http')
  })
  const peer = await site.open('/ws')
  const calls: unknown[] = []
  const closed = once(app.websocketServer, 'close')
  app.websocketServer.close(error => { calls.push(error) })
  app.websocketServer.close(error => { calls.push(error?.message) })
  app.websocketServer.close()
  t.match(problem(await site.ask(handshake('/ws'))), { statusCode: 503, code: 'FST_WS_CLOSING' })
  t.equal((await site.ask(request('/'))).statusCode, 200, 'HTTP goes on')
  t.strictSame(await peer.write(text('still there')).contents(1), ['still there'])
  t.strictSame(calls, ['the WebSocket server is closed or closing'])
  peer.write(close(1000))
  await closed
  t.strictSame(calls, ['the WebSocket server is closed or closing', undefined])
})

test('close() without connections calls back in a later turn', async t => {
  const { app } = await serve(t, () => {})
  let isCalled = false
  const called = new Promise<void>(resolve => {
    app.websocketServer.close(() => {
      isCalled = true
      resolve()
    })
  })
  t.equal(isCalled, false)
  await called
})

test('stats() count what went through each connection, and through all of them', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const { websocketServer } = app
  const none = { open: 0, opened: 0, messagesReceived: 0, messagesSent: 0, bytesReceived: 0, bytesSent: 0, refused: 0, closes: {} }
  t.strictSame(websocketServer.stats(), none)
  const connected = once(websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await site.open('/ws')
  const [connection] = await connected
  await peer.write(text('Hello'), text('World!')).contents(2)
  await within(1000, connection.drained(), 'what was sent is out')
  const { duration, ...counts } = connection.stats()
  t.strictSame(counts, { messagesReceived: 2, messagesSent: 2, bytesReceived: 11 + 12, bytesSent: 7 + 8 })
  t.ok(duration > 0 && duration < 60_000)
  t.strictSame(websocketServer.stats(), { ...none, open: 1, opened: 1, ...counts })
  await peer.write(close(1000)).contents(1)
  await connection.closed
  const after = connection.stats()
  t.strictSame(websocketServer.stats(), { ...none, opened: 1, messagesReceived: 2, messagesSent: 2, bytesReceived: 23 + 8, bytesSent: 15 + 4, closes: { 1000: 1 } })
  t.equal(connection.stats().duration, after.duration, 'which stands still now')
  await site.open('/ws')
  t.match(websocketServer.stats(), { open: 1, opened: 2, messagesReceived: 2 })
})

test('stats() count refusals, and ends by close code, of each route too', async t => {
  const { app, site } = await serve(t, app => {
    app.get('/room/:id', { websocket: true }, echo)
    app.get('/refused', { websocket: true, preHandler: (_request, reply) => { reply.code(401).send() } }, () => { t.fail('the handler ran') })
    app.get('/http', async () => 'page')
  })
  const { websocketServer } = app
  for (const [i, code] of [1000, 4001, 4001].entries()) {
    const connected = once(websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const peer = await site.open(`/room/${i}`)
    const [connection] = await connected
    peer.write(text('a'), close(code))
    await connection.closed
  }
  const connected = once(websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await site.open('/room/9')
  peer.reset()
  await (await connected)[0].closed
  await site.open('/room/9')
  t.equal((await site.ask(handshake('/refused'))).statusCode, 401)
  t.equal((await site.ask(handshake('/room/1', { 'Sec-WebSocket-Version': '8' }))).statusCode, 426)
  t.equal((await site.ask(handshake('/nowhere'))).statusCode, 404)
  t.equal((await site.ask(handshake('/http'))).statusCode, 404)
  t.equal((await site.ask(request('/http'))).statusCode, 200)
  const { routes, ...sum } = websocketServer.stats({ routes: true })
  t.strictSame(sum, websocketServer.stats())
  t.match(sum, { open: 1, opened: 5, refused: 4, messagesReceived: 3, messagesSent: 3 })
  t.strictSame(sum.closes, { 1000: 1, 1006: 1, 4001: 2 })
  t.match(routes['/room/:id'], { open: 1, opened: 5, refused: 1, messagesReceived: 3, closes: sum.closes })
  t.match(routes['/refused'], { open: 0, opened: 0, refused: 1, closes: {} })
  t.match(routes[''], { opened: 0, refused: 2 }, 'where there is no such route')
})

test('what a client leaves unanswered is no refusal, and one of a closing server counts too', async t => {
  const inHook = deferred()
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/slow', { websocket: true, preHandler: async request => { inHook.resolve(); await once(request.raw.socket, 'close') } }, echo)
  })
  const leaving = (await site.connect()).write(handshake('/slow'))
  await inHook.promise
  leaving.reset()
  await leaving.closed
  const peer = await site.open('/ws')
  const drained = app.websocketServer.drain({ spread: 0 })
  t.strictSame(await peer.contents(1), [1012])
  await site.ask(handshake('/ws'))
  await peer.write(close(1012)).closed
  await drained
  t.match(app.websocketServer.stats({ routes: true }), { open: 0, opened: 1, refused: 1, closes: { 1012: 1 }, routes: { '': { refused: 1 } } })
})

test('inspect() tells of the connections in which most waits, and what their reading waits for', async t => {
  const { app, site } = await serve(t, app => {
    app.get('/paused', { websocket: true }, connection => { connection.pause() })
    app.get('/held', { websocket: { highWaterMark: 1000 } }, async connection => {
      await connection.subscribe('a')
      await connection.subscribe('b')
      await new Promise(() => {})
    })
    app.get('/unsent', { websocket: { highWaterMark: 1000 } }, connection => { connection.send(Buffer.alloc(20_000_000)) })
    app.get('/idle', { websocket: true }, echo)
  })
  t.strictSame(app.websocketServer.inspect(), [])
  const paused = await site.open('/paused')
  paused.write(text('x'.repeat(200)))
  const held = await site.open('/held')
  held.write(...Array.from({ length: 20 }, () => text('x'.repeat(100))))
  ;(await site.connect({ deaf: true })).write(handshake('/unsent'))
  await site.open('/idle')
  const { clients } = app.websocketServer
  const received = (route: string): number => app.websocketServer.stats({ routes: true }).routes[route]?.bytesReceived ?? 0
  while (clients.size < 4 || received('/held') < 2120 || received('/paused') < 208) await new Promise(resolve => { setImmediate(resolve) })
  const loads = app.websocketServer.inspect()
  t.strictSame(loads.map(({ info: { route }, waiting }) => [route, waiting]), [['/unsent', null], ['/held', 'consumer'], ['/paused', null]])
  t.ok(loads[0]!.unsent > 1_000_000)
  t.equal(loads[0]!.held, 0)
  t.strictSame(loads.map(({ topics }) => topics), [0, 2, 0])
  t.ok(loads[1]!.held >= 1000 && loads[1]!.held < 3000, String(loads[1]!.held))
  t.ok(loads[2]!.held >= 200)
  t.strictSame(app.websocketServer.inspect({ top: 1 }).map(({ info: { route } }) => route), ['/unsent'])
  for (const top of [0, 1.5, -1, '3', NaN, 10_001]) t.throws(() => app.websocketServer.inspect({ top: top as number }), TypeError)
  for (const connection of clients) connection.terminate()
})

test('a handshake that is in its last hook at close() is said goodbye to, and close comes once', async t => {
  const inHook = deferred()
  const goOn = deferred()
  const { app, site } = await serve(t, app => {
    app.get('/ws', {
      websocket: true,
      onSend: async () => {
        inHook.resolve()
        await goOn.promise
      }
    }, echo)
  })
  const peer = await site.connect()
  peer.write(handshake())
  await inHook.promise
  let closed = 0
  app.websocketServer.on('close', () => { closed++ })
  await new Promise<void>(resolve => { app.websocketServer.close(() => { resolve() }) })
  goOn.resolve()
  t.equal((await peer.answer()).statusCode, 101)
  t.strictSame(await peer.contents(1), [1001])
  await peer.write(close(1001)).closed
  t.equal(closed, 1)
})
