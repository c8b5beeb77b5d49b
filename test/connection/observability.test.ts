// What an operator sees: diagnostics_channel and the log.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { FastifyInstance, FastifyRequest, FastifyServerOptions } from 'fastify'
import { test, type Test } from 'tap'
import { isObserved } from '../../lib/connection/observability.ts'
import { connect } from '../../lib/index.ts'
import { startConnecting } from '../../lib/client/connect.ts'
import type { ConnectionInfo, ConnectionStats, WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import { close, echo, handshake, serve, text, within } from '../helpers/http.ts'
import { openSession, serveHttp2 } from '../helpers/http2.ts'

interface Published {
  connection: WebSocketConnection
  request: FastifyRequest
  error?: unknown
  code?: number
  reason?: string
  wasClean?: boolean
  stats?: ConnectionStats
}

/** What is published from now to the end of the test, by event. */
function observe (t: Test): Array<[event: string, message: Published]> {
  const seen: Array<[event: string, message: Published]> = []
  for (const event of ['open', 'close', 'error', 'slow', 'stalled']) {
    const name = `fastify-websocket-stream:${event}`
    const onMessage = (message: unknown): void => { seen.push([event, message as Published]) }
    subscribe(name, onMessage)
    t.teardown(() => { unsubscribe(name, onMessage) })
  }
  return seen
}

/** What the channels that carry no request say from now to the end of the test. */
function facts (t: Test): Array<[event: string, message: { info: ConnectionInfo, code: unknown }]> {
  const seen: ReturnType<typeof facts> = []
  for (const event of ['closed', 'refused']) {
    const onMessage = (message: unknown): void => { seen.push([event, message as (typeof seen)[0][1]]) }
    subscribe(`fastify-websocket-stream:${event}`, onMessage)
    t.teardown(() => { unsubscribe(`fastify-websocket-stream:${event}`, onMessage) })
  }
  return seen
}

test('closed is published with what a connection is told by and how it ended, and nothing of its request', async t => {
  const seen = facts(t)
  const { app, site } = await serve(t, app => { app.get('/room/:id', { websocket: true }, echo) })
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await site.open('/room/5')
  const [connection] = await connected
  const { info } = connection
  t.equal(isObserved(), false, 'no connection keeps its request for them')
  peer.write(text('Hello'), close(4000))
  await connection.closed
  t.strictSame(seen, [['closed', {
    info, code: 4000, reason: '', wasClean: true, sent: { code: 4000, reason: '' }, cause: 'peer', stats: connection.stats()
  }]])
})

test('refused is published with who asked for what, our code and the status', async t => {
  const seen = facts(t)
  const { site } = await serve(t, app => {
    app.get('/room/:id', { websocket: true, preHandler: (_request, reply) => { reply.code(401).send() } }, echo)
    app.get('/ws', { websocket: true }, echo)
    app.get('/own', { websocket: true, errorHandler: (_error, _request, reply) => { reply.code(418).send() } }, echo)
  })
  await site.ask(handshake('/room/5'))
  await site.ask(handshake('/ws', { Origin: 'http://evil.example' }))
  await site.ask(handshake('/own', { Origin: 'http://evil.example' }))
  await site.ask(handshake('/nowhere'))
  const of = (route: string) => ({ route, ip: '127.0.0.1', httpVersion: '1.1' })
  t.strictSame(seen, [
    ['refused', { info: of('/room/:id'), code: 'other', statusCode: 401 }],
    ['refused', { info: of('/ws'), code: 'FST_WS_ORIGIN', statusCode: 403 }],
    ['refused', { info: of('/own'), code: 'FST_WS_ORIGIN', statusCode: 418 }],
    ['refused', { info: of(''), code: 'other', statusCode: 404 }]
  ])
})

test('a client whose handshake failed was never open, and its end is published nowhere', async t => {
  const seen = facts(t)
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  await t.rejects(connect(`ws://127.0.0.1:${site.port}/nowhere`))
  t.strictSame(seen.map(([event]) => event), ['refused'])
})

test('info says by what a connection is told: over HTTP/1.1, HTTP/2, without a network, without a route, and of a client', async t => {
  const infos: ConnectionInfo[] = []
  const declare = (app: FastifyInstance): void => {
    app.get('/room/:id', { websocket: true }, connection => { infos.push(connection.info) })
  }
  const now = (): number => performance.timeOrigin + performance.now()
  const begin = now()
  const { app, site } = await serve(t, declare, { server: { trustProxy: true } })
  await site.open('/room/5')
  await site.open('/room/5', { 'X-Forwarded-For': '203.0.113.195, 10.0.0.1' })
  ;(await app.injectWS('/room/6', { socket: { remoteAddress: '10.1.2.3' } })).terminate()
  const http2 = await serveHttp2(t, declare)
  await (await openSession(t, http2)).open('/room/7')
  t.strictSame(infos.map(({ route, ip, httpVersion }) => [route, ip, httpVersion]), [
    ['/room/:id', '127.0.0.1', '1.1'], ['/room/:id', '203.0.113.195', '1.1'], ['/room/:id', '10.1.2.3', '1.1'], ['/room/:id', '127.0.0.1', '2.0']
  ])
  t.equal(new Set(infos.map(({ id }) => id)).size, 4)
  for (const { openedAt } of infos) t.ok(openedAt >= Math.floor(begin) && openedAt <= Math.ceil(now()))
  const { connection, opened } = startConnecting(`ws://127.0.0.1:${site.port}/room/5`, {})
  t.match(connection.info, { route: '', ip: undefined, openedAt: 0, httpVersion: '1.1' })
  await opened
  t.match(connection.info, { route: '', ip: '127.0.0.1', httpVersion: '1.1' })
  const { info } = connection
  connection.terminate()
  await connection.closed
  t.strictSame([connection.info.id, connection.info.openedAt], [info.id, info.openedAt], 'also when it has ended')
})

test('the address of a connection is still known when it has ended', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await site.open('/ws')
  const [connection] = await connected
  peer.write(close(1000))
  await connection.closed
  t.equal(connection.info.ip, '127.0.0.1')
})

