import type { Http2ServerRequest } from 'node:http2'
import { expectTypeOf } from 'expect-type'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { Type } from 'typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import websocket, { connect, Connection, FrameParser, FrameSerializer, type Frame, memoryBroker, prepare, Topics, upgrade } from '../../lib/index.ts'
import type { CloseInfo, PublishResult, TopicGap, WebSocketConnection, WebSocketHandler, WebSocketPluginOptions } from '../../lib/index.ts'

const app = Fastify()

// registration
app.register(websocket)
app.register(websocket, { maxPayload: 1, handleProtocols: protocols => [...protocols][0] ?? false })
app.register(websocket.default)
app.register(websocket.fastifyWebsocket, {
  errorHandler (error, connection, request, reply) {
    expectTypeOf(this).toExtend<FastifyInstance>()
    expectTypeOf(error).toBeAny()
    expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>()
    expectTypeOf(request).toExtend<FastifyRequest>()
    expectTypeOf(reply).toExtend<FastifyReply>()
  }
})
// @ts-expect-error wrong option type
app.register(websocket, { maxPayload: 'x' })
expectTypeOf<WebSocketPluginOptions['maxPayload']>().toEqualTypeOf<number | undefined>()
expectTypeOf(app.websocketServer.clients).toEqualTypeOf<Set<WebSocketConnection>>()
app.websocketServer.on('connection', connection => { expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>() })

// topics
app.register(websocket, { topics: { slow: 'latest', rules: [{ topic: 'room:*', size: 5 }], broker: memoryBroker({ delay: 5 }) } })
app.register(websocket, { topics: new Topics({ maxBehind: 1 }) })
// @ts-expect-error wrong policy
app.register(websocket, { topics: { slow: 'never' } })
expectTypeOf(app.websocketServer.publish('a', 'x', { binary: true })).toEqualTypeOf<Promise<PublishResult>>()
expectTypeOf(app.websocketServer.topics.subscribers('a')).toEqualTypeOf<number>()
app.get('/topics', { websocket: true }, async connection => {
  const { recovered, position } = await connection.subscribe('a', {
    since: null,
    encode: (payload, { position }) => {
      expectTypeOf(payload).toEqualTypeOf<Buffer>()
      expectTypeOf(position).toEqualTypeOf<string | null>()
      return payload
    },
    snapshot: async position => position === null ? null : 'x'
  })
  expectTypeOf(recovered).toEqualTypeOf<boolean>()
  expectTypeOf(position).toEqualTypeOf<string | null>()
  expectTypeOf(connection.topics).toEqualTypeOf<ReadonlySet<string>>()
  connection.on('gap', gap => { expectTypeOf(gap).toEqualTypeOf<TopicGap>() })
  // @ts-expect-error whose bytes are not there yet
  void connection.publish('a', new Blob(['x']))
  // @ts-expect-error a connection publishes for all but itself
  void connection.publish('a', 'x', { except: connection })
})

// shorthand
app.get('/x', { websocket: true }, function (connection, request) {
  expectTypeOf(this).toExtend<FastifyInstance>()
  expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>()
  expectTypeOf(request.url).toEqualTypeOf<string>()
  expectTypeOf(request.ws).toEqualTypeOf<boolean>()
})
app.get<{ Params: { id: string }, Headers: { 'x-token': string } }>('/p/:id', { websocket: true }, async (connection, request) => {
  expectTypeOf(request.params.id).toEqualTypeOf<string>()
  expectTypeOf(request.headers['x-token']).toEqualTypeOf<string>()
})
app.get('/options', { websocket: { maxPayload: 10 } }, connection => { connection.close(1000) })
// @ts-expect-error options of the plugin as a whole are not options of a route
app.get('/shutdown', { websocket: { shutdownTimeout: 10 } }, connection => { connection.close(1000) })
// @ts-expect-error a websocket handler gets no reply
app.get('/bad', { websocket: true }, (connection, request, reply) => {})
app.get('/http', (request, reply) => { reply.send(request.url) })

