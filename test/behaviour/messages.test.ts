// Messages by schema: what a route reads and writes where schema.receive and schema.send say it.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import Fastify, { LogController, type FastifyInstance, type FastifySchema } from 'fastify'
import { test, type Test } from 'tap'
import { Type } from 'typebox'
import websocket, { ConnectionClosedError, MessageError, prepare } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions, WebSocketRouteOptions } from '../../types/options.ts'
import { gate, turn } from '../helpers/app.ts'
import { integer, random } from '../helpers/random.ts'
import { binary, close, openRawClient, text, type RawClient } from '../helpers/raw-client.ts'

type Typed = WebSocketConnection<any, any>
type Handler = (this: FastifyInstance, connection: Typed) => any
interface Line { level: number, msg: string, line: string, [name: string]: unknown }

const N = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'], additionalProperties: false }
const n = (value: number): Buffer => text(JSON.stringify({ n: value }))
const INVALID = text('{"n":"x"}')
const VERDICT = 'message/n must be integer'

interface Started {
  app: FastifyInstance
  client: RawClient
  connection: Typed
  /** What was logged. */
  lines: Line[]
}

/** An app with one such route, and one connection to it. */
async function start (
  t: Test, schema: FastifySchema, handler: Handler, options: WebSocketRouteOptions = {}, plugin: WebSocketPluginOptions = {}
): Promise<Started> {
  const lines: Line[] = []
  const stream = {
    write (line: string) {
      const entry = JSON.parse(line) as Line
      if (!/^(Server listening|incoming request|request completed)/.test(entry.msg)) lines.push({ ...entry, line })
    }
  }
  const app = Fastify({ logger: { level: 'debug', stream } })
  t.teardown(() => app.close())
  // a raw client does not end its side when it is told to
  await app.register(websocket, { closeTimeout: 50, shutdownTimeout: 1000, ...plugin })
  const connected = gate<Typed>()
  app.websocketServer.once('connection', connected.open)
  app.get('/', { websocket: options, schema }, handler as () => void)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = await openRawClient(t, (app.server.address() as AddressInfo).port)
  return { app, client, connection: await connected.opened, lines }
}

/** The ways to read a connection: each tells of every value, and throws what reading throws. */
const WAYS: Record<string, (connection: Typed, tell: (value: any) => unknown) => unknown> = {
  async 'for await' (connection, tell) { for await (const value of connection) await tell(value) },
  async 'iterator()' (connection, tell) { for await (const value of connection.iterator({ closeOnReturn: false })) await tell(value) },
  async 'receive()' (connection, tell) { for (let value = await connection.receive(); value !== null; value = await connection.receive()) await tell(value) },
  "'message'": (connection, tell) => { connection.on('message', value => tell(value)) },
  addEventListener: (connection, tell) => { connection.addEventListener('message', ({ data }) => tell(data)) },
  onmessage: (connection, tell) => { connection.onmessage = ({ data }) => tell(data) },
  async 'toWeb()' (connection, tell) { for await (const value of connection.toWeb().readable) await tell(value) },
  async 'toDuplex()' (connection, tell) { for await (const value of connection.toDuplex({ objectMode: true })) await tell(value) }
}
const PULLS = new Set(['for await', 'iterator()', 'toWeb()', 'toDuplex()'])

for (const [way, read] of Object.entries(WAYS)) {
  test(`${way} gives values, up to what is invalid, which fails the connection with 1007`, async t => {
    const values: unknown[] = []
    const failed = gate<Error | null>()
    const { client, connection } = await start(t, { receive: N }, async connection => {
      try {
        await read(connection, value => { values.push(value) })
        if (PULLS.has(way)) failed.open(null)
      } catch (error) {
        failed.open(error as Error)
      }
    })
    const errors: Error[] = []
    connection.on('error', error => { errors.push(error) })
    client.write(n(1), text('{"n":"2","more":true}'), INVALID, n(4))
    t.strictSame(await client.rest(), [`close 1007 ${VERDICT}`])
    t.strictSame(values, [{ n: 1 }, { n: 2 }])
    t.match(errors, [{ name: 'MessageError', code: 'FST_WS_VALIDATION', closeCode: 1007 }])
    t.equal(errors.length, 1)
    t.match(await connection.closed, { code: 1006, sent: { code: 1007, reason: VERDICT }, cause: 'protocol', wasClean: false })
    if (!PULLS.has(way)) return
    const error = await failed.opened
    t.ok(error instanceof ConnectionClosedError)
    t.equal(error!.cause, errors[0])
  })
}

