// toDuplex(): a connection as a stream of node:stream.
import { once } from 'node:events'
import { PassThrough, Readable, Transform, Writable, type Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { test, type Test } from 'tap'
import { ReaderBusyError } from '../../../lib/index.ts'
import type { ToDuplexOptions, WebSocketConnection } from '../../../types/connection.ts'
import { gate, startConnection, turn, type StartedConnection } from '../../helpers/app.ts'
import { clientFrame } from '../../helpers/frames.ts'
import { writeFromOneMemory } from '../../helpers/memory-reuse.ts'
import { binary, close, numbered, openRawClient, text } from '../../helpers/raw-client.ts'

interface StartedDuplex extends StartedConnection {
  stream: Duplex
}

/** A connection and its stream. */
async function startDuplex (t: Test, options?: ToDuplexOptions, closeTimeout = 60_000): Promise<StartedDuplex> {
  const streams = gate<Duplex>()
  const started = await startConnection(t, { closeTimeout }, connection => {
    const stream = connection.toDuplex(options)
    stream.on('error', () => {})
    streams.open(stream)
  })
  return { ...started, stream: await streams.opened }
}

const upperCase = (): Transform => new Transform({
  transform (chunk, _encoding, callback) { setImmediate(() => { callback(null, String(chunk).toUpperCase()) }) }
})

test('in bytes what comes is joined, and a write is one binary message', async t => {
  const { client, stream } = await startDuplex(t)
  const received: Buffer[] = []
  stream.on('data', (chunk: Buffer) => { received.push(chunk) })
  client.write(text('é'), binary('b'), text(''), binary('c'))
  while (Buffer.concat(received).length < 4) await turn()
  t.equal(String(Buffer.concat(received)), 'ébc')
  stream.write('one')
  stream.write(Buffer.from('two'))
  t.strictSame(await client.take(2), ['binary one', 'binary two'])
})

test('binary: false sends text', async t => {
  const { client, stream } = await startDuplex(t, { binary: false })
  stream.write('one')
  stream.write(Buffer.from('two'))
  t.strictSame(await client.take(2), ['text one', 'text two'])
})

test('in objectMode a message is a string or a Buffer, empty ones too, both ways', async t => {
  const { client, stream } = await startDuplex(t, { objectMode: true })
  const received: unknown[] = []
  stream.on('data', data => { received.push(data) })
  client.write(text('a'), binary('b'), text(''), binary(''))
  while (received.length < 4) await turn()
  t.strictSame(received, ['a', Buffer.from('b'), '', Buffer.alloc(0)])
  for (const data of ['c', Buffer.from('d'), '', new Uint8Array([101])]) stream.write(data)
  t.strictSame(await client.take(4), ['text c', 'binary d', 'text', 'binary e'])
  const failed = once(stream, 'error') as Promise<[Error]>
  stream.write({ not: 'a message' })
  t.equal((await failed)[0].name, 'TypeError')
})

test('a pipeline through an async Transform and back: the answers to all messages before a Close go out before ours', async t => {
  const { client, connection } = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
    const stream = connection.toDuplex({ objectMode: true })
    await pipeline(stream, upperCase().setEncoding('utf8'), stream)
  })
  client.write(...numbered('m', 100).map(text), close(4000))
  const frames = await client.rest()
  t.equal(frames.at(-1), 'close 4000')
  t.equal(frames.slice(0, -1).map(frame => frame.replace('text ', '')).join(''), numbered('M', 100).join(''))
  client.end()
  t.match(await connection.closed, { code: 4000, reason: '', wasClean: true })
})

test('a pipeline of the stream into itself is an echo', async t => {
  const done = gate<unknown>()
  const { client } = await startConnection(t, {}, async connection => {
    const stream = connection.toDuplex({ objectMode: true })
    await pipeline(stream, stream).then(() => { done.open('done') }, done.open)
  })
  client.write(text('a'), binary('b'), close(1000))
  t.strictSame(await client.rest(), ['text a', 'binary b', 'close 1000'])
  client.end()
  t.equal(await done.opened, 'done')
})