// the handler among the options
app.get('/x', {
  websocket: true,
  handler: (connection, request) => {
    expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>()
    expectTypeOf(request).toExtend<FastifyRequest>()
  }
})
app.route({
  method: 'GET',
  url: '/x',
  websocket: { maxPayload: 10 },
  handler (connection, request) {
    expectTypeOf(this).toExtend<FastifyInstance>()
    expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>()
    expectTypeOf(request).toExtend<FastifyRequest>()
  }
})
app.route({
  method: 'GET',
  url: '/x',
  websocket: true,
  handler: (request, reply) => { expectTypeOf(reply).toExtend<FastifyReply>() },
  wsHandler: connection => { expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>() }
})
// @ts-expect-error the handler gets connections
app.route({ method: 'GET', url: '/x', websocket: true, handler: (request, reply, done) => {} })
const optional: RouteOptions['wsHandler'] = undefined
app.route({ method: 'GET', url: '/x', handler: () => 'x', wsHandler: optional })

// full declaration, TypeBox
const typed = app.withTypeProvider<TypeBoxTypeProvider>()
typed.route({
  method: 'GET',
  url: '/r',
  schema: { querystring: Type.Object({ room: Type.Optional(Type.String()) }) },
  handler (request, reply) {
    expectTypeOf(request.query).toEqualTypeOf<{ room?: string }>()
    reply.send('x')
  },
  wsHandler (connection, request) {
    expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>()
    expectTypeOf(request.query).toEqualTypeOf<{ room?: string }>()
  }
})
typed.get('/t/:n', {
  websocket: true,
  schema: {
    params: Type.Object({ n: Type.Integer() }),
    querystring: Type.Object({ n: Type.Number() }),
    headers: Type.Object({ authorization: Type.String() })
  }
}, async (connection, request) => {
  expectTypeOf(request.params.n).toEqualTypeOf<number>()
  expectTypeOf(request.query.n).toEqualTypeOf<number>()
  expectTypeOf(request.headers.authorization).toEqualTypeOf<string>()
})

// the connection
const handler: WebSocketHandler = connection => {
  connection.on('message', function (data, isBinary) {
    expectTypeOf(this).toEqualTypeOf<WebSocketConnection>()
    expectTypeOf(data).toEqualTypeOf<Buffer>()
    expectTypeOf(isBinary).toEqualTypeOf<boolean>()
  })
  connection.once('close', (code, reason) => {
    expectTypeOf(code).toEqualTypeOf<number>()
    expectTypeOf(reason).toEqualTypeOf<Buffer>()
  })
  connection.on('message', async data => { connection.send(data) })
  connection.on('own-event', anything => anything)
  connection.addEventListener('close', event => { expectTypeOf(event.wasClean).toEqualTypeOf<boolean>() })
  connection.onmessage = event => { expectTypeOf(event.data).toEqualTypeOf<string | Buffer | ArrayBuffer | Buffer[]>() }
  expectTypeOf(connection.send('x')).toEqualTypeOf<boolean>()
  const prepared = prepare('x', { compress: false })
  expectTypeOf(connection.send(prepared, error => { expectTypeOf(error).toEqualTypeOf<Error | undefined>() })).toEqualTypeOf<boolean>()
  connection.send(new Float64Array(1), { binary: true }, error => { expectTypeOf(error).toEqualTypeOf<Error | undefined>() })
  connection.send(new ArrayBuffer(1), () => {})
  connection.send('x', { mask: true, binary: false, compress: undefined, fin: true }, () => {})
  connection.send([Buffer.from('a'), Buffer.from('b')])
  connection.ping('x', false, (error: Error) => { expectTypeOf(error).toEqualTypeOf<Error>() })
  connection.pong(error => { expectTypeOf(error).toEqualTypeOf<Error | undefined>() })
  // @ts-expect-error not a message
  connection.send({})
  // @ts-expect-error a list of numbers is no message
  connection.send([1, 2, 3])
  // @ts-expect-error what has a length is no prepared message
  connection.send(() => {})
  // @ts-expect-error prepare() has said how a prepared message is sent
  connection.send(prepared, { binary: true })
  connection.close(1000, Buffer.from('reason'))
  expectTypeOf(connection.closed).toEqualTypeOf<Promise<CloseInfo>>()
  expectTypeOf(connection.readyState).toEqualTypeOf<0 | 1 | 2 | 3>()
  expectTypeOf(connection.OPEN).toEqualTypeOf<1>()
}
app.get('/handler', { websocket: true }, handler)
app.get('/pull', { websocket: true }, async connection => {
  expectTypeOf(await connection.receive()).toEqualTypeOf<string | Buffer | null>()
  for await (const message of connection) expectTypeOf(message).toEqualTypeOf<string | Buffer>()
  for await (const message of connection.iterator({ closeOnReturn: false })) expectTypeOf(message).toEqualTypeOf<string | Buffer>()
})
app.get('/yield', { websocket: { heartbeat: false, maxConnections: 5 } }, async function * (connection) {
  for await (const message of connection) yield message
})
expectTypeOf(Connection.OPEN).toEqualTypeOf<1>()
expectTypeOf<Connection>().toEqualTypeOf<WebSocketConnection>()
// @ts-expect-error routes, connect() and upgrade() make connections
expectTypeOf(() => new Connection({}, {})).toBeFunction()
const anything: unknown = 0
if (anything instanceof Connection) expectTypeOf(anything).toEqualTypeOf<WebSocketConnection>()

