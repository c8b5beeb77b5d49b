// messageStreams(): a message that is read while it comes.
import { once } from 'node:events'
import { duplexPair, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { test, type Test } from 'tap'
import { Connection, coreOf } from '../../../lib/connection/connection.ts'
import { ConnectionClosedError, ReaderBusyError } from '../../../lib/index.ts'
import type { IncomingMessageReadable, MessageStreamsOptions } from '../../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../../types/options.ts'
import { gate, startConnection, turn, type StartedConnection } from '../../helpers/app.ts'
import { clientFrame, closePayload, serverFrame } from '../../helpers/frames.ts'
import { within } from '../../helpers/http.ts'
import { memoryTransport, OWNER, SETTINGS } from '../../helpers/memory.ts'
import { BINARY, binary, close, ping, PONG, TEXT, text } from '../../helpers/raw-client.ts'

const NEVER = { closeTimeout: 60_000, shutdownTimeout: 100 }
// within which what waits for nobody must have come, on a busy machine too
const SOON = 20_000

type Streams = AsyncIterableIterator<IncomingMessageReadable, undefined>

async function startStreams (
  t: Test, options: WebSocketPluginOptions = {}, streamsOptions?: MessageStreamsOptions
): Promise<StartedConnection & { streams: Streams, next: () => Promise<IncomingMessageReadable> }> {
  const given = gate<Streams>()
  const started = await startConnection(t, { ...NEVER, ...options }, connection => { given.open(connection.messageStreams(streamsOptions)) })
  const streams = await given.opened
  const next = async (): Promise<IncomingMessageReadable> => {
    const { value } = await streams.next()
    if (value === undefined) throw new Error('a message was expected')
    return value
  }
  return { ...started, streams, next }
}

async function read (stream: IncomingMessageReadable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
  return `${stream.isBinary ? 'binary' : 'text'} ${String(Buffer.concat(chunks))}`.trimEnd()
}

const fragment = (opcode: number, payload: string | Buffer, fin = false): Buffer => clientFrame({ opcode, payload, fin })
const CONTINUATION = 0
const CLOSE = 8

test('messages come one by one: whole, in fragments, empty, text and binary, and end with the Close', async t => {
  const { client, streams } = await startStreams(t)
  client.write(text('a'), fragment(BINARY, 'b'), ping('p'), fragment(CONTINUATION, 'c'), fragment(CONTINUATION, '', true), text(''), binary('d'), close(1000))
  const received: string[] = []
  for await (const stream of streams) received.push(await read(stream))
  t.strictSame(received, ['text a', 'binary bc', 'text', 'binary d'])
  t.strictSame(await client.rest(), ['pong p', 'close 1000'])
})

test('a piece is there before the message has ended', async t => {
  const { client, next } = await startStreams(t)
  client.write(fragment(TEXT, 'a'))
  const stream = await next()
  t.strictSame(await once(stream, 'data'), [Buffer.from('a')])
  client.write(clientFrame({ opcode: CONTINUATION, payload: 'bcdef' }).subarray(0, 8)) // a frame that is not whole
  t.strictSame(await once(stream, 'data'), [Buffer.from('bc')])
  const ended = once(stream, 'end')
  client.write(clientFrame({ opcode: CONTINUATION, payload: 'bcdef' }).subarray(8))
  t.strictSame(await once(stream, 'data'), [Buffer.from('def')])
  await ended
})

test('a message larger than maxPayload streams, up to a limit of its own; then it is 1009', async t => {
  const { client, next } = await startStreams(t, { maxPayload: 10 }, { maxPayload: 1000 })
  client.write(binary('x'.repeat(1000)))
  t.equal((await read(await next())).length, 'binary '.length + 1000)
  client.write(fragment(BINARY, 'y'.repeat(1000)))
  const stream = await next()
  const failed = once(stream, 'error') as Promise<[Error]>
  t.strictSame(await once(stream, 'data'), [Buffer.alloc(1000, 'y')])
  client.write(fragment(CONTINUATION, 'z', true))
  t.match((await failed)[0], ConnectionClosedError)
  t.match((await failed)[0].cause, { code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' })
  t.match(await client.take(1), [/^close 1009/])
})

test('a message that came before messageStreams() was called streams too, however large, and what has come of it is not lost', async t => {
  const asked = gate()
  const { client, connection } = await startConnection(t, { ...NEVER, maxPayload: 100 }, async connection => {
    await asked.opened
    for await (const stream of connection.messageStreams()) connection.send(await read(stream))
  })
  client.write(text('first'), fragment(TEXT, 'in '), ping('p'), fragment(CONTINUATION, 'time'), fragment(CONTINUATION, 'x'.repeat(1000), true))
  t.strictSame(await client.take(1), ['pong p'])
  await turn()
  t.equal(connection.readyState, connection.OPEN)
  asked.open()
  t.strictSame(await client.take(2), ['text text first', `text text in time${'x'.repeat(1000)}`])
})

test('who turns out to take messages whole gets none over maxPayload', async t => {
  const asked = gate()
  const { client } = await startConnection(t, { ...NEVER, maxPayload: 100 }, async connection => {
    await asked.opened
    connection.on('message', () => {})
  })
  client.write(ping('p'), binary('x'.repeat(101)))
  t.strictSame(await client.take(1), ['pong p'])
  asked.open()
  t.match(await client.take(1), [/^close 1009/])
})

test('nor does a handler that is done without a reader', async t => {
  const { client } = await startConnection(t, { ...NEVER, maxPayload: 100 }, () => {})
  client.write(binary('x'.repeat(101)))
  t.match(await client.take(1), [/^close 1009/])
})

test('a message that nobody reads is skipped by asking for the next', async t => {
  const { client, next } = await startStreams(t)
  client.write(fragment(BINARY, 'a'.repeat(200_000)))
  const unread = await next()
  const closed = once(unread, 'close')
  const following = next()
  await closed
  client.write(fragment(CONTINUATION, 'b'.repeat(200_000)), fragment(CONTINUATION, '', true), text('c'))
  t.equal(await read(await following), 'text c')
})

test('so is what is left of one that is destroyed, while nobody asks for the next', async t => {
  const { client, next } = await startStreams(t)
  client.write(fragment(BINARY, 'a'))
  const stream = await next()
  stream.destroy()
  client.write(fragment(CONTINUATION, 'b'.repeat(200_000), true), ping('p'))
  t.strictSame(await client.take(1), ['pong p'])
  client.write(text('c'))
  t.equal(await read(await next()), 'text c')
})

test('an error that a stream is destroyed with and that nobody listens for goes to the errorHandler', async t => {
  const errors = gate<unknown>()
  const { client, next } = await startStreams(t, { errorHandler: errors.open })
  client.write(fragment(BINARY, 'a'))
  const stream = await next()
  stream.destroy(new Error('the disk is full'))
  t.match(await errors.opened, { message: 'the disk is full' })
})

test('the peer waits for a slow reader of a message', async t => {
  const { client, next } = await startStreams(t, { highWaterMark: 1000 })
  const size = 32 * 1024 * 1024
  client.write(binary(Buffer.alloc(size, 'a')))
  const stream = await next()
  for (let i = 0; i < 200; i++) await turn()
  t.ok(stream.readableLength <= 1000 + 65_536)
  t.ok(client.socket.writableLength > 0, 'not all of it has left the client')
  let length = 0
  await pipeline(stream, new Writable({
    write (chunk: Buffer, _encoding, callback) {
      length += chunk.length
      setImmediate(callback)
    }
  }))
  t.equal(length, size)
})

test('while nobody asks, messages are read ahead up to highWaterMark, and Pings answered', async t => {
  const { client, next } = await startStreams(t, { highWaterMark: 1000 })
  client.write(text('a'))
  t.equal(await read(await next()), 'text a')
  client.write(text('b'), fragment(TEXT, 'c'), ping('p'), fragment(CONTINUATION, 'd'.repeat(600)), fragment(CONTINUATION, 'e'.repeat(600)), ping('q'))
  t.strictSame(await client.take(1), ['pong p'])
  for (let i = 0; i < 20; i++) await turn()
  t.equal(client.frames.length, 1, 'what is behind 1000 bytes is not read')
  t.equal(await read(await next()), 'text b')
  const stream = await next()
  client.write(fragment(CONTINUATION, 'f', true))
  t.equal(await read(stream), `text c${'d'.repeat(600)}${'e'.repeat(600)}f`)
  t.strictSame(await client.take(1), ['pong q'])
})

test('text is checked as it comes, a character that is cut too', async t => {
  const { client, next } = await startStreams(t)
  client.write(fragment(TEXT, Buffer.from('é').subarray(0, 1)))
  const stream = await next()
  const failed = once(stream, 'error') as Promise<[Error]>
  stream.resume()
  client.write(fragment(CONTINUATION, 'a'))
  t.match((await failed)[0].cause, { closeCode: 1007 })
  t.match(await client.take(1), [/^close 1007/])
})

for (const { how, leave } of [
  { how: 'by a Close', leave: ({ client }: StartedConnection) => { client.write(close(1001)) } },
  { how: 'by FIN', leave: ({ client }: StartedConnection) => { client.end() } },
  { how: 'by RST', leave: ({ client }: StartedConnection) => { client.reset() } },
  { how: 'by terminate()', leave: ({ connection }: StartedConnection) => { connection.terminate() } },
  { how: 'by an errorHandler', leave: ({ connection }: StartedConnection) => { connection.emit('error', new Error('any')) } }
]) {
  test(`a message that the peer does not end, ${how}, ends with an error`, async t => {
    const started = await startStreams(t)
    started.client.write(fragment(BINARY, 'a'))
    const stream = await started.next()
    t.strictSame(await once(stream, 'data'), [Buffer.from('a')])
    const failed = once(stream, 'error') as Promise<[Error]>
    leave(started)
    t.match((await failed)[0], ConnectionClosedError)
    started.client.end()
    await started.connection.closed
    const end = await started.streams.next().catch((error: unknown) => error)
    t.match(end, how === 'by a Close' ? { done: true } : ConnectionClosedError)
  })
}

test('a message that is complete stays readable when the connection dies', async t => {
  const { client, connection, next } = await startStreams(t)
  client.write(binary('all'))
  const stream = await next()
  client.reset()
  await connection.closed
  t.equal(await read(stream), 'binary all')
})

test('what has come of a message, and the Close behind it, stay readable when the transport dies', async t => {
  for (const isAskedFor of [true, false]) {
    const [here, there] = duplexPair()
    const connection = new Connection({ ...SETTINGS, role: 'client', highWaterMark: 10, closeTimeout: 60_000 }, OWNER)
    const streams = connection.messageStreams()
    coreOf(connection).open(memoryTransport(here), serverFrame({ opcode: TEXT, payload: 'a' }))
    const first = (await streams.next()).value!
    t.equal(await read(first), 'text a')
    const second = isAskedFor ? streams.next() : null
    const fragments = [serverFrame({ opcode: BINARY, fin: false, payload: 'b'.repeat(10) }), serverFrame({ opcode: CONTINUATION, payload: 'c' })]
    there.write(Buffer.concat([...fragments, serverFrame({ opcode: CLOSE, payload: closePayload(1000) })]))
    await turn()
    here.destroy()
    await once(here, 'close')
    await turn()
    const { value } = await (second ?? streams.next())
    t.equal(await read(value!), 'binary bbbbbbbbbbc')
    await t.rejects(streams.next(), { name: 'ConnectionClosedError', closeCode: 1000 })
    t.match(await connection.closed, { code: 1000 })
  }
})

test('after a local close() the message in progress is still read to its end', async t => {
  const { client, connection, streams, next } = await startStreams(t)
  client.write(fragment(BINARY, 'a'))
  const stream = await next()
  connection.close(1000)
  t.strictSame(await client.take(1), ['close 1000'])
  client.write(fragment(CONTINUATION, 'b', true), close(1000))
  t.equal(await read(stream), 'binary ab')
  client.end()
  t.match(await streams.next(), { done: true })
  t.match(await connection.closed, { wasClean: true })
})

test('a message whose rest never comes does not hold up the end that we have begun', async t => {
  const { client, connection, next } = await startStreams(t, { closeTimeout: 20 })
  client.write(fragment(BINARY, 'a'))
  const message = await next()
  const failed = once(message.resume(), 'error')
  connection.close(1000)
  t.match(await within(SOON, connection.closed, 'the end'), { code: 1006, sent: { code: 1000 } })
  t.match(await failed, [{ code: 'WS_ERR_CONNECTION_CLOSED' }])
})

test('after a local close() the peer\'s Close waits for nobody who does not ask for the next message', async t => {
  const { client, connection, next } = await startStreams(t)
  client.write(binary('a'), binary('b'))
  t.equal(await read(await next()), 'binary a')
  connection.close(1000)
  client.write(close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
  client.end()
  t.match(await connection.closed, { wasClean: true })
})

test('nor for a message that is more than is kept and that nobody has asked for, with or without a listener beside', async t => {
  for (const listener of [null, () => {}]) {
    const { client, connection, next } = await startStreams(t)
    if (listener !== null) connection.on('message', listener)
    client.write(binary('a'))
    t.equal(await read(await next()), 'binary a')
    const parts = Array.from({ length: 100 }, (_, i) => fragment(i === 0 ? BINARY : CONTINUATION, Buffer.alloc(4000), i === 99))
    client.write(...parts.slice(0, 50), ping(), ...parts.slice(50), text('b'))
    if (listener !== null) await turn()
    connection.close(1000)
    client.end(close(1000))
    await client.rest()
    t.match(await within(SOON, connection.closed, 'the end'), { code: 1000, wasClean: true })
  }
})

test('leaving the loop skips the message and closes with 1000, or leaves the rest to the next reader', async t => {
  const { client, streams, next } = await startStreams(t)
  client.write(fragment(BINARY, 'a'))
  const stream = await next()
  await streams.return!()
  t.equal(stream.destroyed, true)
  t.strictSame(await client.take(1), ['close 1000'])

  const other = await startStreams(t, { maxPayload: 10 }, { closeOnReturn: false })
  other.client.write(fragment(BINARY, 'a'))
  await other.next()
  await other.streams.return!()
  const received = other.connection.receive()
  other.client.write(fragment(CONTINUATION, 'b'.repeat(100), true), text('c'))
  t.equal(await received, 'c', 'the rest of the message may be as large as it may')
  other.client.write(text('d'.repeat(11)))
  t.equal(await other.connection.receive(), null)
  t.match(await other.client.take(1), [/^close 1009/])
})

test('pause() stops a message in its middle', async t => {
  const { client, connection, next } = await startStreams(t)
  client.write(fragment(BINARY, 'a'))
  const stream = await next()
  t.strictSame(await once(stream, 'data'), [Buffer.from('a')])
  connection.pause()
  client.write(fragment(CONTINUATION, 'b', true))
  for (let i = 0; i < 20; i++) await turn()
  t.equal(stream.readableLength, 0)
  const more = once(stream, 'data')
  connection.resume()
  t.strictSame(await more, [Buffer.from('b')])
})

test('a message that goes out already is not shown to listeners, and there is one reader at a time', async t => {
  const { client, connection, next } = await startStreams(t)
  connection.on('message', () => { t.fail('it was shown') })
  t.throws(() => connection.messageStreams(), ReaderBusyError)
  t.throws(() => connection.toDuplex(), ReaderBusyError)
  client.write(text('a'))
  t.equal(await read(await next()), 'text a')
})

test('a slow reader that goes on is not cut off when the peer has said Close behind its messages', async t => {
  const heartbeat = { interval: 150, timeout: 60_000 }
  const { client, next, connection } = await startStreams(t, { closeTimeout: 1000, heartbeat })
  client.write(...'abcdefgh'.split('').map(text), close(1000))
  const received: string[] = []
  for (let i = 0; i < 8; i++) {
    const stream = await next()
    t.strictSame(await client.take(1), ['ping'], 'some 150 ms have passed')
    client.write(clientFrame({ opcode: PONG }))
    received.push(await read(stream))
  }
  t.strictSame(received, 'abcdefgh'.split('').map(name => `text ${name}`))
  t.equal(connection.readyState, connection.OPEN)
})