test('the message that a reader waits for is decoded once for it and the listeners beside it', async t => {
  const seen: unknown[] = []
  const { client } = await start(t, { receive: N }, async connection => {
    connection.on('message', (value, isBinary) => { seen.push(value, isBinary) })
    connection.addEventListener('message', ({ data, target }) => { seen.push(data, target === connection) })
    for await (const value of connection) seen.push(value)
  })
  client.write(n(1))
  await client.roundTrip()
  t.equal(seen.length, 5)
  const [first, isBinary, second, isTarget, third] = seen
  t.strictSame([first, isBinary, isTarget], [{ n: 1 }, false, true])
  t.equal(first, second)
  t.equal(first, third)
})

test('messages are decoded when they are delivered: what waits is bytes, and may never be looked at', async t => {
  const ready = gate()
  const { client, connection } = await start(t, { receive: N }, async connection => {
    await ready.opened
    t.strictSame(await connection.receive(), { n: 1 })
    connection.close(4000)
  })
  client.write(n(1), INVALID, n(2))
  await client.roundTrip()
  t.equal(connection.readyState, connection.OPEN)
  ready.open()
  client.write(close(4000))
  t.strictSame(await client.rest(), ['close 4000'])
})

test('what cannot be read as a value has a close code of its own, and a reason in whole characters', async t => {
  const cases: Array<[message: Buffer, receive: object, answer: string | RegExp]> = [
    [text('nope'), N, /^close 1007 message is not JSON: Unexpected token/],
    [text(''), N, /^close 1007 message is not JSON/],
    [text('{"__proto__":{"n":1},"n":1}'), N, /^close 1007 message is not JSON: it cannot be parsed, or has a key/],
    [text('[]'), N, 'close 1007 message must be object'],
    [text('{}'), N, "close 1007 message must have required property 'n'"],
    [text('null'), {}, 'close 1007 message must not be null'],
    [binary('{"n":1}'), N, 'close 1003 binary messages are not allowed: a schema requires JSON'],
    [text(JSON.stringify({ ['\u{1F600}'.repeat(100)]: 'x' })), { type: 'object', additionalProperties: { type: 'integer' } }, /^close 1007 message\/(\u{1F600})+\.\.\.$/u]
  ]
  for (const [message, receive, answer] of cases) {
    const { client } = await start(t, { receive }, connection => { connection.on('message', () => t.fail()) })
    client.write(message)
    const [frame, ...rest] = await client.rest()
    t.match(frame, answer)
    t.notMatch(frame, /\ufffd/)
    t.ok(Buffer.byteLength(frame!.slice('close 1007 '.length)) <= 123)
    t.strictSame(rest, [])
  }
})

test('an invalid message is seen on the channel, and in the log by nothing but the line of the close', async t => {
  const published: any[] = []
  const listener = (message: unknown): void => { published.push(message) }
  subscribe('fastify-websocket-stream:error', listener)
  t.teardown(() => unsubscribe('fastify-websocket-stream:error', listener))
  for (const handler of [(connection: Typed) => { connection.on('message', () => {}) }, async (connection: Typed) => { for await (const value of connection) t.fail(value) }]) {
    const { app, client, connection, lines } = await start(t, { receive: { type: 'object', propertyNames: { maxLength: 3 } } }, handler)
    client.write(text(JSON.stringify({ ['\0'.repeat(5000)]: 1 })))
    await client.rest()
    await connection.closed
    await app.close()
    const told = lines.filter(({ level }) => level > 20)
    t.match(told, [{ level: 30, msg: 'WebSocket closed', cause: 'protocol', sent: { code: 1007 } }])
    t.equal(told.length, 1)
    for (const { line } of lines) t.ok(Buffer.byteLength(line) <= 2048, `${Buffer.byteLength(line)}: ${line}`)
    t.match(published.splice(0), [{ connection, error: { code: 'FST_WS_VALIDATION' } }])
  }
})