test('a Transform that never ends holds up a Close for no longer than closeTimeout', async t => {
  const { client } = await startConnection(t, { closeTimeout: 50 }, async connection => {
    const stream = connection.toDuplex()
    const stuck = new Transform({ transform (_chunk, _encoding, _callback) {} })
    await pipeline(stream, stuck, stream)
  })
  client.write(text('a'), close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
})

test('who only reads gets the end with a Close, which is answered at once', async t => {
  const received: Buffer[] = []
  const done = gate()
  const { client } = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
    await pipeline(connection.toDuplex(), new Writable({
      write (chunk, _encoding, callback) {
        received.push(chunk as Buffer)
        setImmediate(callback)
      }
    }))
    done.open()
  })
  client.write(binary('a'), binary('b'), close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
  await done.opened
  t.equal(String(Buffer.concat(received)), 'ab')
})

test('end() sends what was written, closes with 1000, and finishes when the peer has answered; what comes meanwhile is read', async t => {
  const { client, connection, stream } = await startDuplex(t)
  const received: Buffer[] = []
  stream.on('data', (chunk: Buffer) => { received.push(chunk) })
  let isFinished = false
  stream.on('finish', () => { isFinished = true })
  stream.end('last')
  t.strictSame(await client.take(2), ['binary last', 'close 1000'])
  t.equal(isFinished, false)
  client.end(binary('late'), close(1000))
  await once(stream, 'close')
  t.equal(isFinished, true)
  t.equal(String(Buffer.concat(received)), 'late')
  t.match(await connection.closed, { code: 1000, wasClean: true })
})

test('destroy() terminates', async t => {
  const { client, connection, stream } = await startDuplex(t)
  stream.destroy()
  await client.ended
  t.strictSame(client.frames, [])
  t.match(await connection.closed, { code: 1006 })
})

test('a peer that drops the connection is an error, behind what it has sent', async t => {
  for (const how of ['end', 'reset'] as const) {
    const { client, stream } = await startDuplex(t)
    client.write(...numbered('m', 50).map(binary))
    await client.roundTrip()
    client[how]()
    const received: Buffer[] = []
    const failed = new Promise<Error>(resolve => { stream.on('error', resolve) })
    stream.on('data', (chunk: Buffer) => { received.push(chunk) })
    t.match(await failed, { code: 'WS_ERR_CONNECTION_CLOSED' }, how)
    t.equal(String(Buffer.concat(received)), numbered('m', 50).join(''), how)
  }
})

test('a protocol error of the peer is an error of the stream', async t => {
  const { client, stream } = await startDuplex(t)
  stream.resume()
  const failed = once(stream, 'error') as Promise<[Error]>
  client.write(clientFrame({ opcode: 0x3 }))
  t.match((await failed)[0], { code: 'WS_ERR_CONNECTION_CLOSED', cause: { code: 'WS_ERR_INVALID_OPCODE' } })
  t.match(await client.rest(), [/^close 1002 opcode 0x3 is reserved/], 'and the peer is told')
})

test('a write to a closed connection fails, and so does one that waits when the connection dies', async t => {
  const { client, connection, stream } = await startDuplex(t)
  client.pause()
  const failed = once(stream, 'error') as Promise<[Error]>
  while (stream.write(Buffer.alloc(1024 * 1024))) await turn()
  while (!stream.writableNeedDrain || connection.bufferedAmount === 0) await turn()
  client.reset()
  t.match((await failed)[0], { code: 'WS_ERR_CONNECTION_CLOSED' })

  const other = await startDuplex(t)
  other.connection.close(1000)
  const error = await new Promise<Error | null | undefined>(resolve => { other.stream.write('late', resolve) })
  t.match(error, { code: 'WS_ERR_CONNECTION_CLOSED' })
})

test('a source that is idle when the peer leaves: the pipeline into the stream fails', async t => {
  const outcome = gate<unknown>()
  const { client } = await startConnection(t, { closeTimeout: 50 }, async connection => {
    const idle = new PassThrough()
    await pipeline(idle, connection.toDuplex()).then(() => { outcome.open('done') }, outcome.open)
  })
  client.write(close(1001))
  await client.rest()
  client.end()
  t.match(await outcome.opened, { code: 'WS_ERR_CONNECTION_CLOSED' })
})

test('a file into the stream: all of it, then the end', async t => {
  const outcome = gate<unknown>()
  const { client } = await startConnection(t, {}, async connection => {
    await pipeline(Readable.from(numbered('p', 1000)), connection.toDuplex({ objectMode: true })).then(() => { outcome.open('done') }, outcome.open)
  })
  t.strictSame(await client.take(1001), [...numbered('text p', 1000), 'close 1000'])
  client.end(close(1000))
  t.equal(await outcome.opened, 'done')
})

