// What schema.receive and schema.send say of a connection, by type provider or by hand.
import type { IncomingMessage } from 'node:http'
import { expectTypeOf } from 'expect-type'
import Fastify, { type FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { z } from 'zod'
import type { JsonSchemaToTsProvider } from '@fastify/type-provider-json-schema-to-ts'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import websocket, { connect, MessageError, prepare, SchemaError } from '../../lib/index.ts'
import type { InvalidMessage, MessageIssue, PreparedMessage, WebSocketConnection, WebSocketHandler } from '../../lib/index.ts'

const Move = Type.Object({ action: Type.Literal('move'), x: Type.Number(), y: Type.Number() })
const Leave = Type.Object({ action: Type.Literal('leave') })
const Moved = Type.Object({ event: Type.Literal('moved'), who: Type.String(), at: Type.Optional(Type.Number()) })
const Left = Type.Object({ event: Type.Literal('left'), who: Type.String() })
type Incoming = Static<typeof Move> | Static<typeof Leave>
type Outgoing = Static<typeof Moved> | Static<typeof Left>
const schema = { params: Type.Object({ game: Type.Integer() }), receive: Type.Union([Move, Leave]), send: Type.Union([Moved, Left]) }

const app = Fastify()
const typed = app.withTypeProvider<TypeBoxTypeProvider>()

// every way to read
typed.get('/read/:game', { websocket: true, schema }, async function (connection, request) {
  expectTypeOf(this).toExtend<FastifyInstance<any, any, any, any, any>>()
  expectTypeOf(connection).toEqualTypeOf<WebSocketConnection<Incoming, Outgoing>>()
  expectTypeOf(request.params.game).toEqualTypeOf<number>()
  for await (const message of connection) expectTypeOf(message).toEqualTypeOf<Incoming>()
  for await (const message of connection.iterator({ closeOnReturn: false })) expectTypeOf(message).toEqualTypeOf<Incoming>()
  for await (const message of connection.toWeb().readable) expectTypeOf(message).toEqualTypeOf<Incoming>()
  expectTypeOf(await connection.receive({ timeout: 5 })).toEqualTypeOf<Incoming | null>()
  connection.on('message', function (message, isBinary) {
    expectTypeOf(this).toEqualTypeOf<WebSocketConnection<Incoming, Outgoing>>()
    expectTypeOf(message).toEqualTypeOf<Incoming>()
    expectTypeOf(isBinary).toEqualTypeOf<false>()
    if (message.action === 'move') this.send({ event: 'moved', who: 'a', at: message.x })
  })
  connection.once('message', async message => { expectTypeOf(message).toEqualTypeOf<Incoming>() })
  connection.prependListener('message', message => { expectTypeOf(message).toEqualTypeOf<Incoming>() })
  connection.addEventListener('message', ({ data, target }) => {
    expectTypeOf(data).toEqualTypeOf<Incoming>()
    expectTypeOf(target).toEqualTypeOf<WebSocketConnection<Incoming, Outgoing>>()
  })
  connection.onmessage = ({ data }) => { expectTypeOf(data).toEqualTypeOf<Incoming>() }
  connection.emit('message', { action: 'leave' }, false)
  // what is no message is as it was
  connection.on('close', (code, reason) => { expectTypeOf(reason).toEqualTypeOf<Buffer>() })
  connection.on('ping', data => { expectTypeOf(data).toEqualTypeOf<Buffer>() })
})

// every way to write
typed.get('/write/:game', { websocket: true, schema }, connection => {
  connection.send({ event: 'left', who: 'a' })
  connection.send({ event: 'left', who: 'a' }, { compress: false }, error => { expectTypeOf(error).toEqualTypeOf<Error | undefined>() })
  const prepared = connection.prepare({ event: 'moved', who: 'a' }, { compress: false })
  expectTypeOf(prepared).toEqualTypeOf<PreparedMessage>()
  connection.send(prepared)
  connection.send(prepare('{}'))
  expectTypeOf(connection.publish('game', { event: 'left', who: 'a' })).resolves.toHaveProperty('position')
  void connection.publish('game', prepared, { compress: false })
  // @ts-expect-error no value of the schema
  void connection.publish('game', 'text')
  const writer = connection.toWeb().writable.getWriter()
  void writer.write(prepared)
  void writer.write({ event: 'left', who: 'a' })
  // @ts-expect-error no value of the schema
  void writer.write(5)
  // @ts-expect-error a property is missing
  connection.send({ event: 'moved' })
  // @ts-expect-error the value of a prepared message too
  connection.prepare({ event: 'moved' })
  // @ts-expect-error text is a value, and not this one
  connection.send('text')
  // @ts-expect-error bytes go out, but no type offers them
  connection.send(Buffer.alloc(1))
  // @ts-expect-error a value has no fragments
  connection.send({ event: 'left', who: 'a' }, { fin: false })
  // @ts-expect-error a value is text
  connection.send({ event: 'left', who: 'a' }, { binary: true })
})

// what a generator yields
typed.get('/yield/:game', { websocket: true, schema }, async function * (connection) {
  for await (const message of connection) {
    if (message.action === 'move') yield { event: 'moved', who: 'a' }
    else yield connection.prepare({ event: 'left', who: 'a' })
  }
})
// @ts-expect-error no member of the union
typed.get('/yield/unknown', { websocket: true, schema }, async function * (connection) { yield { event: connection.url } })
// @ts-expect-error text
typed.get('/yield/text', { websocket: true, schema }, async function * (connection) { yield connection.url })
app.get('/yield/raw', { websocket: true }, async function * (connection) { for await (const message of connection) yield message })
// @ts-expect-error not a message without a schema
app.get('/yield/value', { websocket: true }, async function * (connection) { yield { url: connection.url } })

// what others return
declare function nothing (): void
typed.get('/return/1', { websocket: true, schema }, connection => connection.on('message', () => {}))
typed.get('/return/2', { websocket: true, schema }, connection => connection.send({ event: 'left', who: 'a' }))
typed.get('/return/3', { websocket: true, schema }, connection => connection)
typed.get('/return/4', { websocket: true, schema }, async () => new Map())
typed.get('/return/5', { websocket: true, schema }, () => ({ a: 1 }))
typed.get('/return/6', { websocket: true, schema }, () => {})
typed.get('/return/7', { websocket: true, schema }, () => [1])
typed.get('/return/8', { websocket: true, schema }, () => () => {})
typed.get('/return/9', { websocket: true, schema }, async () => nothing())
typed.get('/return/10', { websocket: true, schema }, connection => { if (connection.isPaused) return; nothing() })
typed.get('/return/11', { websocket: true, schema }, function (_connection): void { nothing() })

// route()
typed.route({
  method: 'GET',
  url: '/route/:game',
  schema,
  handler (request, reply) {
    expectTypeOf(request.params.game).toEqualTypeOf<number>()
    reply.send('page')
  },
  wsHandler (connection, request) {
    expectTypeOf(connection).toEqualTypeOf<WebSocketConnection<Incoming, Outgoing>>()
    expectTypeOf(request.params.game).toEqualTypeOf<number>()
  }
})
typed.route({
  method: 'GET',
  url: '/route/generator/:game',
  schema,
  handler: async () => 'page',
  async * wsHandler (connection) {
    for await (const message of connection) if (message.action === 'move') yield { event: 'moved', who: 'a' }
  }
})
typed.route({
  method: 'GET',
  url: '/route/unknown',
  schema,
  handler: async () => 'page',
  // @ts-expect-error no member of the union
  async * wsHandler (connection) { yield { event: connection.url } }
})
typed.route({ method: 'GET', url: '/route/alone', schema, websocket: true, handler: connection => { expectTypeOf(connection.receive).returns.resolves.toEqualTypeOf<Incoming | null>() } })
typed.get('/options', { websocket: true, schema, handler: connection => { connection.send({ event: 'left', who: 'a' }) } })

// beside other options, and in a scope
typed.get('/hooks/:game', {
  schema,
  websocket: { maxPayload: 5 },
  preHandler: async request => { expectTypeOf(request.params.game).toEqualTypeOf<number>() }
}, connection => { expectTypeOf(connection).toEqualTypeOf<WebSocketConnection<Incoming, Outgoing>>() })
typed.register(async scope => {
  scope.withTypeProvider<TypeBoxTypeProvider>().get('/scope', { websocket: true, schema }, async connection => {
    expectTypeOf(await connection.receive()).toEqualTypeOf<Incoming | null>()
  })
})

// one direction: the other is as it was
typed.get('/receive', { websocket: true, schema: { receive: Move } }, async connection => {
  expectTypeOf(await connection.receive()).toEqualTypeOf<Static<typeof Move> | null>()
  connection.send('text')
  connection.send(Buffer.alloc(1), { binary: true })
  expectTypeOf(connection.prepare(Buffer.alloc(1), { binary: false })).toEqualTypeOf<PreparedMessage>()
})
typed.get('/send', { websocket: true, schema: { send: Moved } }, async connection => {
  expectTypeOf(await connection.receive()).toEqualTypeOf<string | Buffer | null>()
  connection.on('message', (data, isBinary) => {
    expectTypeOf(data).toEqualTypeOf<Buffer>()
    expectTypeOf(isBinary).toEqualTypeOf<boolean>()
  })
  connection.send({ event: 'moved', who: 'a' })
})

// json-schema-to-ts
const literal = app.withTypeProvider<JsonSchemaToTsProvider>()
literal.get('/literal', {
  websocket: true,
  schema: {
    receive: {
      anyOf: [
        { type: 'object', properties: { action: { const: 'move' }, x: { type: 'number' } }, required: ['action', 'x'], additionalProperties: false },
        { type: 'object', properties: { action: { const: 'leave' } }, required: ['action'], additionalProperties: false }
      ]
    },
    send: { type: 'object', properties: { who: { type: 'string' } }, required: ['who'], additionalProperties: false }
  }
}, async function * (connection) {
  for await (const message of connection) {
    expectTypeOf(message).toEqualTypeOf<{ action: 'move', x: number } | { action: 'leave' }>()
    if (message.action === 'move') yield { who: String(message.x) }
  }
})
const who = { type: 'object', properties: { who: { type: 'string' } }, required: ['who'] } as const
// @ts-expect-error a number is no string
literal.get('/literal/wrong', { websocket: true, schema: { send: who } }, async function * (connection) { yield { who: connection.readyState } })

// zod: what comes in is what its transforms give
const zod = app.withTypeProvider<ZodTypeProvider>()
zod.get('/zod', {
  websocket: true,
  schema: {
    receive: z.discriminatedUnion('action', [z.object({ action: z.literal('move'), x: z.coerce.number() }), z.object({ action: z.literal('leave') })]),
    send: z.object({ at: z.date() })
  }
}, async connection => {
  for await (const message of connection) {
    expectTypeOf(message).toEqualTypeOf<{ action: 'move', x: number } | { action: 'leave' }>()
    connection.send({ at: new Date() })
    // @ts-expect-error not a Date
    connection.send({ at: 1 })
  }
})

// without a provider: unknown, and not any
app.get('/unknown', { websocket: true, schema: { receive: { type: 'object' }, send: { type: 'object' } } }, async connection => {
  expectTypeOf(await connection.receive()).toEqualTypeOf<unknown>()
  connection.on('message', message => { expectTypeOf(message).toEqualTypeOf<unknown>() })
  connection.send({ anything: 1 })
})
app.get<{ Receive: { a: 1 }, Send: { b: 2 } }>('/by-hand', { websocket: true, schema: { receive: {}, send: {} } }, async connection => {
  expectTypeOf(connection).toEqualTypeOf<WebSocketConnection<{ a: 1 }, { b: 2 }>>()
})
const byHand: WebSocketHandler<typeof app.server, IncomingMessage, { Receive: { a: 1 } }> = async connection => {
  expectTypeOf(await connection.receive()).toEqualTypeOf<{ a: 1 } | null>()
}
app.get<{ Receive: { a: 1 } }>('/by-hand/elsewhere', { websocket: true }, byHand)

// routes without the two keys
app.get('/raw', { websocket: true }, (connection, request) => {
  expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>()
  expectTypeOf(request.url).toEqualTypeOf<string>()
  expectTypeOf(connection.prepare('x', { binary: true })).toEqualTypeOf<PreparedMessage>()
})
app.get('/undefined', { websocket: true, schema: { receive: undefined, send: undefined } }, connection => { expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>() })
app.get('/http', { schema: { querystring: {} } }, (request, reply) => { reply.send(request.url) })

// helpers
declare function takesRaw (connection: WebSocketConnection): void
declare function takesAny (connection: WebSocketConnection<any, any>): void
typed.get('/helpers', { websocket: true, schema }, connection => {
  // @ts-expect-error send() of a typed connection takes no text
  takesRaw(connection)
  takesAny(connection)
})
app.get('/helpers/raw', { websocket: true }, connection => {
  takesRaw(connection)
  takesAny(connection)
})
expectTypeOf(connect('ws://localhost')).resolves.toEqualTypeOf<WebSocketConnection>()

// what becomes of the rest
app.register(websocket, {
  async onInvalidMessage (error, connection, request) {
    expectTypeOf(this).toExtend<FastifyInstance>()
    expectTypeOf(error).toEqualTypeOf<InvalidMessage>()
    expectTypeOf(error.validation).toEqualTypeOf<readonly MessageIssue[] | undefined>()
    expectTypeOf(error.data).toEqualTypeOf<Buffer>()
    connection.send({ error: error.message, url: request.url })
  }
})
typed.get('/answers', { websocket: { onInvalidMessage: (error, connection) => { connection.close(4400, error.message) } }, schema }, () => {})
expectTypeOf<MessageError>().toExtend<InvalidMessage>()
expectTypeOf<SchemaError['code']>().toEqualTypeOf<string>()