test('a log line of an invalid message takes less than 2 KiB, whatever came', async t => {
  const strings = ['x', '\0', '"', '\u00e9', '\u{1F600}'].map(character => character.repeat(20_000))
  const schema = Type.Union([
    Type.Object({ type: Type.Literal('a'), at: Type.Record(Type.String(), Type.Integer()), list: Type.Array(Type.Integer()) }, { additionalProperties: false }),
    Type.Object({ type: Type.Literal('b') })
  ])
  const { app, client, lines } = await start(t, { receive: schema }, connection => { connection.on('message', () => t.fail()) }, {
    onInvalidMessage (error, connection, request) {
      request.log.error({ err: error }, 'invalid')
      request.log.error(error)
      connection.send('logged')
    }
  })
  const messages = strings.flatMap(string => [
    string, JSON.stringify(string), JSON.stringify({ type: string }), JSON.stringify({ type: 'a', at: { [string]: string }, list: [] }),
    JSON.stringify({ type: 'a', at: {}, list: [string, string] }), JSON.stringify({ [string]: 1, type: 'a' })
  ])
  client.write(...messages.map(text))
  t.strictSame(new Set(await client.take(messages.length)), new Set(['text logged']))
  await app.close()
  t.equal(lines.filter(({ level }) => level === 50).length, 2 * messages.length)
  for (const { line } of lines) t.ok(Buffer.byteLength(line) <= 2048, `${Buffer.byteLength(line)}: ${line}`)
})

test('what came before an invalid message is answered before the connection fails', async t => {
  const ready = gate()
  const { client } = await start(t, { receive: N, send: N }, async function * (connection) {
    for await (const { n } of connection) {
      await ready.opened
      yield { n: n + 1 }
    }
  })
  client.write(n(1), n(2), INVALID, n(3))
  await client.roundTrip()
  ready.open()
  t.strictSame(await client.rest(), ['text {"n":2}', 'text {"n":3}', `close 1007 ${VERDICT}`])
})

test('held messages are decoded after the peer has gone, and what is invalid among them is told to the reader', async t => {
  const ready = gate()
  const done = gate<Error>()
  const values: unknown[] = []
  const { client, connection } = await start(t, { receive: N }, async connection => {
    await ready.opened
    try { for await (const value of connection) values.push(value) } catch (error) { done.open(error as Error) }
  })
  client.write(n(1), INVALID, n(2))
  await client.roundTrip()
  client.destroy()
  if (!connection.signal.aborted) await once(connection.signal, 'abort')
  ready.open()
  t.match(await done.opened, { name: 'ConnectionClosedError', cause: { code: 'FST_WS_VALIDATION' } })
  t.strictSame(values, [{ n: 1 }])
  t.match(await connection.closed, { code: 1006 })
})

test('an invalid message behind a local close() ends the closing handshake', async t => {
  const { client, connection } = await start(t, { receive: N }, connection => {
    connection.on('message', () => t.fail())
    connection.close(4001)
  })
  t.strictSame(await client.take(1), ['close 4001'])
  client.write(INVALID, close(4001))
  t.match(await connection.closed, { code: 1006, sent: { code: 4001 }, cause: 'local' })
})

test('maxPayload counts before anything is decoded', async t => {
  const { client } = await start(t, { receive: N }, connection => { connection.on('message', () => t.fail()) }, { maxPayload: 8 })
  client.write(INVALID)
  t.match(await client.rest(), [/^close 1009/])
})

// onInvalidMessage

