// Frames at a pace, by a clock of the test; then connections that are limited.
import { constants, deflateRawSync } from 'node:zlib'
import { test, type Test } from 'tap'
import { RateLimitedFrameReader, type RateLimit } from '../../../lib/connection/incoming/rate-limited-frame-reader.ts'
import { Inflater } from '../../../lib/compression/inflater.ts'
import { connect } from '../../../lib/index.ts'
import type { WebSocketConnection } from '../../../types/connection.ts'
import type { RateLimitOptions } from '../../../types/options.ts'
import { ping, text, close, describe as describeFrame } from '../../helpers/raw-client.ts'
import { clientFrame } from '../../helpers/frames.ts'
import { ManualClock } from '../../helpers/manual-clock.ts'
import { startApp, startConnection, turn } from '../../helpers/app.ts'
import { close as closeFrame, deferred, echo, serve, text as textFrame, within } from '../../helpers/http.ts'
import { openSession, serveHttp2 } from '../../helpers/http2.ts'

const KIB = 1024

/** A reader, what it has given and when; it is read on whenever it says that it is ready. */
function setUp (limit: Partial<RateLimit>, inflater: Inflater | null = null) {
  const clock = new ManualClock()
  const taken: Array<[time: number, frame: string]> = []
  const reader: RateLimitedFrameReader = new RateLimitedFrameReader('server', false, inflater, { burst: 1, maxWait: 0, ...limit }, () => { read() }, clock)
  const read = (): void => {
    for (let frame = reader.next(); frame !== null; frame = reader.next()) {
      if (frame.last) taken.push([clock.now(), !frame.first || frame.payload.length > 100 ? `${frame.opcode} large` : describeFrame(frame as never)])
    }
  }
  const feed = (...chunks: Buffer[]): void => {
    for (const chunk of chunks) {
      reader.feed(chunk)
      read()
    }
  }
  return { clock, taken, reader, feed }
}

const exceeded = { code: 'WS_ERR_RATE_LIMIT', closeCode: 1013, message: 'too many messages' }

test('of messages a burst passes, then as many as the rate is', t => {
  const { feed, taken, clock } = setUp({ messages: 2 })
  feed(text('a'), text('b'))
  t.throws(() => { feed(text('c')) }, exceeded)
  t.equal(taken.length, 2)
  const later = setUp({ messages: 2 })
  later.feed(text('a'), text('b'))
  later.clock.advance(500)
  later.feed(text('c'))
  t.throws(() => { later.feed(text('d')) }, exceeded)
  t.equal(clock.pending, 0, 'no timer')
  t.end()
})

test('control frames count, and a Close does not', t => {
  const flood = setUp({ messages: 3 })
  t.throws(() => { flood.feed(Buffer.concat([ping(), ping(), text('a'), ping()])) }, exceeded)
  t.strictSame(flood.taken.map(([, frame]) => frame), ['ping', 'ping', 'text a'])
  const { feed, taken } = setUp({ messages: 1 })
  feed(text('a'), close(1000))
  t.strictSame(taken.map(([, frame]) => frame), ['text a', 'close 1000'])
  t.end()
})

test('a message counts once, when it is complete, whatever number of fragments it has', t => {
  const { feed, taken } = setUp({ messages: 1 })
  const fragments = [0, 1, 2, 3].map(i => clientFrame({ opcode: i === 0 ? 1 : 0, fin: i === 3, payload: String(i) }))
  feed(...fragments)
  t.equal(taken.length, 4)
  t.throws(() => { feed(text('b')) }, exceeded)
  t.end()
})

test('a fragment of a message that never ends is judged when it begins', t => {
  const { feed } = setUp({ bytes: 100 })
  feed(clientFrame({ opcode: 1, fin: false, payload: 'x'.repeat(90) }), clientFrame({ opcode: 0, fin: false, payload: 'y'.repeat(90) }))
  t.throws(() => { feed(clientFrame({ opcode: 0, fin: false, payload: '' })) }, exceeded)
  t.end()
})

test('what waits comes when its time has come, all in order', t => {
  const { feed, taken, reader, clock } = setUp({ messages: 2, maxWait: 10_000 })
  feed(Buffer.concat(['a', 'b', 'c', 'd', 'e'].map(text)), close(1000))
  t.equal(reader.isWaiting, true)
  t.equal(reader.isBusy, true)
  clock.advance(5000)
  t.strictSame(taken, [[0, 'text a'], [0, 'text b'], [500, 'text c'], [1000, 'text d'], [1500, 'text e'], [1500, 'close 1000']])
  t.equal(reader.isBusy, false)
  t.end()
})

