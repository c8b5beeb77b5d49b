import Fastify from 'fastify'
import { Type } from 'typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import websocket, { fastifyWebsocket } from 'fastify-websocket-stream'
import asyncapi, { type AsyncApiDocument } from 'fastify-websocket-stream/asyncapi'
import { connect } from '@nats-io/transport-node'
import { natsBroker } from 'fastify-websocket-stream/nats'
import type { WebSocketConnection, WebSocketPluginOptions } from 'fastify-websocket-stream'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const yes = <_T extends true>(): void => {}

const options: WebSocketPluginOptions = { maxPayload: 1 }
const overNats = async (): Promise<WebSocketPluginOptions> => ({ topics: { broker: natsBroker({ connection: await connect({ maxReconnectAttempts: -1 }) }) } })
const app = Fastify().withTypeProvider<TypeBoxTypeProvider>()
await app.register(websocket, options)
await app.register(fastifyWebsocket)
await app.register(import('fastify-websocket-stream'))
void overNats
// @ts-expect-error wrong option type
await app.register(websocket, { maxPayload: 'x' })
app.get('/x', { websocket: true, schema: { querystring: Type.Object({ a: Type.Number() }) } }, (connection, request) => {
  yes<Equal<typeof connection, WebSocketConnection>>()
  yes<Equal<typeof request.query.a, number>>()
})
app.route({
  method: 'GET',
  url: '/r',
  schema: { querystring: Type.Object({ b: Type.Boolean() }) },
  handler (request, reply) { yes<Equal<typeof request.query.b, boolean>>(); reply.send('x') },
  wsHandler (connection, request) {
    yes<Equal<typeof connection, WebSocketConnection>>()
    yes<Equal<typeof request.query.b, boolean>>()
  }
})
await app.register(asyncapi, { document: { info: { title: 'x' } }, transform: input => input })
app.get('/told', { websocket: true, schema: { tags: ['x'], hide: false } }, () => {})
const document = app.asyncapi()
const text = app.asyncapi({ yaml: true })
yes<Equal<typeof document, AsyncApiDocument>>()
yes<Equal<typeof text, string>>()
// @ts-expect-error a websocket handler gets no reply
app.get('/bad', { websocket: true }, (connection, request, reply) => {})