test('onInvalidMessage gets what is invalid, and nothing else happens', async t => {
  const calls: Array<[boolean, MessageError, boolean, string]> = []
  const options: WebSocketRouteOptions = {
    onInvalidMessage (error, connection, request) {
      calls.push([typeof this.inject === 'function', error as MessageError, connection === started.connection, request.url])
      connection.send({ n: calls.length })
    }
  }
  for (const [of, route, plugin] of [['the route', options, {}], ['the registration', {}, options]] as const) {
    calls.length = 0
    const values: unknown[] = []
    started = await start(t, { receive: N, send: N }, connection => { connection.on('message', value => { values.push(value) }) }, route, plugin)
    started.client.write(n(1), INVALID, text('nope'), binary('x'), n(2))
    t.strictSame(await started.client.take(3), ['text {"n":1}', 'text {"n":2}', 'text {"n":3}'], of)
    await started.client.roundTrip()
    t.strictSame(values, [{ n: 1 }, { n: 2 }])
    t.match(calls, [[true, { code: 'FST_WS_VALIDATION', message: VERDICT, data: Buffer.from('{"n":"x"}'), validation: [{ keyword: 'type', instancePath: '/n' }] }, true, '/'],
      [true, { code: 'FST_WS_JSON' }, true, '/'], [true, { code: 'FST_WS_BINARY', closeCode: 1003 }, true, '/']])
    t.ok(calls.every(([, error]) => error instanceof MessageError))
    t.equal(started.connection.readyState, 1)
  }
})
let started: Started

for (const [way, read] of Object.entries(WAYS)) {
  test(`until onInvalidMessage has settled ${way} gives nothing more, the peer's Close waits, and then the peer`, async t => {
    const called = gate()
    const settled = gate()
    const values: unknown[] = []
    const { client, connection } = await start(t, { receive: N }, connection => read(connection, value => { values.push(value) }), {
      highWaterMark: 2000,
      async onInvalidMessage () {
        called.open()
        await settled.opened
      }
    })
    client.write(n(1), INVALID, n(2))
    await called.opened
    client.write(...Array.from({ length: 20 }, (_, i) => n(i + 3)), close(1000))
    while (connection._socket?.isPaused() === false) await turn()
    for (let i = 0; i < 5; i++) await turn()
    t.strictSame(values, [{ n: 1 }])
    t.strictSame(client.frames, [])
    settled.open()
    t.strictSame(await client.rest(), ['close 1000'])
    t.strictSame(values, Array.from({ length: 22 }, (_, i) => ({ n: i + 1 })))
  })
}

test('an answer of onInvalidMessage goes out before the peer\'s Close is answered', async t => {
  const settled = gate()
  const { client } = await start(t, { receive: N }, connection => { connection.on('message', () => t.fail()) }, {
    async onInvalidMessage ({ message }, connection) {
      await settled.opened
      connection.send(message)
    }
  })
  client.write(INVALID, close(1000))
  for (let i = 0; i < 5; i++) await turn()
  t.strictSame(client.frames, [])
  settled.open()
  t.strictSame(await client.rest(), [`text ${VERDICT}`, 'close 1000'])
})

test('an app that logs nothing of a request asks onInvalidMessage too', async t => {
  const app = Fastify({ logController: new LogController({ disableRequestLogging: true }) })
  t.teardown(() => app.close())
  await app.register(websocket, { onInvalidMessage ({ message }, connection) { connection.send(message) } })
  app.get('/', { websocket: true, schema: { receive: N } }, connection => { connection.on('message', () => t.fail()) })
  const client = await app.injectWS('/')
  client.send('{"n":"x"}')
  t.equal(await client.receive(), VERDICT)
})

test('the peer\'s Close does not wait for onInvalidMessage longer than closeTimeout, nor after a local close()', async t => {
  for (const [closes, closeTimeout] of [[true, 60_000], [false, 50]] as const) {
    const { client, connection } = await start(t, { receive: N }, connection => { connection.on('message', () => t.fail()) }, {
      closeTimeout,
      onInvalidMessage (_error, connection) {
        if (closes) connection.close(4000)
        return new Promise(() => {})
      }
    })
    client.write(INVALID, close(4000))
    t.strictSame(await client.rest(), ['close 4000'])
    client.end()
    t.match(await connection.closed, { code: 4000, wasClean: true })
  }
})