// the streams
new FrameSerializer({ role: 'client' }).pipe(new FrameParser({ role: 'server', maxPayload: 1024 }))
expectTypeOf<ReturnType<FrameParser['next']>>().toEqualTypeOf<Frame | null>()

// what a connection reports, and the facade
expectTypeOf<WebSocketConnection['stats']>().returns.toHaveProperty('bytesSent')
app.websocketServer.options.handleProtocols = protocols => protocols.has('a') && 'a'
app.websocketServer.on('headers', (headers, request) => { headers.push(`X-Url: ${request.url}`) })
app.websocketServer.close(error => { expectTypeOf(error).toEqualTypeOf<Error | undefined>() })
expectTypeOf(app.websocketServer.stats().open).toEqualTypeOf<number>()
expectTypeOf(app.websocketServer.stats().closes).toEqualTypeOf<Readonly<Record<number, number>>>()
expectTypeOf(app.websocketServer.stats()).not.toHaveProperty('routes')
expectTypeOf(app.websocketServer.stats({ routes: true }).routes['/a']!.refused).toEqualTypeOf<number>()
expectTypeOf(app.websocketServer.inspect({ top: 5 })[0]!.info).toEqualTypeOf<WebSocketConnection['info']>()
expectTypeOf(app.websocketServer.state).toEqualTypeOf<'open' | 'draining' | 'closing' | 'closed'>()
expectTypeOf(app.websocketServer.drain({ delay: 5 })).toEqualTypeOf<Promise<void>>()
app.register(websocket, {
  origin: ['same-origin', 'https://example.com', /example/],
  shutdownCode: 1012,
  preClose (done) {
    expectTypeOf(this).toExtend<FastifyInstance>()
    done()
  },
  options: { maxPayload: 1, clientTracking: true, verifyClient: ({ origin, secure, req }) => secure && origin !== req.url }
})
app.register(websocket, {
  async preClose () { for (const client of this.websocketServer.clients) client.close(4000) }
})
// @ts-expect-error of a wrong type there too
app.register(websocket, { options: { maxPayload: 'x' } })
app.get('/origin', { websocket: { origin: async (origin, request) => origin === request.host } }, () => {})
// @ts-expect-error not an origin
app.get('/bad-origin', { websocket: { origin: 5 } }, () => {})

// the client, and the door without Fastify
expectTypeOf(connect('ws://localhost', { protocols: ['a'], headers: { authorization: 'x' }, request: { ca: 'x' } })).toEqualTypeOf<Promise<Connection>>()
expectTypeOf(app.injectWS('/', { headers: { a: 'b' } }, { onInit: connection => { connection.on('open', () => {}) } })).toEqualTypeOf<Promise<WebSocketConnection>>()
app.server.on('upgrade', (request, socket, head) => {
  expectTypeOf(upgrade(request, socket, head, { origin: (origin, { url }) => origin === url })).toEqualTypeOf<Promise<Connection>>()
})

// HTTP/2
const http2App = Fastify({ http2: true })
await http2App.register(websocket)
http2App.get('/ws', { websocket: true }, (connection, request) => {
  expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>()
  expectTypeOf(request.raw).toEqualTypeOf<Http2ServerRequest>()
})
http2App.get('/gen', { websocket: { maxPayload: 5 } }, async function * (connection) { for await (const message of connection) yield message })
http2App.route({ method: 'GET', url: '/both', handler: async () => '', wsHandler: connection => { connection.send('') } })
expectTypeOf(http2App.injectWS).returns.resolves.toEqualTypeOf<WebSocketConnection>()
