// How a connection ends: who learns of it and when, what is said of it, and that it ends whatever is left undone.
import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { Duplex, duplexPair } from 'node:stream'
import { setTimeout as timeout } from 'node:timers'
import { test, type Test } from 'tap'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import { connect, ConnectionClosedError } from '../../lib/index.ts'
import type { CloseInfo, WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketHandler } from '../../types/fastify.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import { gate, startApp, startConnection, turn, type LogEntry } from '../helpers/app.ts'
import { clientFrame, serverFrame } from '../helpers/frames.ts'
import { within } from '../helpers/http.ts'
import { memoryTransport, OWNER, SETTINGS } from '../helpers/memory.ts'
import { BINARY, close, numbered, ping, text, TEXT } from '../helpers/raw-client.ts'

const NEVER = { closeTimeout: 60_000, shutdownTimeout: 100 }
// within which all ends that wait for nobody must have come, on a busy machine too; far below closeTimeout
const SOON = 20_000

// The signal

/** As fetch() and others treat a signal: rejects with its reason. */
async function work (signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort')
  throw signal.reason
}

test('signal is aborted as soon as the peer has said Close, though the handler is at work and messages wait', async t => {
  const reason = gate<ConnectionClosedError>()
  const debug: LogEntry[] = []
  const { client, logs } = await startConnection(t, NEVER, async function * (connection) {
    for await (const prompt of connection) {
      yield `answer to ${prompt}`
      await work(connection.signal).catch(error => { reason.open(error); throw error })
    }
  })
  client.write(text('a'))
  t.strictSame(await client.take(1), ['text answer to a'])
  client.write(text('b'), close(4001))
  t.match(await reason.opened, { name: 'ConnectionClosedError', closeCode: 4001 })
  t.strictSame(await within(SOON, client.rest(), 'the Close'), ['close 4001'], 'which is answered then')
  t.strictSame([logs, debug], [[], []], 'the handler has ended with its connection, which is no failure')
})

test('signal is aborted by our own close(), by terminate(), and by the loss of the transport, once, with the code', async t => {
  const ends: Array<[string, (connection: WebSocketConnection) => void, number]> = [
    ['close()', connection => { connection.close(4002) }, 4002],
    ['close() without a code', connection => { connection.close() }, 1005],
    ['terminate()', connection => { connection.terminate() }, 1006],
    ['the transport', connection => { connection._socket!.destroy() }, 1006]
  ]
  for (const [name, end, closeCode] of ends) {
    const { client, connection } = await startConnection(t, NEVER, connection => { connection.resume() })
    let aborts = 0
    connection.signal.addEventListener('abort', () => { aborts++ })
    t.equal(connection.signal.aborted, false)
    end(connection)
    client.end(close(1000))
    if (name === 'the transport') await connection.closed
    t.equal(connection.signal.aborted, true, name)
    t.match(connection.signal.reason, { name: 'ConnectionClosedError', closeCode }, name)
    await connection.closed
    t.equal(aborts, 1, name)
  }
})

test('a signal that is asked for late is aborted, before the end and after it', async t => {
  const { client, connection } = await startConnection(t, NEVER, connection => { connection.pause() })
  client.end(text('held'), close(4003))
  while (!connection.signal.aborted) await turn()
  t.equal(connection.readyState, connection.OPEN, 'what is held may be answered')
  t.match(connection.signal.reason, { closeCode: 4003 })
  connection.resume()
  await connection.closed
  const other = new Connection(SETTINGS, OWNER)
  other.terminate()
  await other.closed
  t.match(other.signal.reason, { closeCode: 1006 })
})

test('listeners of the signal keep the store of AsyncLocalStorage, and any number of them warns of nothing', async t => {
  const storage = new AsyncLocalStorage<string>()
  const stores: unknown[] = []
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.teardown(() => { process.off('warning', onWarning) })
  const { client } = await startApp(t, NEVER, app => {
    app.addHook('onRequest', (_request, _reply, done) => { storage.run('of the request', done) })
    app.get('/', { websocket: true }, ({ signal }) => {
      for (let i = 0; i < 20; i++) signal.addEventListener('abort', () => { stores.push(storage.getStore()) })
    })
  }).then(async ({ port }) => ({ client: await (await import('../helpers/raw-client.ts')).openRawClient(t, port) }))
  client.end(close(1000))
  await client.rest()
  while (stores.length < 20) await turn()
  t.strictSame(new Set(stores), new Set(['of the request']))
  await turn()
  t.strictSame(warnings, [])
})