test('what onInvalidMessage throws or rejects with goes to the errorHandler, or closes with 1011', async t => {
  const oops = new Error('oops')
  for (const fails of [() => { throw oops }, async () => { throw oops }]) {
    const failed: unknown[] = []
    const handled = await start(t, { receive: N, send: N }, connection => { connection.on('message', value => { connection.send(value) }) }, {
      onInvalidMessage: fails, errorHandler: error => { failed.push(error) }
    })
    handled.client.write(INVALID, n(1))
    t.strictSame(await handled.client.take(1), ['text {"n":1}'])
    t.strictSame(failed, [oops])

    const { client, lines, connection } = await start(t, { receive: N }, connection => { connection.on('message', () => t.fail()) }, { onInvalidMessage: fails })
    client.write(INVALID, n(1))
    t.strictSame(await client.rest(), ['close 1011'])
    await connection.closed
    t.match(lines.filter(({ level }) => level === 50), [{ err: { message: 'oops' }, msg: 'a WebSocket handler or listener failed' }])
  }
})

// Validators that fail

test('a validator that throws, or returns a promise, is an error of the application', async t => {
  const oops = new TypeError('oops')
  for (const [validate, expected] of [[() => { throw oops }, { message: 'oops' }], [async () => true, { code: 'FST_WS_ASYNC_VALIDATOR' }]] as const) {
    for (const read of [WAYS['for await']!, WAYS["'message'"]!]) {
      const failed: unknown[] = []
      const started = gate<Typed>()
      const app = Fastify()
      t.teardown(() => app.close())
      await app.register(websocket, { errorHandler: error => { failed.push(error) }, onInvalidMessage: () => t.fail() })
      app.get('/', { websocket: true, schema: { receive: {} }, validatorCompiler: () => validate as () => boolean }, connection => {
        started.open(connection)
        return read(connection, () => t.fail()) as Promise<void>
      })
      const client = await app.injectWS('/')
      client.send('5')
      client.send('5')
      t.match(await client.closed, { code: 1011 })
      t.match(failed, [expected])
      t.equal(failed.length, 1)
    }
  }
})

test('a reason of a validator that is too long for a Close frame ends with a whole character', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(websocket)
  for (const length of [90, 91, 92, 93]) {
    const validate = (): never => { throw new RangeError(`${'a'.repeat(length)}\u{1F600}\u{1F600}\u{1F600}`) }
    app.get(`/${length}`, { websocket: true, schema: { receive: {} }, validatorCompiler: () => validate }, connection => { connection.on('message', () => t.fail()) })
  }
  for (const length of [90, 91, 92, 93]) {
    const client = await app.injectWS(`/${length}`)
    client.send('5')
    t.match(await client.closed, { code: 1007, reason: /^message cannot be validated: a+\u{1F600}?$/u })
  }
})

test('a message that is nested too deeply for its validator is invalid', async t => {
  const tree = { type: 'object', properties: { of: { type: 'array', items: { $ref: '#/$defs/tree' } } } }
  const receive = { $defs: { tree }, $ref: '#/$defs/tree' }
  const { client, connection, lines } = await start(t, { receive }, connection => { connection.on('message', () => t.fail()) })
  client.write(text('{"of":['.repeat(20_000) + ']}'.repeat(20_000)))
  t.match(await client.rest(), [/^close 1007 message cannot be validated: Maximum call stack/])
  await connection.closed
  t.strictSame(lines.filter(({ level }) => level > 30), [])
})

// What is for text and bytes

test('views of bytes are refused where values are received, and leave no reader behind', async t => {
  const { client } = await start(t, { receive: N }, async connection => {
    const views: Array<() => unknown> = [() => connection.toDuplex(), () => connection.toDuplex({ objectMode: false }), () => connection.messageStreams()]
    for (const view of views) t.throws(view, { name: 'SchemaError', code: 'FST_WS_TYPED', message: /schema\.receive/ })
    t.strictSame(await connection.receive(), { n: 1 })
    // the other direction is as it was
    connection.send('text')
    connection.send(Buffer.from('bytes'))
    connection.createMessageStream({ binary: false }).end('stream')
    connection.send(connection.prepare('prepared', { binary: true } as object))
  })
  client.write(n(1))
  t.strictSame(await client.take(4), ['text text', 'binary bytes', 'text stream', 'binary prepared'])
})

