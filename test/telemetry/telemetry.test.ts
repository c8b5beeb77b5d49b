// What OpenTelemetry is told, by its own SDK, and what it is not asked to do.
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { context, metrics, ROOT_CONTEXT, trace, type Context, type ContextManager, type MeterProvider as Provider } from '@opentelemetry/api'
import { MeterProvider, MetricReader, type DataPoint, type Histogram } from '@opentelemetry/sdk-metrics'
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import websocket, { Topics } from '../../lib/index.ts'
import { telemetry, type TelemetryOptions } from '../../lib/telemetry/telemetry.ts'
import type { CloseCause, WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import type { Broker, BrokerHost } from '../../types/topics.ts'
import { aborted, turn } from '../helpers/app.ts'
import { clientFrame } from '../helpers/frames.ts'
import { close, deferred, echo, handshake, listen, text, within, type Peer, type Site } from '../helpers/http.ts'
import { openSession, serveHttp2 } from '../helpers/http2.ts'

class Reader extends MetricReader {
  protected async onForceFlush (): Promise<void> {}
  protected async onShutdown (): Promise<void> {}

  /** By name, what each series shows: its attributes and its value, of a histogram how many there were. */
  async read (): Promise<Record<string, Array<[attributes: object, value: number]>>> {
    const { resourceMetrics, errors } = await this.collect()
    if (errors.length > 0) throw errors[0]
    return Object.fromEntries(resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics).map(({ descriptor: { name }, dataPoints }) => {
      return [name, (dataPoints as Array<DataPoint<number | Histogram>>).map(({ attributes, value }) => [attributes, typeof value === 'number' ? value : value.count])]
    }))
  }
}

async function start (
  t: Test, declare: (app: FastifyInstance) => unknown, { plugin = {}, options = {} }: { plugin?: WebSocketPluginOptions, options?: TelemetryOptions } = {}
): Promise<{ app: FastifyInstance, site: Site, reader: Reader }> {
  const reader = new Reader()
  const app = Fastify()
  telemetry(app, { meterProvider: new MeterProvider({ readers: [reader] }), ...options })
  await app.register(websocket, { shutdownTimeout: 500, ...plugin })
  await declare(app)
  return { app, site: await listen(t, app), reader }
}

/** Opens one on the path, and gives both of its ends. */
async function open (app: FastifyInstance, site: Site, path: string): Promise<{ peer: Peer, connection: WebSocketConnection }> {
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await site.open(path)
  return { peer, connection: (await connected)[0] }
}

const room = { 'http.route': '/room/:id' }
const receive = { ...room, 'network.io.direction': 'receive' }
const transmit = { ...room, 'network.io.direction': 'transmit' }

test('connections, messages and bytes are counted by route, and how long connections were open and why they ended', async t => {
  const { app, site, reader } = await start(t, app => {
    app.get('/room/:id', { websocket: true }, echo)
    app.get('/held', { websocket: true }, connection => { connection.pause() })
  })
  await open(app, site, '/room/1')
  const { peer, connection } = await open(app, site, '/room/2')
  await peer.write(text('Hello'), text('World')).contents(2)
  peer.write(close(4321))
  await connection.closed
  const held = await open(app, site, '/held')
  held.peer.write(text('x'.repeat(100)))
  while (held.connection.stats().bytesReceived < 106) await turn()
  const seen = await reader.read()
  t.strictSame(seen['websocket.server.active_connections'], [[room, 1], [{ 'http.route': '/held' }, 1]])
  t.strictSame(seen['websocket.server.messages']!.slice(0, 2), [[receive, 2], [transmit, 2]])
  t.strictSame(seen['websocket.server.io']!.slice(0, 2), [[receive, 22 + 8], [transmit, 14 + 4]])
  t.strictSame(seen['websocket.server.unsent'], [[room, 0], [{ 'http.route': '/held' }, 0]])
  t.ok(seen['websocket.server.held']![1]![1] >= 100)
  t.strictSame(seen['websocket.server.connection.duration'], [
    [{ ...room, 'websocket.close.code': '4xxx', 'websocket.close.cause': 'peer' }, 1]
  ])
  held.connection.terminate()
  await held.connection.closed
  const { resourceMetrics: { scopeMetrics: [scope] } } = await reader.collect()
  t.equal(scope!.scope.name, 'fastify-websocket-stream')
  const durations = scope!.metrics.find(({ descriptor }) => descriptor.name === 'websocket.server.connection.duration')!
  t.strictSame((durations.dataPoints[0] as DataPoint<Histogram>).value.buckets.boundaries.slice(-4), [1800, 3600, 14_400, 86_400])
  t.equal(durations.descriptor.unit, 's')
  await app.close()
})