test('send() never calls a listener of the signal itself', async t => {
  const events: string[] = []
  const { client, connection } = await startConnection(t, { ...NEVER, maxBufferedAmount: 1000 }, () => {})
  client.pause()
  connection.signal.addEventListener('abort', () => { events.push('abort') })
  connection.send(Buffer.alloc(2000))
  connection.send(Buffer.alloc(2000))
  events.push('sent')
  t.equal(connection.readyState, connection.CLOSING)
  await turn()
  t.strictSame(events, ['sent', 'abort'])
})

// What is said of an end

interface Told {
  info: CloseInfo
  published: unknown
  logged: Record<string, unknown>
}

/** One connection to `handler` that `act` ends: what closed, the channel and the log say of it. */
async function ended (
  t: Test, options: WebSocketPluginOptions, handler: WebSocketHandler, act: (setup: Awaited<ReturnType<typeof startConnection>>) => unknown
): Promise<Told> {
  const published: unknown[] = []
  const onClose = (message: unknown): void => { published.push(message) }
  subscribe('fastify-websocket-stream:close', onClose)
  const setup = await startConnection(t, { ...NEVER, closeLogLevel: 'error', ...options }, handler)
  await act(setup)
  const info = await within(SOON, setup.connection.closed, 'the end')
  unsubscribe('fastify-websocket-stream:close', onClose)
  return { info, published: published[0], logged: setup.logs.findLast(({ msg }) => msg === 'WebSocket closed') as never }
}

const resume: WebSocketHandler = connection => { connection.resume() }

const CAUSES: Array<[string, WebSocketPluginOptions, WebSocketHandler, (setup: Awaited<ReturnType<typeof startConnection>>) => unknown, Partial<CloseInfo>]> = [
  ['the peer', {}, resume, ({ client }) => client.end(close(4000, 'bye')),
    { code: 4000, reason: 'bye', wasClean: true, sent: { code: 4000, reason: 'bye' }, cause: 'peer' }],
  ['close()', {}, resume, ({ client, connection }) => { connection.close(4001, 'ours'); client.end(close(4002, 'theirs')) },
    { code: 4002, reason: 'theirs', wasClean: true, sent: { code: 4001, reason: 'ours' }, cause: 'local' }],
  ['close() without a code', {}, resume, ({ client, connection }) => { connection.close(); client.end(close()) },
    { code: 1005, wasClean: true, sent: { code: 1005, reason: '' }, cause: 'local' }],
  ['terminate()', {}, resume, ({ connection }) => { connection.terminate() }, { code: 1006, wasClean: false, sent: null, cause: 'local' }],
  ['a closeTimeout', { closeTimeout: 20 }, resume, ({ connection }) => { connection.close(4001) },
    { code: 1006, wasClean: false, sent: { code: 4001, reason: '' }, cause: 'local' }],
  ['a frame that is not masked', {}, resume, ({ client }) => client.end(serverFrame({ opcode: TEXT, payload: 'a' })),
    { code: 1006, sent: { code: 1002, reason: 'a client must mask its frames' }, cause: 'protocol' }],
  ['text that is not UTF-8', {}, resume, ({ client }) => client.end(clientFrame({ opcode: TEXT, payload: Buffer.from([0xff]) })),
    { code: 1006, sent: { code: 1007, reason: 'a text message is not valid UTF-8' }, cause: 'protocol' }],
  ['a message that is too large', { maxPayload: 5 }, resume, ({ client }) => client.end(text('too large')), { sent: { code: 1009 } as never, cause: 'protocol' }],
  ['a handler that throws', {}, () => { throw new Error('thrown') }, ({ client }) => client.end(), { sent: { code: 1011, reason: '' }, cause: 'handler' }],
  ['a listener that rejects', {}, connection => { connection.on('message', async () => { throw new Error('rejected') }) },
    ({ client }) => client.end(text('a')), { sent: { code: 1011, reason: '' }, cause: 'handler' }],
  ['a sender that ignores false', { maxBufferedAmount: 1000 }, resume, ({ client, connection }) => {
    connection.send(Buffer.alloc(2000))
    connection.send(Buffer.alloc(2000))
    client.end()
  }, { sent: { code: 1013, reason: 'slow reader' }, cause: 'slow' }],
  ['a peer that takes nothing', { stallTimeout: 20 }, resume, ({ client, connection }) => {
    client.pause()
    connection.send(Buffer.alloc(64 * 1024 * 1024))
  }, { code: 1006, sent: null, cause: 'stalled' }],
  ['a peer that does not answer', { heartbeat: { interval: 20, timeout: 20 } }, resume, () => {}, { code: 1006, sent: null, cause: 'silent' }],
  ['app.close()', { shutdownCode: 1012 }, resume, async ({ app, client }) => {
    void app.close()
    await client.take(1)
    client.end(close(1012))
  }, { code: 1012, wasClean: true, sent: { code: 1012, reason: '' }, cause: 'shutdown' }],
  ['app.close() that nobody answers', { shutdownTimeout: 20 }, resume, ({ app }) => { void app.close() }, { code: 1006, sent: { code: 1001, reason: '' }, cause: 'shutdown' }],
  ['FIN', {}, resume, ({ client }) => client.end(), { code: 1006, sent: null, cause: 'transport' }],
  ['RST', {}, resume, ({ client }) => { client.reset() }, { code: 1006, sent: null, cause: 'transport' }]
]

