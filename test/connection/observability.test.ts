// What an operator sees: diagnostics_channel and the log.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { FastifyRequest, FastifyServerOptions } from 'fastify'
import { test, type Test } from 'tap'
import type { ConnectionStats, WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import { close, echo, serve, text, within } from '../helpers/http.ts'

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
    level: 30, reqId: /^req-/, closeCode: 4001, reason: '', wasClean: true, duration: Number, messagesReceived: 1, messagesSent: 1, bytesReceived: 11 + 8, bytesSent: 7 + 4
  })
})

test('closeLogLevel sets the level of that line, or that there is none', async t => {
  t.match(await linesOf(t, { closeLogLevel: 'debug' }), [{ level: 20 }])
  t.strictSame(await linesOf(t, { closeLogLevel: 'silent' }), [])
  t.strictSame(await linesOf(t, { closeLogLevel: 'nonexistent' }), [])
})