/** Answers the server's Close, which may be behind other frames. @returns its code */
async function answer (peer: Peer): Promise<number> {
  for (;;) {
    const frame = await peer.frame()
    if (frame.opcode !== 0x8) continue
    const code = frame.payload.readUInt16BE()
    peer.write(close(code)).end()
    await peer.closed
    return code
  }
}

async function goodbye (peer: Peer, code: number): Promise<number> {
  peer.write(close(code))
  return await answer(peer)
}

async function gone (peer: Peer): Promise<number> {
  await peer.closed
  return 1006
}

/** Ways to end a connection, each with the cause and the code that it counts under, if that is another than the client has seen. */
const ENDINGS: Array<[cause: CloseCause, end: (peer: Peer, i: number) => Promise<number>, code?: number]> = [
  ['peer', peer => goodbye(peer, 1000)],
  ['peer', (peer, i) => goodbye(peer, 3000 + (i * 167) % 2000)],
  ['transport', peer => gone(peer.end())],
  ['transport', peer => gone(peer.reset())],
  ['local', peer => answer(peer.write(text('close')))],
  ['local', peer => answer(peer.write(text('own')))],
  ['local', peer => gone(peer.write(text('terminate')))],
  // when the handler has failed, or the peer has broken a rule, its Close is not read any more
  ['handler', peer => answer(peer.write(text('throw'))), 1006],
  ['protocol', peer => answer(peer.write(Buffer.from([0x81, 0x01, 0x61]))), 1006],
  ['protocol', peer => answer(peer.write(clientFrame({ opcode: 0x1, payload: Buffer.from([0xff]) }))), 1006],
  ['protocol', peer => answer(peer.write(text('x'.repeat(2000)))), 1006],
  ['rate', peer => answer(peer.write(...Array.from({ length: 50 }, () => clientFrame({ opcode: 0x9, payload: '' })))), 1006]
]

test('however connections end, clients, stats() and metrics count the same, in few series for any number of codes', async t => {
  const COUNT = 10 * ENDINGS.length
  const { app, site, reader } = await start(t, app => {
    app.get('/room/:id', { websocket: true, errorHandler () {} }, connection => {
      connection.on('message', data => {
        const text = data.toString()
        if (text === 'close') connection.close(1000)
        else if (text === 'own') connection.close(4321)
        else if (text === 'terminate') connection.terminate()
        else if (text === 'throw') throw new Error('oops')
        else connection.send(text)
      })
    })
  }, { plugin: { maxPayload: 1000, rateLimit: { messages: 20 } } })
  const closes: Record<number, number> = {}
  const causes: Record<string, number> = {}
  let echoes = 0
  const live = async (i: number): Promise<void> => {
    const peer = await site.open(`/room/${i}`)
    t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
    echoes++
    const [cause, end, counted] = ENDINGS[i % ENDINGS.length]!
    const code = await end(peer, i)
    closes[counted ?? code] = (closes[counted ?? code] ?? 0) + 1
    causes[cause] = (causes[cause] ?? 0) + 1
  }
  await Promise.all(Array.from({ length: COUNT }, (_, i) => live(i)))
  while (app.websocketServer.clients.size > 0) await turn()
  const stats = app.websocketServer.stats()
  t.match(stats, { open: 0, opened: COUNT, refused: 0 })
  t.strictSame(stats.closes, closes)
  t.equal(stats.messagesSent, echoes)
  const seen = await reader.read()
  const durations = seen['websocket.server.connection.duration'] as Array<[{ 'websocket.close.cause': string }, number]>
  t.strictSame(seen['websocket.server.active_connections'], [[room, 0]])
  t.equal(durations.reduce((sum, [, count]) => sum + count, 0), COUNT)
  for (const [cause, count] of Object.entries(causes)) {
    t.equal(durations.filter(([attributes]) => attributes['websocket.close.cause'] === cause).reduce((sum, [, count]) => sum + count, 0), count, cause)
  }
  t.strictSame(seen['websocket.server.messages'], [[receive, stats.messagesReceived], [transmit, stats.messagesSent]])
  t.strictSame(seen['websocket.server.io'], [[receive, stats.bytesReceived], [transmit, stats.bytesSent]])
  const series = Object.values(seen).flat().filter(([attributes]) => (attributes as Record<string, unknown>)['http.route'] === '/room/:id')
  t.ok(series.length <= 20, `${series.length} series`)
})

