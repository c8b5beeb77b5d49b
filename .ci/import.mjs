import assert from 'node:assert'
import Fastify from 'fastify'
import websocket, { fastifyWebsocket, FrameParser } from 'fastify-websocket-stream'
import * as namespace from 'fastify-websocket-stream'
import asyncapi from 'fastify-websocket-stream/asyncapi'
import { mqemitterBroker } from 'fastify-websocket-stream/mqemitter'
import { natsBroker } from 'fastify-websocket-stream/nats'
import { redisBroker } from 'fastify-websocket-stream/redis'

assert.strictEqual(websocket, fastifyWebsocket)
assert.strictEqual(typeof FrameParser, 'function')
assert.throws(() => mqemitterBroker({ emitter: {} }), { code: 'FST_WS_TOPICS_OPTION' })
assert.throws(() => natsBroker({ connection: {} }), { code: 'FST_WS_TOPICS_OPTION' })
assert.throws(() => redisBroker({ client: {} }), { code: 'FST_WS_TOPICS_OPTION' })
for (const plugin of [websocket, namespace, import('fastify-websocket-stream')]) {
  const app = Fastify()
  app.register(plugin)
  app.register(asyncapi)
  await app.ready()
  assert.strictEqual(app.websocketServer.clients.size, 0)
  assert.strictEqual(app.asyncapi().asyncapi, '3.1.0')
  await app.close()
}