test('1 MiB in one message at 64 KiB/s passes, and the next waits for 15 s', t => {
  const chunks = (): Buffer[] => {
    const frame = clientFrame({ opcode: 2, payload: Buffer.alloc(KIB * KIB) })
    return Array.from({ length: Math.ceil(frame.length / (64 * KIB)) }, (_, i) => frame.subarray(i * 64 * KIB, (i + 1) * 64 * KIB))
  }
  const { feed, taken, clock } = setUp({ bytes: 64 * KIB, maxWait: 20_000 })
  feed(...chunks(), text('next'))
  t.strictSame(taken, [[0, '2 large']])
  clock.advance(20_000)
  t.equal(taken.length, 2)
  t.ok(taken[1]![0] >= 15_000 && taken[1]![0] <= 17_000, `${taken[1]![0]} ms`)
  const impatient = setUp({ bytes: 64 * KIB, maxWait: 10_000 })
  impatient.feed(...chunks())
  t.equal(impatient.taken.length, 1)
  t.throws(() => { impatient.feed(text('next')) }, exceeded, 'with the default it is closed')
  const calm = setUp({ bytes: 64 * KIB, maxWait: 10_000 })
  calm.feed(...chunks())
  calm.clock.advance(16_000)
  calm.feed(text('next'))
  t.strictSame(calm.taken.at(-1), [16_000, 'text next'], 'who waits by himself is not closed')
  t.end()
})