test('refusals are counted by status and our code, with the route where there is one', async t => {
  const { app, site, reader } = await start(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/private', { websocket: true, preHandler: (_request, reply) => { reply.code(401).send() } }, echo)
  })
  await site.ask(handshake('/ws', { Origin: 'https://evil.example' }))
  await site.ask(handshake('/private'))
  await site.ask(handshake('/nowhere'))
  const { peer } = await open(app, site, '/ws')
  const drained = app.websocketServer.drain({ spread: 0 })
  await site.ask(handshake('/ws'))
  await peer.write(close(1012)).closed
  await drained
  t.strictSame((await reader.read())['websocket.server.handshake.refusals'], [
    [{ 'http.route': '/ws', 'http.response.status_code': 403, 'error.type': 'FST_WS_ORIGIN' }, 1],
    [{ 'http.route': '/private', 'http.response.status_code': 401, 'error.type': 'other' }, 1],
    [{ 'http.response.status_code': 404, 'error.type': 'other' }, 1],
    [{ 'http.response.status_code': 503, 'error.type': 'FST_WS_CLOSING' }, 1]
  ])
})

test('all scopes of an app are measured together, whichever was registered when, and another app is not', async t => {
  const reader = new Reader()
  const app = Fastify()
  telemetry(app, { meterProvider: new MeterProvider({ readers: [reader] }) })
  for (const prefix of ['/a', '/b']) {
    app.register(async scope => {
      await scope.register(websocket, { shutdownTimeout: 500 })
      scope.get('/ws', { websocket: true }, echo)
    }, { prefix })
  }
  const site = await listen(t, app)
  const other = await start(t, app => { app.get('/ws', { websocket: true }, echo) })
  await open(other.app, other.site, '/ws')
  await site.open('/a/ws')
  await site.open('/b/ws')
  t.strictSame((await reader.read())['websocket.server.active_connections'], [[{ 'http.route': '/a/ws' }, 1], [{ 'http.route': '/b/ws' }, 1]])
})

test('when the app is closed its counters stay and nothing is open', async t => {
  const { app, site, reader } = await start(t, app => { app.get('/room/:id', { websocket: true }, echo) })
  const { peer } = await open(app, site, '/room/1')
  await peer.write(text('a')).contents(1)
  const closed = app.close()
  peer.write(close(1001))
  await closed
  const seen = await reader.read()
  t.strictSame(seen['websocket.server.active_connections'], [[room, 0]])
  t.strictSame(seen['websocket.server.messages'], [[receive, 1], [transmit, 1]])
  t.match(seen['websocket.server.connection.duration'], [[{ 'websocket.close.cause': 'shutdown' }, 1]])
})

