// One program with the types of this package and those of @fastify/websocket, which graphql-ws brings: whichever is imported first, our routes
// have our types.
import Fastify from 'fastify'
import { buildSchema } from 'graphql'
import { makeHandler } from 'graphql-ws/use/@fastify/websocket'
import { Type } from 'typebox'
import type { RawData, WebSocket } from 'ws'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import websocket, { type WebSocketConnection, type WebSocketServerFacade } from 'fastify-websocket-stream'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const yes = <_T extends true>(): void => {}

const app = Fastify()
await app.register(websocket, { maxPayload: 1 })

// a handler with the types of @fastify/websocket
const handler = makeHandler({ schema: buildSchema('type Query { greeting: String }') })
app.get('/graphql', { websocket: true }, handler)
app.get('/graphql/limited', { websocket: { maxPayload: 1 } }, handler)
app.get('/graphql/inside', { websocket: true, handler })
app.route({ method: 'GET', url: '/graphql/route', websocket: true, handler })
app.route({ method: 'GET', url: '/graphql/both', handler: async () => '', wsHandler: handler })

// one that says nothing of its types
app.get('/a', { websocket: true }, async (connection, request) => {
  yes<Equal<typeof connection, WebSocketConnection>>()
  yes<Equal<typeof request.ws, boolean>>()
})
app.get('/b', { websocket: { maxPayload: 1 } }, async function * (connection) { yield await connection.receive() ?? '' })
app.get('/c', { websocket: true, handler: connection => { yes<Equal<typeof connection, WebSocketConnection>>() } })
app.route({ method: 'GET', url: '/d', websocket: { maxPayload: 1 }, handler: connection => { yes<Equal<typeof connection, WebSocketConnection>>() } })
app.route({
  method: 'GET',
  url: '/e',
  websocket: true,
  handler: (request, reply) => { reply.send(request.url) },
  wsHandler: connection => { yes<Equal<typeof connection, WebSocketConnection>>() }
})
app.get<{ Params: { id: string } }>('/f/:id', { websocket: true }, (connection, request) => {
  yes<Equal<typeof connection, WebSocketConnection>>()
  yes<Equal<typeof request.params.id, string>>()
})

// one that does
app.get('/g', { websocket: true }, (connection: WebSocketConnection, request) => { connection.send(request.url) })
app.get('/h', { websocket: true }, (socket: WebSocket, request) => {
  socket.on('message', (data: RawData) => { socket.send(data) })
  socket.send(request.url)
})
// @ts-expect-error a websocket handler gets no reply
app.get('/bad', { websocket: true }, (connection, request, reply) => {})

// typed by a schema
const typed = app.withTypeProvider<TypeBoxTypeProvider>()
const schema = { params: Type.Object({ n: Type.Integer() }) }
typed.get('/i/:n', { websocket: true, schema, preHandler: async request => { yes<Equal<typeof request.params.n, number>>() } }, (connection, request) => {
  yes<Equal<typeof connection, WebSocketConnection>>()
  yes<Equal<typeof request.params.n, number>>()
})
typed.route({
  method: 'GET',
  url: '/j/:n',
  schema,
  handler: async request => { yes<Equal<typeof request.params.n, number>>() },
  wsHandler: (connection, request) => {
    yes<Equal<typeof connection, WebSocketConnection>>()
    yes<Equal<typeof request.params.n, number>>()
  }
})

// messages typed by a schema
const say = Type.Object({ text: Type.String() })
typed.get('/k', { websocket: true, schema: { receive: say, send: say } }, async function * (connection) {
  yes<Equal<typeof connection, WebSocketConnection<{ text: string }, { text: string }>>>()
  for await (const { text } of connection) yield { text }
})
// @ts-expect-error yields what the schema does not allow
typed.get('/l', { websocket: true, schema: { send: say } }, async function * (connection) { yield { text: connection.readyState } })

// HTTP
app.get('/http', (request, reply) => { reply.send(request.ws) })
app.post('/http', { schema: {} }, async (request, reply) => { reply.code(201).send(request.url) })
app.route({ method: 'PUT', url: '/http', handler: (request, reply) => { reply.send(request.url) } })

// the decorators have the types of @fastify/websocket there
app.websocketServer.on('error', () => {})
for (const client of app.websocketServer.clients) client.send('news')
yes<Equal<ReturnType<WebSocketServerFacade['stats']>['open'], number>>()
app.getDecorator<WebSocketServerFacade>('websocketServer').stats()
const client = await app.injectWS('/a', { headers: { authorization: 'x' } })
client.terminate()