for (const [name, options, handler, act, expected] of CAUSES) {
  test(`an end by ${name} is told as that: by closed, by the channel and in the log`, async t => {
    const { info, published, logged } = await ended(t, options, handler, act)
    t.match(info, expected)
    t.match(published, { code: info.code, reason: info.reason, wasClean: info.wasClean, sent: info.sent, cause: info.cause })
    t.match(logged, { closeCode: info.code, reason: info.reason, wasClean: info.wasClean, sent: info.sent, cause: info.cause })
  })
}

test("the 'close' event has code and reason alone, as in ws", async t => {
  const { client, connection } = await startConnection(t, NEVER, resume)
  const closed = once(connection, 'close')
  client.end(close(4000, 'bye'))
  t.strictSame(await closed, [4000, Buffer.from('bye')])
})

test('an end is not clean when what was sent before our Close did not get out, though the peer has said Close', async t => {
  const [here, there] = duplexPair({ highWaterMark: 10 })
  const connection = new Connection({ ...SETTINGS, highWaterMark: 64 * 1024 }, OWNER)
  coreOf(connection).open(memoryTransport(here), Buffer.alloc(0))
  const stream = connection.toDuplex().resume()
  const failed = once(stream, 'error')
  for (let i = 0; i < 10; i++) stream.write('as small as what is copied')
  stream.end()
  there.write(close(1000))
  await turn()
  t.equal(connection.readyState, connection.CLOSING)
  here.destroy()
  t.match(await connection.closed, { code: 1000, wasClean: false, sent: { code: 1000 } })
  t.match(await failed, [{ code: 'WS_ERR_CONNECTION_CLOSED' }], 'who has written to its end learns of it')
})

// Messages that nobody takes

test('messages that a handler which only pushes never takes are discarded after holdTimeout, with one warning, and hold up nothing', async t => {
  const warnings: LogEntry[] = []
  const warned = gate()
  const { client, connection } = await startConnection(t, { ...NEVER, holdTimeout: 20 }, async (connection, request) => {
    (request.log as { warn: unknown }).warn = (_fields: object, msg: string) => { warnings.push({ msg }); warned.open() }
    await once(connection, 'close')
  })
  const flood = Buffer.concat(numbered('m', 20_000).map(text)) // more than is held
  client.write(flood)
  await warned.opened
  client.write(flood, ping('read'))
  t.strictSame(await client.take(1), ['pong read'], 'it is read on')
  client.end(text('more'), close(1000))
  t.strictSame(await within(SOON, client.rest(), 'the Close'), ['close 1000'])
  t.match(await connection.closed, { wasClean: true })
  t.equal(warnings.length, 1)
  t.match(warnings[0]!.msg, /holdTimeout.*resume\(\).*pause\(\)/)
})