test('round trips are measured where heartbeat.rtt says so, over HTTP/2 too', async t => {
  const reader = new Reader()
  const app = await serveHttp2(t, app => { app.get('/room/:id', { websocket: { heartbeat: { interval: 60_000, timeout: 60_000, rtt: 40 } } }, () => {}) }, {
    before: app => { telemetry(app, { meterProvider: new MeterProvider({ readers: [reader] }) }) }
  })
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await (await openSession(t, app)).open('/room/1')
  const [connection] = await connected
  peer.write(clientFrame({ opcode: 0xa, payload: (await within(5000, peer.frame(), 'a Ping')).payload }))
  while (connection.rtt === null) await turn()
  t.strictSame((await reader.read())['websocket.server.rtt'], [[room, 1]])
})

test('for messages nothing of OpenTelemetry is called', async t => {
  let calls = 0
  const spy = (): object => new Proxy({}, { get: () => () => { calls++; return spy() } })
  const meterProvider = { getMeter: () => spy() } as unknown as Provider
  const { app, site } = await start(t, app => { app.get('/ws', { websocket: true }, connection => { connection.on('message', data => { connection.send(data) }) }) },
    { options: { meterProvider, traces: true } })
  const { peer, connection } = await open(app, site, '/ws')
  const before = calls
  t.ok(before > 0, 'instruments were made')
  const burst = Buffer.concat(Array.from({ length: 1000 }, () => text('a')))
  for (let i = 0; i < 100; i++) peer.write(burst)
  while (connection.stats().messagesSent < 100_000) await turn()
  t.equal(calls, before)
  connection.terminate()
  await aborted(connection)
  await connection.closed
  t.equal(calls, before + 1, 'one for its end')
})

test('without a provider the global one is asked when the app is ready', async t => {
  const app = Fastify()
  telemetry(app)
  await app.register(websocket)
  const reader = new Reader()
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
  t.teardown(() => { metrics.disable() })
  app.get('/ws', { websocket: true }, echo)
  const site = await listen(t, app)
  const { connection } = await open(app, site, '/ws')
  t.strictSame((await reader.read())['websocket.server.active_connections'], [[{ 'http.route': '/ws' }, 1]])
  connection.terminate()
})

test('what is wrong is named', async t => {
  const app = Fastify()
  t.throws(() => { telemetry(app, { meter: {} } as TelemetryOptions) }, { message: 'unknown option meter of telemetry(): there are meterProvider, traces' })
  t.throws(() => { telemetry(app, { meterProvider: null } as unknown as TelemetryOptions) }, { message: /^the option meterProvider/ })
  t.throws(() => { telemetry(app, { traces: 'yes' } as unknown as TelemetryOptions) }, { message: /^the option traces/ })
  telemetry(app)
  await t.rejects((async () => { await app.ready() })(), { message: 'telemetry() finds no registration of fastify-websocket-stream in this app' })
  const unready = Fastify()
  telemetry(unready)
  await unready.register(websocket)
  await unready.close()
})

/** As the context manager of the SDK for Node: context in an AsyncLocalStorage. */
class Contexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>()

  active (): Context { return this.#storage.getStore() ?? ROOT_CONTEXT }
  with<A extends unknown[], F extends (...args: A) => ReturnType<F>> (active: Context, fn: F, thisArg?: ThisParameterType<F>, ...args: A): ReturnType<F> {
    return this.#storage.run(active, () => fn.call(thisArg as never, ...args))
  }

  bind<T> (_context: Context, target: T): T { return target }
  enable (): this { return this }
  disable (): this { return this }
}