test('binaryType means nothing where values are received', async t => {
  const { client, connection } = await start(t, { receive: N, send: N }, connection => { connection.on('message', value => { connection.send(value) }) })
  connection.binaryType = 'arraybuffer'
  client.write(n(1), binary('x'))
  t.match(await client.rest(), ['text {"n":1}', /^close 1003/])
})

test('where values are sent, messages are read as text and bytes', async t => {
  const { client } = await start(t, { send: N }, async connection => {
    for await (const message of connection) connection.send({ n: message.length, kind: typeof message })
  })
  client.write(text('text'), binary('bytes'))
  t.strictSame(await client.take(2), ['text {"n":4}', 'text {"n":5}'])
})

// Every way to write

const WRITES: Record<string, (connection: Typed, ...values: unknown[]) => unknown> = {
  'send()': (connection, ...values) => { for (const value of values) connection.send(value) },
  'toWeb()': async (connection, ...values) => {
    const writer = connection.toWeb().writable.getWriter()
    for (const value of values) await writer.write(value)
  },
  'toDuplex()': (connection, ...values) => {
    const stream = connection.toDuplex({ objectMode: true })
    for (const value of values) stream.write(value)
  },
  'a pipeline into toDuplex()': (connection, ...values) => pipeline(values, connection.toDuplex({ objectMode: true })),
  async * yield (_connection, ...values) { yield * values }
}

for (const [way, write] of Object.entries(WRITES)) {
  test(`${way} serializes by the schema; bytes and what is prepared go out as they are`, async t => {
    const { client } = await start(t, { send: N }, connection => {
      return write(connection, { n: 1, secret: 2 }, Buffer.from('bytes'), new Uint8Array([97]), connection.prepare({ n: 2, secret: 2 }), prepare('any text'), { n: 3, length: 1e9 })
    })
    t.strictSame(await client.take(6), ['text {"n":1}', 'binary bytes', 'binary a', 'text {"n":2}', 'text any text', 'text {"n":3}'])
  })

  test(`a value that cannot be serialized is an error of ${way}, and the peer sees 1011`, async t => {
    for (const value of [{}, { n: 'x' }]) {
      const errors: unknown[] = []
      const { client, connection } = await start(t, { send: { ...N, properties: { n: { type: 'integer' } } } }, connection => write(connection, { n: 1 }, value, { n: 2 }), {
        errorHandler (error) {
          errors.push(error)
          throw error
        }
      })
      t.strictSame(await client.rest(), ['text {"n":1}', 'close 1011'])
      await connection.closed
      t.match(errors, [{ name: 'SchemaError', code: 'FST_WS_SERIALIZATION', cause: Error }])
      t.equal(errors.length, 1)
    }
  })
}

test('a value that a WritableStream refuses ends its connection, whoever catches that', async t => {
  const { client } = await start(t, { send: N }, async connection => {
    await t.rejects(connection.toWeb().writable.getWriter().write({}), { code: 'FST_WS_SERIALIZATION' })
  })
  t.strictSame(await client.rest(), ['close 1011'])
})

test('a string is a value, and so are numbers, lists and what is false', async t => {
  const { client } = await start(t, { send: {} }, connection => { for (const value of ['text', 5, [1, 'a'], false, null, '']) connection.send(value) })
  t.strictSame(await client.take(6), ['text "text"', 'text 5', 'text [1,"a"]', 'text false', 'text null', 'text ""'])
})

test('a typed send() has its callback, its return value and its place in the queue as ever', async t => {
  const called = gate<unknown[]>()
  const { client } = await start(t, { send: N }, async connection => {
    let flow = true
    const results: unknown[] = []
    connection.send({ n: 0 }, error => { results.push(error) })
    connection.send({ n: 0 }, { compress: false }, () => { called.open(results) })
    for (let i = 1; flow; i++) flow = connection.send({ n: i })
    t.equal(await connection.drained(), true)
    connection.send({ n: -1 })
  }, { highWaterMark: 1000 })
  const frames = await client.take(20)
  t.strictSame(frames.slice(0, 4), ['text {"n":0}', 'text {"n":0}', 'text {"n":1}', 'text {"n":2}'])
  t.strictSame(await called.opened, [undefined])
})