test('open and close are published with the connection and its request', async t => {
  const seen = observe(t)
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await site.open('/ws?a=1')
  const [connection] = await connected
  t.strictSame(seen.map(([event]) => event), ['open'])
  peer.write(text('Hello'), close(4000))
  await connection.closed
  t.strictSame(seen.map(([event]) => event), ['open', 'close'])
  for (const [, message] of seen) {
    t.equal(message.connection, connection)
    t.equal(message.request.url, '/ws?a=1')
  }
  t.match(seen[1]![1], { code: 4000, reason: '', wasClean: true, stats: { messagesReceived: 1, messagesSent: 1 } })
})

test('errors of handlers, listeners and peers are published', async t => {
  const seen = observe(t)
  const { site } = await serve(t, app => {
    app.get('/handler', { websocket: true }, () => { throw new Error('of the handler') })
    app.get('/listener', { websocket: true }, connection => { connection.on('message', () => { throw new Error('of the listener') }) })
    app.get('/peer', { websocket: true }, echo)
  })
  await (await site.open('/handler')).contents(1)
  await (await site.open('/listener')).write(text('a')).contents(1)
  await (await site.open('/peer')).write(Buffer.from([0xff, 0xff])).contents(1)
  t.match(seen.filter(([event]) => event === 'error').map(([, { error }]) => error), [
    { message: 'of the handler' }, { message: 'of the listener' }, { code: 'WS_ERR_UNEXPECTED_RSV_2_3' }
  ])
})

test('slow and stalled are published', async t => {
  const seen = observe(t)
  const { app, site } = await serve(t, app => {
    app.get('/slow', { websocket: { maxBufferedAmount: 1_000_000 } }, connection => {
      for (let i = 0; i < 20; i++) connection.send(Buffer.alloc(1_000_000))
    })
    app.get('/stalled', { websocket: { stallTimeout: 50 } }, connection => { connection.send(Buffer.alloc(20_000_000)) })
  })
  const connections: WebSocketConnection[] = []
  app.websocketServer.on('connection', connection => { connections.push(connection) })
  for (const path of ['/slow', '/stalled']) await site.open(path, {}, {}).then(({ socket }) => socket.pause())
  await within(5000, connections[1]!.closed, 'it stalls')
  const kinds = seen.map(([event, { request }]) => `${event} ${request.url}`)
  t.ok(kinds.includes('slow /slow'))
  t.ok(kinds.includes('stalled /stalled'))
})

interface Line {
  level: number
  msg: string
  reqId: string
  closeCode?: number
}

async function linesOf (t: Test, plugin: WebSocketPluginOptions, server: object = {}): Promise<Line[]> {
  const lines: Line[] = []
  const logger = { level: 'trace', stream: { write (line: string) { lines.push(JSON.parse(line) as Line) } } }
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { plugin, server: { logger, ...server } as FastifyServerOptions })
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await site.open('/ws')
  const [connection] = await connected
  peer.write(text('Hello'), close(4001))
  await connection.closed
  return lines.filter(({ msg }) => msg === 'WebSocket closed')
}

test('the end of a connection is one log line of its request, at level info', async t => {
  const lines = await linesOf(t, {})
  t.equal(lines.length, 1)
  t.match(lines[0], {
    level: 30, reqId: /^req-/, connectionId: /^[a-z2-7]{6}-[\da-z]+$/, closeCode: 4001, reason: '', wasClean: true, duration: Number, messagesReceived: 1, messagesSent: 1, bytesReceived: 11 + 8, bytesSent: 7 + 4
  })
})

test('closeLogLevel sets the level of that line, or that there is none', async t => {
  t.match(await linesOf(t, { closeLogLevel: 'debug' }), [{ level: 20 }])
  t.strictSame(await linesOf(t, { closeLogLevel: 'silent' }), [])
  t.strictSame(await linesOf(t, { closeLogLevel: 'nonexistent' }), [])
})