const CONSUMERS: Record<string, (connection: WebSocketConnection, received: (data: unknown) => void) => unknown> = {
  pause: connection => { connection.pause() },
  'a listener': (connection, received) => { connection.on('message', received) },
  'a loop at work': async (connection, received) => {
    for await (const message of connection) {
      received(message)
      await timeoutOf(60)
    }
  },
  'receive() and work': async (connection, received) => {
    received(await connection.receive())
    await timeoutOf(60)
    received(await connection.receive())
  }
}

/** Work that takes some milliseconds. */
function timeoutOf (milliseconds: number): Promise<void> {
  return new Promise(resolve => { timeout(resolve, milliseconds) })
}

for (const [name, consume] of Object.entries(CONSUMERS)) {
  test(`a handler that has shown that it takes messages, by ${name}, loses none after holdTimeout`, async t => {
    const received: string[] = []
    const all = gate()
    const { client } = await startConnection(t, { ...NEVER, holdTimeout: 20 }, async connection => {
      connection.on('close', () => { all.open() })
      await consume(connection, data => { if (received.push(String(data)) === 2) all.open() })
      if (name === 'pause') {
        await timeoutOf(60)
        connection.on('message', data => { if (received.push(String(data)) === 2) all.open() })
        connection.resume()
      }
      await all.opened
    })
    client.write(text('a'), text('b'))
    await all.opened
    t.strictSame(received, ['a', 'b'])
  })
}

test('nor does one that works between two receive(), though the first message came before anybody asked', async t => {
  const received: unknown[] = []
  const firstIsHeld = gate()
  const done = gate()
  const { client, connection } = await startConnection(t, { ...NEVER, holdTimeout: 40 }, async connection => {
    await firstIsHeld.opened
    received.push(await connection.receive())
    connection.send('at work')
    await timeoutOf(100)
    received.push(await connection.receive())
    done.open()
  })
  client.write(text('a'), ping())
  t.strictSame(await client.take(1), ['pong'])
  firstIsHeld.open()
  t.strictSame(await client.take(1), ['text at work'])
  client.write(text('b'))
  await done.opened
  t.strictSame(received, ['a', 'b'])
  connection.terminate()
})

test('holdTimeout counts from when the last consumer was seen, as often as one goes', async t => {
  const warned = gate()
  const { client, connection } = await startConnection(t, { ...NEVER, holdTimeout: 20 }, async (connection, request) => {
    (request.log as { warn: unknown }).warn = () => { warned.open() }
    await once(connection, 'close')
  })
  client.write(text('held for a listener'), ping())
  t.strictSame(await client.take(1), ['pong'])
  const [data] = await once(connection, 'message') as [Buffer]
  t.equal(String(data), 'held for a listener')
  const listener = (): void => {}
  connection.on('message', listener)
  await timeoutOf(60)
  connection.off('message', listener)
  const flood = Buffer.concat(numbered('m', 20_000).map(text)) // more than is held
  client.write(flood)
  await within(SOON, warned.opened, 'the warning')
  client.write(ping('read'))
  t.strictSame(await client.take(1), ['pong read'])
  connection.terminate()
})

test('without a handler messages are held for as long as it takes', async t => {
  const { url } = await startApp(t, NEVER, app => {
    app.get('/', { websocket: true }, connection => { connection.send('held') })
  })
  const client = await connect(url)
  await timeoutOf(50)
  t.equal(await client.receive(), 'held')
  client.close()
  const impatient = await connect(url, { holdTimeout: 10 })
  const [warning] = await once(process, 'warning') as [Error]
  t.match(warning, { name: 'WebSocketWarning', message: /holdTimeout/ })
  impatient.close(1000)
  t.match(await within(SOON, impatient.closed, 'the end'), { code: 1000 })
})

// A local close() waits for nobody who does not read

const UNREAD: Record<string, (connection: WebSocketConnection) => ReturnType<WebSocketHandler>> = {
  'a message stream that is open and unread': async connection => {
    await connection.messageStreams().next()
    connection.emit('ready')
    return new Promise(() => {})
  },
  'toWeb() after one read()': async connection => {
    const reader = connection.toWeb().readable.getReader()
    await reader.read()
    connection.emit('ready')
    return new Promise(() => {})
  },
  'toDuplex() with a message unread': connection => {
    connection.toDuplex()
    connection.emit('ready')
    return new Promise(() => {})
  },
  'toDuplex() of which one message was read': async connection => {
    const stream = connection.toDuplex()
    await once(stream, 'readable')
    stream.read()
    connection.emit('ready')
    stream.removeAllListeners('readable')
    return new Promise(() => {})
  },
  'a loop that is at work': async connection => {
    await connection.iterator().next()
    connection.emit('ready')
    return new Promise(() => {})
  },
  pause: connection => {
    connection.pause()
    connection.emit('ready')
  }
}