test('bytes are those of the wire, and what is compressed is judged when it begins', t => {
  const clock = new ManualClock()
  const inflater = new Inflater({ contextTakeover: false }, 1, () => {})
  const { feed, taken } = setUp({ bytes: 1000 }, inflater)
  const data = deflateRawSync(Buffer.alloc(50_000), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
  t.ok(data.length < 100)
  const compressed = clientFrame({ opcode: 2, rsv1: true, payload: data } as Parameters<typeof clientFrame>[0])
  feed(...Array.from({ length: 8 }, () => compressed))
  t.equal(taken.length, 8, 'fifty times as much inflated')
  t.equal(clock.pending, 0)
  t.end()
})

test('after lift() nothing counts, and what waited is there', t => {
  const { feed, taken, reader, clock } = setUp({ messages: 1, maxWait: 10_000 })
  feed(text('a'), text('b'))
  t.equal(taken.length, 1)
  reader.lift()
  t.equal(reader.isWaiting, false)
  feed(text('c'), text('d'))
  t.strictSame(taken.map(([, frame]) => frame), ['text a', 'text b', 'text c', 'text d'])
  t.equal(clock.pending, 0)
  t.end()
})

test('when it is dropped nobody is called back any more', t => {
  const { feed, reader, clock } = setUp({ messages: 1, maxWait: 10_000 })
  feed(text('a'), text('b'))
  t.equal(clock.pending, 1)
  reader.destroy()
  t.equal(clock.pending, 0)
  t.end()
})

// Connections

/** Opens a connection to a route with that limit. */
async function startLimited (t: Test, rateLimit: RateLimitOptions, plugin = {}) {
  const messages: string[] = []
  const started = await startConnection(t, { rateLimit, closeTimeout: 200, ...plugin }, connection => {
    connection.on('message', data => {
      messages.push(data.toString())
      connection.send(data.toString())
    })
  })
  return { ...started, messages }
}

test('a connection that sends too much is closed with 1013, after its answers, and it is said why', async t => {
  const { client, connection, messages } = await startLimited(t, { messages: 3, burst: 1 })
  const errors: Error[] = []
  connection.on('error', error => { errors.push(error) })
  client.write(...['a', 'b', 'c', 'd', 'e'].map(text))
  t.strictSame(await client.rest(), ['text a', 'text b', 'text c', 'close 1013 too many messages'])
  client.end(close(1013))
  const info = await connection.closed
  t.match(info, { cause: 'rate', sent: { code: 1013, reason: 'too many messages' } })
  t.strictSame(messages, ['a', 'b', 'c'])
  t.match(errors, [exceeded])
})

test('a flood of Pings is closed', async t => {
  const { client, connection } = await startLimited(t, { messages: 10 })
  client.write(...Array.from({ length: 100 }, () => ping('x')))
  t.match((await client.rest()).at(-1), 'close 1013 too many messages')
  t.equal((await connection.closed).cause, 'rate')
})

test('who waits is read no more until then, is not judged by the heartbeat, and its Close behind that is answered', async t => {
  const { client, connection } = await startLimited(t, { messages: 20, burst: 0.05, onExceeded: 'wait' }, {
    heartbeat: { interval: 20, timeout: 20 }, closeTimeout: 20
  })
  client.write(...Array.from({ length: 6 }, (_, i) => text(String(i))))
  while (!connection._socket!.isPaused()) await turn()
  client.write(close(4000))
  const frames = (await client.rest()).filter(frame => frame !== 'ping')
  t.strictSame(frames, ['text 0', 'text 1', 'text 2', 'text 3', 'text 4', 'text 5', 'close 4000'])
  client.end()
  t.match(await connection.closed, { code: 4000, wasClean: true, cause: 'peer' })
})

test('of a flood that has to wait, one chunk is held here, and what Node reads before it stops', async t => {
  const { client, connection, messages } = await startLimited(t, { bytes: 64 * KIB, onExceeded: 'wait', maxWait: 100_000 })
  const message = clientFrame({ opcode: 1, payload: 'x'.repeat(4000) })
  client.write(...Array.from({ length: 2048 }, () => message)) // 8 MiB
  const socket = connection._socket!
  while (socket.readableLength < socket.readableHighWaterMark) await turn()
  await turn() // it has stopped
  const { bytesReceived } = connection.stats()
  t.equal(socket.isPaused(), true)
  t.ok(bytesReceived - messages.length * message.length <= 64 * KIB)
  t.ok(socket.readableLength <= socket.readableHighWaterMark + 64 * KIB)
  connection.terminate()
})

test('inspect() says who waits for his rate', async t => {
  const { client, app, connection } = await startLimited(t, { messages: 1, onExceeded: 'wait', maxWait: 100_000 })
  connection.on('message', () => { connection.pause() })
  client.write(text('a'), text('b'), text('c'))
  while (!connection._socket!.isPaused()) await turn()
  connection.resume()
  await turn()
  t.strictSame(app.websocketServer.inspect().map(({ waiting }) => waiting), [])
  connection.send(Buffer.alloc(100))
  t.strictSame(app.websocketServer.inspect().map(({ waiting }) => waiting), ['rate'])
  connection.terminate()
})

test('our own close() waits for no rate, and a transport that is gone neither', async t => {
  const { client, connection } = await startLimited(t, { messages: 1, onExceeded: 'wait', maxWait: 100_000 })
  client.write(text('a'), text('b'), text('c'))
  while (!connection._socket!.isPaused()) await turn()
  connection.close(4001)
  client.write(close(4001))
  client.end()
  t.match(await within(2000, connection.closed, 'the end'), { code: 4001, wasClean: true })
  const other = await startLimited(t, { messages: 0.01, burst: 100, onExceeded: 'wait', maxWait: 200_000 }, { closeTimeout: 50 })
  other.client.write(text('a'), text('b'))
  while (!other.connection._socket!.isPaused()) await turn()
  other.client.reset()
  other.connection._socket!.destroy()
  t.match(await within(2000, other.connection.closed, 'the end'), { code: 1006 })
})

test('closeTimeout does not run while we make the peer wait', async t => {
  const { client, connection, messages } = await startLimited(t, { messages: 10, burst: 0.1, onExceeded: 'wait' }, { closeTimeout: 30 })
  client.end(text('a'), text('b'), text('c'))
  await within(5000, connection.closed, 'the end')
  t.strictSame(messages, ['a', 'b', 'c'])
})

test('a route may have its own limit, or none; HTTP/2, clients and connections without a network are limited alike', async t => {
  const limited = { websocket: { rateLimit: { messages: 2 } } } as const
  const { app, site } = await serve(t, app => {
    app.get('/own', limited, echo)
    app.get('/none', { websocket: { rateLimit: false } }, echo)
    app.get('/ws', { websocket: true }, echo)
  }, { plugin: { rateLimit: { messages: 1 }, closeTimeout: 200 } })
  const closeCodeOf = async (path: string, count: number): Promise<unknown> => {
    const peer = await site.open(path)
    peer.write(...Array.from({ length: count }, () => textFrame('a')))
    const contents = await peer.contents(count)
    return contents.findIndex(content => content === 1013)
  }
  t.equal(await closeCodeOf('/ws', 2), 1)
  t.equal(await closeCodeOf('/own', 3), 2)
  t.equal(await closeCodeOf('/none', 50), -1)
  const injected = await app.injectWS('/ws', { closeTimeout: 200 })
  injected.send('a')
  injected.send('b')
  t.match(await injected.closed, { code: 1013 })

  const http2 = await serveHttp2(t, app => { app.get('/ws', limited, echo) })
  const peer = await (await openSession(t, http2)).open()
  t.strictSame(await peer.write(textFrame('a'), textFrame('b'), textFrame('c')).contents(3), ['a', 'b', 1013])
  peer.write(closeFrame(1013))

  const told = deferred<WebSocketConnection>()
  const server = await startApp(t, {}, app => {
    app.get('/', { websocket: true }, connection => {
      told.resolve(connection)
      for (const word of ['a', 'b', 'c']) connection.send(word)
    })
  })
  const client = await connect(server.url, { rateLimit: { messages: 2 }, closeTimeout: 200 })
  client.resume()
  t.match(await client.closed, { code: 1006, cause: 'rate' })
  t.match(await (await told.promise).closed, { code: 1013 })
})
