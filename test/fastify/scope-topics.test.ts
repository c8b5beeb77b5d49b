// Whose topics a connection has: of its registration, of the one around it, or one that several were given.
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import websocket, { connect, memoryBroker, Topics } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import { once } from 'node:events'
import { codeOf } from '../helpers/topics.ts'

async function start (t: Test, declare: (app: FastifyInstance) => unknown, options = {}): Promise<FastifyInstance> {
  const app = Fastify(options)
  await declare(app)
  await app.ready()
  t.teardown(() => app.close())
  return app
}

const register = (app: FastifyInstance, prefix: string, options: WebSocketPluginOptions): void => {
  app.register(async scope => {
    await scope.register(websocket, options)
    scope.get('/', { websocket: true }, connection => { void connection.subscribe('a') })
    scope.post('/', async () => { await scope.websocketServer.publish('a', prefix) })
  }, { prefix })
}

test('connections of a registration inside another have the topics of that, unless it has options or a Topics of its own', async t => {
  const shared = new Topics()
  const app = await start(t, async app => {
    await app.register(websocket)
    app.get('/', { websocket: true }, connection => { void connection.subscribe('a') })
    register(app, '/inner', {})
    register(app, '/own', { topics: {} })
    register(app, '/one', { topics: shared })
    register(app, '/other', { topics: shared })
  })
  const clients: WebSocketConnection[] = []
  for (const path of ['/', '/inner', '/own', '/one', '/other']) clients.push(await app.injectWS(path))
  t.strictSame([app.websocketServer.topics.subscribers('a'), shared.subscribers('a')], [2, 2])
  for (const url of ['/inner', '/own', '/one']) await app.inject({ method: 'POST', url })
  await app.websocketServer.publish('a', 'outer')
  t.strictSame(await Promise.all([0, 1].map(i => clients[i]!.receive())), ['/inner', '/inner'])
  t.strictSame(await Promise.all([0, 1].map(i => clients[i]!.receive())), ['outer', 'outer'])
  t.strictSame(await Promise.all([2, 3, 4].map(i => clients[i]!.receive())), ['/own', '/one', '/one'])
})

test('registrations beside each other have topics of their own', async t => {
  const app = await start(t, app => {
    register(app, '/a', {})
    register(app, '/b', {})
  })
  const url = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('http', 'ws')
  const clients = [await connect(`${url}/a`), await connect(`${url}/b`)]
  await app.inject({ method: 'POST', url: '/a' })
  await app.inject({ method: 'POST', url: '/b' })
  t.strictSame(await Promise.all(clients.map(client => client.receive())), ['/a', '/b'])
})

test('over HTTP/2 they are the same', async t => {
  const app = await start(t, async app => {
    await app.register(websocket)
    app.get('/', { websocket: true }, connection => {
      void connection.subscribe('a')
      connection.on('message', data => { void connection.publish('a', data) })
    })
  }, { http2: true })
  const [a, b] = [await app.injectWS(), await app.injectWS()]
  a.send('hello')
  t.equal(String(await b.receive()), 'hello')
})

test('at the end: preClose, then Close to all, then the hooks of the app, then the topics; a Topics ends with the registration that was first given it', async t => {
  const calls: string[] = []
  const broker = memoryBroker({ delay: 1 })
  const stop = broker.stop.bind(broker)
  broker.stop = async () => { calls.push('broker'); await stop() }
  const topics = new Topics({ broker })
  const app = Fastify()
  await app.register(websocket, {
    topics,
    async preClose () {
      await app.websocketServer.publish('a', 'goodbye')
      await topics.flush()
      calls.push('preClose')
    }
  })
  register(app, '/inner', { topics })
  app.get('/', { websocket: true }, async connection => {
    connection.on('close', () => { calls.push(`close, ${topics.size}`) })
    await connection.subscribe('a')
    connection.send('subscribed')
  })
  app.addHook('onClose', async () => {
    await topics.publish('b', 'x')
    calls.push('onClose')
  })
  await app.ready()
  const client = await app.injectWS()
  t.equal(await client.receive(), 'subscribed')
  const closed = app.close()
  t.equal(await client.receive(), 'goodbye')
  t.match(await client.closed, { code: 1001 })
  await closed
  t.strictSame(calls, ['preClose', 'close, 0', 'onClose', 'broker'])
  t.equal(await codeOf(topics.publish('a', 'x')), 'FST_WS_TOPICS_CLOSED')
})

test('options that are wrong, and a broker that is in use, fail the registration', async t => {
  const broker = memoryBroker()
  const topics = new Topics({ broker })
  for (const [given, code] of [[{ slow: 'x' }, 'FST_WS_TOPICS_OPTION'], [{ broker }, 'FST_WS_TOPICS_BROKER_IN_USE']] as const) {
    const app = Fastify()
    t.equal(await codeOf(app.register(websocket, { topics: given as never }) as unknown as Promise<void>), code)
  }
  await topics.close()
})

test('what nobody waits for is logged by the app', async t => {
  const lines: string[] = []
  const app = await start(t, async app => {
    await app.register(websocket, { topics: { maxTopics: 1 } })
    app.get('/', { websocket: true }, () => {})
  }, {
    logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  })
  const connected = once(app.websocketServer, 'connection')
  await app.injectWS()
  const [connection] = await connected as [WebSocketConnection]
  await connection.subscribe('a')
  void connection.subscribe('b')
  t.match(lines.map(line => JSON.parse(line)), [{ level: 50, err: { code: 'FST_WS_TOPICS_LIMIT' }, errors: 1 }])
})