test('a signal that aborts a pipeline drops the connection', async t => {
  const controller = new AbortController()
  const outcome = gate<unknown>()
  const { client } = await startConnection(t, {}, async connection => {
    const stream = connection.toDuplex()
    await pipeline(stream, new PassThrough(), stream, { signal: controller.signal }).catch(outcome.open)
  })
  controller.abort()
  t.match(await outcome.opened, { name: 'AbortError' })
  await client.ended
})

test('nobody reads: the peer has to wait, and nothing is lost', async t => {
  const { client, connection, stream } = await startDuplex(t)
  const payload = Buffer.alloc(64 * 1024, 'x')
  let sent = 0
  while (client.socket.write(binary(payload))) if (++sent > 10_000) throw new Error('it does not wait')
  sent++
  while (!connection._socket!.isPaused()) await turn()
  let received = 0
  stream.on('data', (chunk: Buffer) => { received += chunk.length })
  while (received < sent * payload.length) await turn()
  t.equal(received, sent * payload.length)
})

for (const size of [1000, 16 * 1024, 16 * 1024 + 1, 40_000, 63_000, 100_000]) {
  test(`the memory of a chunk of ${size} bytes may be used again when its write is done, also when the peer does not read`, async t => {
    const { client, stream } = await startDuplex(t)
    const results = await writeFromOneMemory(stream, client, size)
    t.ok(results.length > 1)
    t.ok(results.every(isIntact => isIntact), `${results.length} messages`)
  })
}

test('it is one of the pull readers: there is one at a time, and listeners observe', async t => {
  const { client, connection, stream } = await startDuplex(t)
  t.throws(() => connection.iterator(), ReaderBusyError)
  t.throws(() => connection.toDuplex(), ReaderBusyError)
  const observed: string[] = []
  connection.on('message', data => { observed.push(String(data)) })
  client.write(binary('a'))
  await client.roundTrip()
  t.strictSame(observed, [], 'who observes does not pull')
  stream.resume()
  while (observed.length === 0) await turn()
  t.strictSame(observed, ['a'])
})

test('a connection of which nobody takes a stream does not wait for one', async t => {
  const seen: string[] = []
  const { client } = await startConnection(t, {}, (connection: WebSocketConnection) => {
    connection.on('message', data => { seen.push(String(data)) })
  })
  client.write(...numbered('m', 1000).map(text))
  await client.roundTrip()
  t.equal(seen.length, 1000)
})

test('an unpiped source no longer holds up a Close', async t => {
  const { client, stream } = await startDuplex(t)
  const source = new PassThrough()
  source.pipe(stream)
  source.unpipe(stream)
  stream.resume()
  client.write(close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
})

test('who only reads, with listeners or a loop, is at the end when the peer has closed', async t => {
  for (const read of [async (stream: Duplex) => { stream.resume() }, async (stream: Duplex) => { for await (const chunk of stream) t.equal(String(chunk), 'a') }]) {
    const { client, connection, stream } = await startDuplex(t)
    const closed = once(stream, 'close')
    const reading = read(stream)
    client.write(binary('a'))
    await client.roundTrip()
    client.end(close(1000))
    t.strictSame(await client.rest(), ['close 1000'])
    await closed
    await reading
    t.match(await connection.closed, { code: 1000, wasClean: true })
  }
})

test('read() once for each readable gets everything, and so does a decoder of characters that messages cut', async t => {
  const { client, stream } = await startDuplex(t)
  const received: string[] = []
  stream.on('readable', () => {
    const chunk = stream.read() as Buffer | null
    if (chunk !== null) received.push(String(chunk))
  })
  for (const name of numbered('m', 20)) {
    client.write(binary(name))
    await client.roundTrip()
  }
  while (received.join('').length < numbered('m', 20).join('').length) await turn()
  t.equal(received.join(''), numbered('m', 20).join(''))

  const other = await startDuplex(t)
  other.stream.setEncoding('utf8')
  const [first, second] = [Buffer.from('é').subarray(0, 1), Buffer.from('é').subarray(1)]
  other.client.end(binary(first), binary(second), close(1000))
  let text = ''
  for await (const chunk of other.stream) text += String(chunk)
  t.equal(text, 'é')
})

test('a slow reader gets all that comes after end()', async t => {
  const { client, stream } = await startDuplex(t)
  client.write(...numbered('m', 12).map(binary))
  const received: string[] = []
  const reading = pipeline(stream, new Writable({
    highWaterMark: 1,
    write (chunk, _encoding, callback) {
      received.push(String(chunk))
      if (received.length === 1) stream.end('bye')
      setImmediate(() => { setImmediate(() => { callback() }) })
    }
  }))
  t.strictSame(await client.take(2), ['binary bye', 'close 1000'])
  client.end(...numbered('n', 12).map(binary), close(1000))
  await reading
  t.equal(received.join(''), [...numbered('m', 12), ...numbered('n', 12)].join(''))
})

test('who only writes holds up no Close, and neither does a pipe that has ended without ending the stream', async t => {
  const failed = gate<unknown>()
  const { client } = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
    await pipeline(new PassThrough(), connection.toDuplex()).catch(failed.open)
  })
  client.write(close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
  client.end()
  t.match(await failed.opened, { code: 'WS_ERR_CONNECTION_CLOSED' })

  const other = await startDuplex(t)
  const source = new PassThrough()
  source.pipe(other.stream, { end: false })
  other.stream.resume()
  other.client.write(close(1000))
  await once(other.stream, 'end')
  t.strictSame(other.client.frames, [])
  source.end()
  source.unpipe(other.stream)
  t.strictSame(await other.client.rest(), ['close 1000'])
})