for (const [name, handler] of Object.entries(UNREAD)) {
  test(`close() with ${name} ends with the peer's answer, not with closeTimeout`, async t => {
    const ready = gate()
    const { client, connection } = await startConnection(t, NEVER, connection => {
      connection.once('ready', () => { ready.open() })
      return handler(connection)
    })
    // a whole message, and one that goes on and on
    client.write(name.includes('message stream') ? clientFrame({ opcode: BINARY, fin: false, payload: Buffer.alloc(300_000) }) : text('a'))
    await ready.opened
    if (!name.includes('message stream')) client.write(text('b'), text('c'))
    await turn()
    connection.close(4000)
    if (name.includes('message stream')) client.write(clientFrame({ opcode: 0, payload: Buffer.alloc(300_000) }))
    client.end(text('d'), close(4000))
    t.match(await within(SOON, connection.closed, 'the end'), { code: 4000, wasClean: true })
  })
}

test('a stream of which something was discarded after close() does not end as if it were whole', async t => {
  const { client, connection } = await startConnection(t, NEVER, connection => { connection.toDuplex() })
  const { client: other, connection: second } = await startConnection(t, NEVER, () => {})
  client.write(text('unread'))
  await client.roundTrip()
  connection.close(1000)
  client.end(close(1000))
  await connection.closed
  const stream = second.toDuplex()
  other.write(text('a'))
  await other.roundTrip()
  second.close(1000)
  other.end(text('b'), close(1000))
  await second.closed
  await t.rejects(async () => { for await (const data of stream) void data }, { name: 'ConnectionClosedError', message: /before all was read/ })
})

test('messageStreams() that is called behind a broken text message gives the error, and no message', async t => {
  const start = gate()
  const result = gate<unknown>()
  const { client, connection, logs } = await startConnection(t, NEVER, async connection => {
    await start.opened
    try {
      for await (const message of connection.messageStreams()) result.open(message)
    } catch (error) {
      result.open(error)
    }
  })
  client.write(clientFrame({ opcode: TEXT, fin: false, payload: 'begun' }), clientFrame({ opcode: 0, payload: Buffer.from([0xff]) }))
  while (!connection.signal.aborted) await turn()
  start.open()
  t.match(await result.opened, { name: 'ConnectionClosedError' })
  client.end()
  t.match(await connection.closed, { cause: 'protocol', sent: { code: 1007 } })
  t.strictSame(logs, [])
})

test("a transport that is destroyed and never says 'close' does not keep its connection", async t => {
  const stream = new Duplex({ emitClose: false, read () {}, write (_chunk, _encoding, callback) { callback() } })
  const connection = new Connection({ ...SETTINGS, closeTimeout: 20 }, OWNER)
  coreOf(connection).open(memoryTransport(stream), Buffer.alloc(0))
  await turn()
  connection.terminate()
  await turn()
  t.equal(connection.readyState, connection.CLOSING)
  t.match(await within(SOON, connection.closed, 'the end'), { code: 1006, cause: 'local' })
})

test('after one large message that was taken, unread Pongs do not pile up to its size', async t => {
  const [here, there] = duplexPair({ highWaterMark: 1000 })
  const connection = new Connection({ ...SETTINGS, highWaterMark: 1000 }, OWNER)
  connection.on('ping', () => {})
  coreOf(connection).open(memoryTransport(here), Buffer.alloc(0))
  there.resume()
  connection.send(Buffer.alloc(1_000_000))
  await once(connection, 'drain')
  await turn()
  there.pause()
  const pings = Buffer.concat(Array.from({ length: 2000 }, () => ping('x'.repeat(100))))
  for (let i = 0; i < pings.length; i += 1000) there.write(pings.subarray(i, i + 1000))
  for (let i = 0; i < 50; i++) await turn()
  t.ok(connection.bufferedAmount < 10_000, `${connection.bufferedAmount} bytes of Pongs`)
  connection.terminate()
})