test('what is not for values is refused where values are sent', async t => {
  const { client } = await start(t, { send: N }, connection => {
    for (const act of [
      () => connection.send({ n: 1 }, { binary: true } as object), () => connection.send({ n: 1 }, { fin: false } as object),
      () => connection.send(Buffer.from('x'), { binary: false } as object), () => connection.prepare({ n: 1 }, { binary: true } as object),
      () => connection.createMessageStream(), () => connection.toDuplex({ objectMode: true, binary: false })
    ]) t.throws(act, { name: 'SchemaError', code: 'FST_WS_TYPED' })
    t.throws(() => connection.prepare({}), { code: 'FST_WS_SERIALIZATION' })
    t.throws(() => connection.prepare(new Blob(['x'])), TypeError)
    connection.send({ n: 1 })
  })
  t.strictSame(await client.take(1), ['text {"n":1}'])
})

test('a stream of bytes may be read where values are sent, and a write to it closes with 1011', async t => {
  const failed = gate<Error>()
  const { client } = await start(t, { send: N }, async connection => {
    const stream = connection.toDuplex()
    stream.on('error', failed.open)
    stream.once('data', data => { stream.write(data) })
  })
  client.write(text('x'))
  t.strictSame(await client.rest(), ['close 1011'])
  t.match(await failed.opened, { code: 'FST_WS_TYPED' })
})

test('nothing is serialized for a connection that is closing or closed', async t => {
  const { client, connection } = await start(t, { send: N }, connection => { connection.close(4000) })
  const error = await new Promise<Error | undefined>(resolve => { t.equal(connection.send({}, resolve), false) })
  t.ok(error instanceof ConnectionClosedError)
  client.write(close(4000))
  await connection.closed
  t.equal(connection.send({}), false)
})

test('a prepared value goes to connections of any route', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(websocket, { perMessageDeflate: { threshold: 0 } })
  app.get('/raw', { websocket: true }, () => {})
  app.get('/typed', { websocket: true, schema: { receive: N, send: N } }, () => {})
  app.get('/publish', { websocket: true, schema: { send: { type: 'object', properties: { news: { type: 'string' } } } } }, connection => {
    const message = connection.prepare({ news: 'good', source: 'secret' })
    for (const client of app.websocketServer.clients) client.send(message)
  })
  const clients = [await app.injectWS('/raw'), await app.injectWS('/typed'), await app.injectWS('/publish')]
  for (const client of clients) t.equal(await client.receive(), '{"news":"good"}')
})

test('what is published is serialized by the schema of its publisher, whatever the routes of those who get it say', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(websocket)
  const subscribe = async (connection: Typed): Promise<void> => { await connection.subscribe('news') }
  app.get('/raw', { websocket: true }, subscribe)
  app.get('/typed', { websocket: true, schema: { receive: N, send: N } }, subscribe)
  app.get('/publish', { websocket: true, schema: { send: { type: 'object', properties: { news: { type: 'string' } }, required: ['news'] } } }, (connection: Typed) => {
    connection.on('message', async () => {
      await connection.publish('news', { news: 'good', source: 'secret' })
      await connection.publish('news', connection.prepare({ news: 'better' }), { compress: false })
      await connection.publish('news', Buffer.from('bytes'))
      t.throws(() => connection.publish('news', {}), { code: 'FST_WS_SERIALIZATION' })
      t.throws(() => connection.publish('news', { news: 'x' }, { binary: true } as object), { code: 'FST_WS_TYPED' })
    })
  })
  const [raw, typed, publisher] = [await app.injectWS('/raw'), await app.injectWS('/typed'), await app.injectWS('/publish')]
  while (app.websocketServer.topics.subscribers('news') < 2) await turn()
  publisher.send('go')
  for (const client of [raw, typed]) {
    t.strictSame([await client.receive(), await client.receive(), await client.receive()], ['{"news":"good"}', '{"news":"better"}', Buffer.from('bytes')])
  }
})

// Random inputs

