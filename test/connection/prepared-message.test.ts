// prepare(): one message for many connections.
import { inflateRawSync, constants } from 'node:zlib'
import { test, type Test } from 'tap'
import { connect, prepare } from '../../lib/index.ts'
import { Deflater } from '../../lib/compression/deflater.ts'
import { FrameRun } from '../../lib/framing/frame-run.ts'
import { PreparedMessage } from '../../lib/connection/prepared-message.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { PerMessageDeflateOptions } from '../../types/options.ts'
import { startApp, startConnection } from '../helpers/app.ts'
import { describe, openRawClient, type RawClient, type ReceivedFrame } from '../helpers/raw-client.ts'

const OFFER = { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } }
const SETTINGS = { level: 3, memLevel: 8, threshold: 0, concurrency: 1 }
const long = 'again and '.repeat(400)

function inflate ({ payload }: ReceivedFrame): string {
  return String(inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: constants.Z_SYNC_FLUSH }))
}

/** Connections of one route, some of which compress. */
async function startMany (t: Test, perMessageDeflate: PerMessageDeflateOptions | boolean): Promise<{
  clients: RawClient[], connections: ReadonlySet<WebSocketConnection>
}> {
  const { app, port } = await startApp(t, { perMessageDeflate, shutdownTimeout: 100 }, app => { app.get('/', { websocket: true }, () => {}) })
  const clients = [await openRawClient(t, port), await openRawClient(t, port, OFFER), await openRawClient(t, port, OFFER)]
  return { clients, connections: app.websocketServer.clients }
}

test('a prepared message arrives as text or binary, in its place among others, and its callback is called', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  const bytes = Buffer.from('bytes')
  const messages = [prepare('text'), prepare(bytes), prepare(bytes, { binary: false }), prepare(7), prepare('b', { binary: true }), prepare('')]
  bytes.fill('x')
  connection.send('first')
  for (const message of messages) connection.send(message)
  const sent = new Promise<void>(resolve => { connection.send(messages[0]!, () => { resolve() }) })
  connection.send('last')
  t.strictSame(await client.take(9), ['text first', 'text text', 'binary bytes', 'text bytes', 'text 7', 'binary b', 'text', 'text text', 'text last'])
  await sent
  t.equal(connection.stats().messagesSent, 9)
  t.equal(messages[1]!.length, 5)
})

test('a large one goes out as the memory that it has, and counts as unsent', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  const message = prepare(Buffer.alloc(100_000, 'a'))
  t.equal(connection.send(message), false)
  t.ok(connection.bufferedAmount > 100_000)
  t.equal((await client.next()).payload.length, 100_000)
})

test('who agreed on compression gets it compressed, once for all; the others as it is', async t => {
  for (const text of [long, long.repeat(20)]) {
    const { clients, connections } = await startMany(t, true)
    const message = prepare(text)
    for (const connection of connections) {
      connection.send(message)
      connection.send('behind')
    }
    const frames: ReceivedFrame[] = []
    for (const client of clients) {
      frames.push(await client.next())
      t.strictSame(await client.take(1), ['text behind'])
    }
    t.strictSame(frames.map(({ rsv }) => rsv), [0, 4, 4])
    t.equal(String(frames[0]!.payload), text)
    t.equal(inflate(frames[1]!), text)
    t.strictSame(frames[1]!.payload, frames[2]!.payload)
  }
})

test('what is small, does not get smaller, or says so is sent as it is', async t => {
  const { clients: [, client], connections } = await startMany(t, { threshold: 10 })
  const [, connection] = connections
  for (const message of [prepare('small'), prepare('abcdefghijkl'), prepare(long, { compress: false })]) connection!.send(message)
  for (const text of ['small', 'abcdefghijkl', long]) t.equal(describe(await client!.next()), `text ${text}`.trimEnd())
})

test('with context takeover, and from a client, each connection makes its own', async t => {
  const { clients: [, client], connections } = await startMany(t, { contextTakeover: true })
  const message = prepare(long)
  for (let i = 0; i < 2; i++) [...connections][1]!.send(message)
  const [first, second] = [await client!.next(), await client!.next()]
  t.equal(inflate(first), long)
  t.ok(second.payload.length < first.payload.length, 'it refers to the first')

  const { url } = await startApp(t, {}, app => {
    app.get('/', { websocket: true }, connection => { connection.on('message', data => { connection.send(String(data)) }) })
  })
  const peer = await connect(url)
  peer.send(message)
  t.equal(await peer.receive(), long)
  peer.terminate()
})

test('it is deflated once for each form', async t => {
  const message = new PreparedMessage(1, Buffer.from(long), true)
  const deflater = (windowBits: number, level = 3): Deflater => new Deflater({ contextTakeover: false, windowBits }, { ...SETTINGS, level })
  const frame = message.deflatedBy(deflater(15))
  t.ok(frame instanceof FrameRun)
  t.equal(message.deflatedBy(deflater(15)), frame)
  t.not(message.deflatedBy(deflater(9)), frame)
  t.not(message.deflatedBy(deflater(15, 9)), frame)
  const large = new PreparedMessage(1, Buffer.from(long.repeat(20)), true)
  const making = large.deflatedBy(deflater(15))
  t.ok(making instanceof Promise)
  t.equal(large.deflatedBy(deflater(15)), making)
  t.equal(large.deflatedBy(deflater(15)), making)
  t.equal(await making, large.deflatedBy(deflater(15)))
})

test('what cannot be prepared or sent says why', async t => {
  t.throws(() => prepare(new Blob(['a'])), { name: 'TypeError', message: /Blob/ })
  t.throws(() => prepare({} as never), { name: 'TypeError' })
  const { connection } = await startConnection(t, {}, () => {})
  connection.send('a', { fin: false })
  t.throws(() => connection.send(prepare('b')), { message: /fin: false/ })
  connection.terminate()
  t.equal(connection.send(prepare('b')), false)
})