test('with traces handlers and listeners run without the span of the handshake, in a context that is the same otherwise', async t => {
  context.setGlobalContextManager(new Contexts())
  t.teardown(() => { context.disable() })
  const store = new AsyncLocalStorage<string>()
  const key = Symbol('own')
  for (const traces of [true, false]) {
    const seen: unknown[] = []
    const done = deferred()
    const look = (where: string): void => {
      seen.push([where, trace.getSpanContext(context.active())?.traceId ?? null, store.getStore(), context.active().getValue(key)])
      if (where === 'close') done.resolve()
    }
    const { app, site } = await start(t, app => {
      app.addHook('onRequest', (_request, _reply, next) => {
        const span = trace.wrapSpanContext({ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1 })
        store.run('mine', () => context.with(trace.setSpan(context.active(), span).setValue(key, 'value'), next))
      })
      app.get('/events', { websocket: true }, connection => {
        look('handler')
        for (const event of ['message', 'close'] as const) connection.on(event, () => { look(event) })
      })
      app.get('/loop', { websocket: true }, async connection => {
        for await (const message of connection) look(message === 'a' ? 'loop' : '?')
      })
    }, { options: { traces } })
    app.websocketServer.on('connection', () => { look('connection') })
    for (const path of ['/events', '/loop']) {
      const { peer, connection } = await open(app, site, path)
      peer.write(text('a'), close(1000))
      await connection.closed
    }
    await done.promise
    const span = traces ? null : 'a'.repeat(32)
    t.strictSame(seen, ['connection', 'handler', 'message', 'close', 'connection', 'loop'].map(where => [where, span, 'mine', 'value']), `traces: ${traces}`)
  }
})

test('topics of all scopes are counted together, each Topics once', async t => {
  const topics = new Topics()
  const { site, reader } = await start(t, app => {
    app.get('/topic', { websocket: true }, async connection => { await connection.subscribe('a') })
    app.register(async scope => {
      await scope.register(websocket, { topics })
      scope.get('/inner', { websocket: true }, async connection => { await connection.subscribe('a') })
    })
  }, { plugin: { topics } })
  await site.open('/topic')
  await site.open('/inner')
  while (topics.subscribers('a') < 2) await turn()
  await topics.publish('a', 'to both')
  await topics.publish('b', 'to nobody')
  const values: Record<string, number> = {}
  for (const [name, [series]] of Object.entries(await reader.read())) if (name.startsWith('websocket.topics.')) values[name.slice(17)] = series![1]
  t.strictSame(values, { published: 2, delivered: 2, skipped: 0, gaps: 0, errors: 0, subscriptions: 2, pending: 0, 'broker.up': 1, 'broker.lag': 0 })
})

test('a broker that is away shows, and for how long a message has waited for it', async t => {
  let host!: BrokerHost
  const broker: Broker = {
    numbered: false,
    async start (given) { host = given },
    async stop () {},
    publish: () => new Promise(() => {}),
    async subscribe () {},
    unsubscribe () {}
  }
  const topics = new Topics({ broker })
  const { reader } = await start(t, () => {}, { plugin: { topics } })
  const values = async (): Promise<unknown[]> => {
    const found = await reader.read()
    return ['up', 'lag'].map(name => found[`websocket.topics.broker.${name}`]![0]![1])
  }
  t.strictSame(await values(), [1, 0])
  host.interrupted()
  void topics.publish('a', 'waits')
  await turn()
  const [up, lag] = await values()
  t.equal(up, 0)
  t.ok(lag as number > 0 && lag as number < 60, `${lag} s`)
  await topics.close().catch(() => {})
})

test('gaps are counted by reason', async t => {
  const { site, app, reader } = await start(t, app => {
    app.get('/topic', { websocket: true }, async connection => {
      await connection.subscribe('a', { encode: () => { throw new Error('no') } })
      connection.send('subscribed')
    })
  })
  t.strictSame(await (await site.open('/topic')).contents(1), ['subscribed'])
  await app.websocketServer.publish('a', 'b')
  t.strictSame((await reader.read())['websocket.topics.gaps'], ['lost', 'epoch', 'interrupted', 'encode', 'subscribe'].map(reason => [
    { 'websocket.gap.reason': reason }, Number(reason === 'encode')
  ]))
})

test('nobody who does not use topics gets a Topics by being measured', async t => {
  const { app, reader } = await start(t, app => { app.get('/ws', { websocket: true }, echo) })
  t.strictSame((await reader.read())['websocket.topics.published'], [[{}, 0]])
  t.equal((app.websocketServer as unknown as { scopeTopics: { made: unknown } }).scopeTopics.made, null)
})