const MEMBERS = [
  Type.Object({ type: Type.Literal('say'), text: Type.String({ maxLength: 5 }), to: Type.Optional(Type.Array(Type.Integer())) }, { additionalProperties: false }),
  Type.Object({ type: Type.Literal('move'), x: Type.Integer({ minimum: 0 }), y: Type.Optional(Type.Integer()) }, { additionalProperties: false }),
  Type.Object({ type: Type.Literal('leave') }, { additionalProperties: false })
]

/** By hand, as the schemas say it. */
function isMember (value: any): boolean {
  const keys = (allowed: string[]): boolean => Object.keys(value as object).every(key => allowed.includes(key))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  switch (value.type) {
    case 'say': return keys(['type', 'text', 'to']) && typeof value.text === 'string' && value.text.length <= 5 &&
      (value.to === undefined || (Array.isArray(value.to) && value.to.every(Number.isInteger)))
    case 'move': return keys(['type', 'x', 'y']) && Number.isInteger(value.x) && value.x >= 0 && (value.y === undefined || Number.isInteger(value.y))
    case 'leave': return keys(['type'])
    default: return false
  }
}

/** Something that may be a message: JSON that is nearly right, with bytes changed here and there. */
function input (next: () => number): Buffer {
  const any = (depth: number): unknown => {
    const options: Array<() => unknown> = [() => 'say', () => 'move', () => 'leave', () => integer(next, -2, 9), () => '', () => 'longer than five', () => null, () => true, () => '5',
      () => next(), () => Array.from({ length: integer(next, 0, 2) }, () => any(depth + 1)), () => object(depth + 1)]
    return options[integer(next, 0, depth > 2 ? 9 : options.length - 1)]!()
  }
  const object = (depth: number): object => {
    const names = ['type', 'text', 'to', 'x', 'y', '__proto__', 'constructor', 'more']
    const entries = Array.from({ length: integer(next, 0, 4) }, () => [names[integer(next, 0, names.length - 1)]!, any(depth)] as const)
    return Object.fromEntries(next() < 0.8 ? [['type', ['say', 'move', 'leave'][integer(next, 0, 2)]], ...entries] : entries)
  }
  const made = next() < 0.9 ? object(0) : any(0)
  let json = JSON.stringify(made)
  if (next() < 0.1) json = json.replace(/"text"/g, '"__proto__"').replace(/t/g, () => next() < 0.5 ? '\\u0074' : 't')
  if (next() < 0.1) json = json.slice(0, integer(next, 0, json.length))
  if (next() < 0.05) json = '['.repeat(integer(next, 1, 3000)) + json
  return next() < 0.05 ? binary(json) : text(json)
}

test('whatever comes, no way of reading gives what the schema does not allow, and no output is what it does not', async t => {
  const COUNT = Number(process.env.RANDOM_MESSAGES ?? 400)
  const next = random(1007)
  for (const [way, read] of Object.entries(WAYS)) {
    let [valid, invalid, wrong, failed] = [0, 0, 0, 0]
    const schema = Type.Union(MEMBERS)
    const { client } = await start(t, { receive: schema, send: schema }, connection => read(connection, value => {
      valid++
      if (!isMember(value)) wrong++
      connection.send(value)
    }), {
      errorHandler: () => { failed++ },
      onInvalidMessage (error, connection) {
        invalid++
        if (error.code !== 'FST_WS_JSON' && error.code !== 'FST_WS_BINARY' && error.validation!.length === 0) failed++
        connection.send({ type: 'leave' })
      }
    })
    for (let sent = 0; sent < COUNT; sent += 100) {
      client.write(...Array.from({ length: 100 }, () => input(next)))
      for (let i = 0; i < 100; i++) {
        const { opcode, payload } = await client.next()
        if (opcode !== 1 || !isMember(JSON.parse(String(payload)))) wrong++
      }
    }
    t.strictSame([valid + invalid, wrong, failed], [COUNT, 0, 0], way)
    t.ok(valid > COUNT / 20 && invalid > COUNT / 20, `${way}: ${valid} valid, ${invalid} invalid`)
    client.destroy()
  }
})