test('nobody reads or writes: the stream closes with the connection', async t => {
  const dropped = await startDuplex(t)
  const failed = once(dropped.stream, 'error') as Promise<[Error]>
  dropped.client.reset()
  t.match((await failed)[0], { code: 'WS_ERR_CONNECTION_CLOSED' })
  const { client, stream } = await startDuplex(t)
  const finished = once(stream, 'finish')
  client.end(close(1000))
  await finished
  stream.resume()
  await once(stream, 'close')
})

test('a small write that send() answers with false is done at drain', async t => {
  const streams = gate<Duplex>()
  const { client, connection } = await startConnection(t, { highWaterMark: 1 }, connection => { streams.open(connection.toDuplex()) })
  const stream = await streams.opened
  let isDone = false
  const done = new Promise<void>(resolve => {
    stream.write('a', () => {
      isDone = true
      resolve()
    })
  })
  t.ok(connection.bufferedAmount > 0)
  t.equal(isDone, false)
  await done
  t.equal(connection.bufferedAmount, 0)
  t.strictSame(await client.take(1), ['binary a'])
})

test('without an error listener a peer that leaves does no harm, and an error of the handler goes to the errorHandler', async t => {
  const errors: unknown[] = []
  const streams = [gate<Duplex>(), gate<Duplex>()]
  let opened = 0
  const { client, connection, port } = await startConnection(t, { errorHandler (error) { errors.push(error) } }, connection => {
    streams[opened++]!.open(connection.toDuplex({ objectMode: true }).resume())
  })
  client.reset()
  await connection.closed
  await turn()
  t.strictSame(errors, [])
  await openRawClient(t, port)
  const stream = await streams[1]!.opened
  const closed = new Promise<void>(resolve => { stream.on('close', resolve) })
  stream.write({ not: 'a message' })
  await closed
  t.match(errors, [{ name: 'TypeError' }])
})

test('what is discarded because the handler has failed fails the stream, which does not cut off the Close that says so', async t => {
  const streams = gate<Duplex>()
  const fail = gate()
  const { client, connection } = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
    streams.open(connection.toDuplex().on('data', () => {}))
    await fail.opened
    throw new Error('of the handler')
  })
  const stream = await streams.opened
  const failed = once(stream, 'error')
  client.pause()
  connection.send(Buffer.alloc(16 * 1024 * 1024)) // more than the kernel takes
  connection.pause()
  client.write(text('held'))
  while (connection.stats().bytesReceived === 0) await turn()
  fail.open()
  t.match(await failed, [{ code: 'WS_ERR_CONNECTION_CLOSED', closeCode: 1011 }])
  client.resume()
  t.equal((await client.rest()).at(-1), 'close 1011')
  client.end()
  t.match(await connection.closed, { sent: { code: 1011 }, cause: 'handler' })
})
