// Topics and messages by schema together.
import { Type } from 'typebox'
import { test } from 'tap'
import Fastify from 'fastify'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import websocket, { prepare, type WebSocketConnection } from '../../lib/index.ts'

const Said = Type.Object({ type: Type.Literal('said'), text: Type.String() })

test('a connection publishes values by the schema of its own route, once for all, and subscribers of any route get the text', async t => {
  const app = Fastify().withTypeProvider<TypeBoxTypeProvider>()
  t.teardown(() => app.close())
  await app.register(websocket)
  const publish: Array<(value: { type: 'said', text: string }) => Promise<unknown>> = []
  const publishers: Array<WebSocketConnection<any, any>> = []
  app.get('/typed', { websocket: true, schema: { send: Said } }, connection => {
    publish.push(value => connection.publish('room', value))
    publishers.push(connection)
  })
  app.get('/raw', { websocket: true }, async connection => { await connection.subscribe('room') })
  await app.injectWS('/typed')
  const reader = await app.injectWS('/raw')
  await publish[0]!({ type: 'said', text: 'hello', secret: 1 } as { type: 'said', text: string })
  t.equal(await reader.receive(), '{"type":"said","text":"hello"}', 'what is not in the schema does not leave')
  const [publisher] = publishers
  await publisher!.publish('room', prepare('as it is'))
  t.equal(await reader.receive(), 'as it is')
  await publisher!.publish('room', Buffer.from([1]))
  t.strictSame(await reader.receive(), Buffer.from([1]))
  t.throws(() => publisher!.publish('room', { type: 'said', text: 'a' }, { binary: true } as never), { code: 'FST_WS_TYPED' })
  t.throws(() => publisher!.publish('room', 5n as never), { code: 'FST_WS_SERIALIZATION' })
})
