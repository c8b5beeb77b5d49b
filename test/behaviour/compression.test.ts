// permessage-deflate over real connections: who sends what, and what compressed data can do to a server.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { deflateRawSync, inflateRawSync, constants } from 'node:zlib'
import { test, type Test } from 'tap'
import { WebSocket as Undici } from 'undici'
import { WebSocket, WebSocketServer } from 'ws'
import type { AddressInfo } from 'node:net'
import websocket, { connect, HandshakeError } from '../../lib/index.ts'
import Fastify from 'fastify'
import type { WebSocketHandler } from '../../types/fastify.ts'
import type { PerMessageDeflateOptions, WebSocketPluginOptions } from '../../types/options.ts'
import { gate, startApp, startConnection, turn, type StartedConnection } from '../helpers/app.ts'
import { clientFrame } from '../helpers/frames.ts'
import { BINARY, close, describe, ping, TEXT, text, type ReceivedFrame } from '../helpers/raw-client.ts'

const KIB = 1024
const NEVER = { closeTimeout: 60_000, shutdownTimeout: 100 }
const OFFER = { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } }
const echo: WebSocketHandler = connection => {
  connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
}

function deflate (data: Buffer | string): Buffer {
  return deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
}

function inflate ({ payload }: ReceivedFrame): string {
  return String(inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: constants.Z_SYNC_FLUSH }))
}

const compressed = (payload: Buffer | string, opcode = TEXT): Buffer => clientFrame({ opcode, payload: deflate(payload), rsv: 4 })

/** Words, as no two messages are the same. */
function words (length: number, seed = 0): string {
  let result = ''
  for (let i = 0; result.length < length; i++) result += `the ${(i * 7919 + seed) % 1000} quick brown foxes `
  return result.slice(0, length)
}

async function startDeflated (
  t: Test, option: boolean | PerMessageDeflateOptions, handler: WebSocketHandler, options: WebSocketPluginOptions = {}
): Promise<StartedConnection> {
  return startConnection(t, { ...NEVER, perMessageDeflate: option, ...options }, handler, OFFER)
}

// with the clients that people use

const SIZES = [0, 1, 125, 126, 1023, 1024, 16 * KIB, 65_535, 65_536, 1_000_000]

for (const [name, option] of Object.entries<boolean | PerMessageDeflateOptions>({
  'with the defaults': true,
  'with context takeover': { contextTakeover: true, threshold: 0 },
  'with a small window': { windowBits: 9, threshold: 0, level: 9, memLevel: 1 }
})) {
  test(`ws, undici and connect() get their echoes ${name}, whatever they ask for`, async t => {
    const { url } = await startApp(t, { ...NEVER, perMessageDeflate: option }, app => { app.get('/', { websocket: true }, echo) })
    for (const wish of [
      {}, { threshold: 0 }, { serverNoContextTakeover: true, threshold: 0 }, { clientNoContextTakeover: true, threshold: 0 },
      { serverMaxWindowBits: 10, clientMaxWindowBits: 11, threshold: 0 }, { serverMaxWindowBits: 8 }, { clientMaxWindowBits: 8 }
    ]) {
      const client = new WebSocket(url, { perMessageDeflate: wish })
      await once(client, 'open')
      t.equal(client.extensions, 'permessage-deflate', JSON.stringify(wish))
      for (const size of [...SIZES, 500, 500, 5000, 5000]) {
        client.send(words(size, size))
        const [data, isBinary] = await once(client, 'message') as [Buffer, boolean]
        if (isBinary || String(data) !== words(size, size)) t.fail(`${size} bytes of text`)
        client.send(Buffer.from(words(size)))
        const [bytes] = await once(client, 'message') as [Buffer]
        if (String(bytes) !== words(size)) t.fail(`${size} bytes of binary`)
      }
      // in fragments
      for (const part of [words(3000), '', words(10, 5)]) client.send(part, { fin: false })
      client.send('end')
      const [joined] = await once(client, 'message') as [Buffer]
      t.equal(String(joined), `${words(3000)}${words(10, 5)}end`)
      client.terminate()
    }

    const undici = new Undici(url)
    await once(undici, 'open')
    t.match(undici.extensions, /^permessage-deflate/)
    for (const size of SIZES) {
      undici.send(words(size))
      const [{ data }] = await once(undici, 'message') as [{ data: string }]
      t.ok(data === words(size), `${size} bytes with undici`)
    }
    undici.close()

    for (const wish of [true, { contextTakeover: true, threshold: 0 }, { windowBits: 10, threshold: 0 }]) {
      const client = await connect(url, { perMessageDeflate: wish })
      t.match(client.extensions, /^permessage-deflate/)
      for (const size of [...SIZES, 500, 500]) {
        client.send(words(size))
        t.ok(await client.receive() === words(size), `${size} bytes with connect()`)
      }
      client.terminate()
    }
  })
}

test('connect() takes what servers of ws answer, and fails when it is not what it offered', async t => {
  const serve = async (options: object): Promise<string> => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: options })
    t.teardown(() => { server.close() })
    server.on('connection', peer => { peer.on('message', (data, isBinary) => { peer.send(data, { binary: isBinary }) }) })
    await once(server, 'listening')
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  for (const options of [{ threshold: 0 }, { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 8 }, { serverNoContextTakeover: true }]) {
    const client = await connect(await serve(options), { perMessageDeflate: { contextTakeover: true, threshold: 0 } })
    for (const size of [...SIZES, 500, 500]) {
      client.send(words(size))
      t.ok(await client.receive() === words(size), `${size} bytes with ${JSON.stringify(options)}`)
    }
    client.terminate()
  }

  const answering = async (answer: string): Promise<string> => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    t.teardown(() => { server.close() })
    server.on('headers', headers => { headers.push(`Sec-WebSocket-Extensions: ${answer}`) })
    await once(server, 'listening')
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  for (const [answer, wish] of [
    ['permessage-deflate', false], ['x', true], ['permessage-deflate; a=', true], ['permessage-deflate', true],
    ['permessage-deflate; server_no_context_takeover, permessage-deflate', true]
  ] as const) {
    await t.rejects(connect(await answering(answer), { perMessageDeflate: wish }), { constructor: HandshakeError, code: 'FST_WS_EXTENSIONS' }, answer)
  }
})

// what is compressed

test('the answer to an offer says what was agreed on, a connection without one is not compressed', async t => {
  const { client, connection } = await startDeflated(t, true, echo)
  const agreed = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'
  t.match(await client.response, `\r\nSec-WebSocket-Extensions: ${agreed}`)
  t.equal(connection.extensions, agreed)
  const other = await startConnection(t, { ...NEVER, perMessageDeflate: true }, echo)
  t.notMatch(await other.client.response, /sec-websocket-extensions/i)
  t.equal(other.connection.extensions, '')
  other.client.write(text(words(5000)))
  t.strictSame(await other.client.take(1), [`text ${words(5000)}`.trimEnd()])
  other.client.write(compressed('x'))
  t.match(await other.client.take(1), [/^close 1002 RSV1/])
})

test('a route decides for itself, upgrade() and all names of ws too', async t => {
  const app = Fastify()
  await app.register(websocket, { options: { perMessageDeflate: { threshold: 10, zlibDeflateOptions: { level: 9, chunkSize: 1 }, concurrencyLimit: 2 } }, shutdownTimeout: 100 })
  app.get('/on', { websocket: true }, echo)
  app.get('/off', { websocket: { perMessageDeflate: false } }, echo)
  app.get('/takeover', { websocket: { perMessageDeflate: { contextTakeover: true } } }, echo)
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const url = `ws://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  const extensions = async (path: string): Promise<string> => {
    const client = await connect(url + path, { perMessageDeflate: { contextTakeover: true } })
    t.teardown(() => { client.terminate() })
    return client.extensions
  }
  t.equal(await extensions('/on'), 'permessage-deflate; server_no_context_takeover; client_no_context_takeover')
  t.equal(await extensions('/off'), '')
  t.equal(await extensions('/takeover'), 'permessage-deflate')
})

test('messages from the threshold on are compressed, unless compress is false, they are fragments, or would not get smaller', async t => {
  const { client, connection } = await startDeflated(t, { threshold: 100 }, () => {})
  connection.send(words(99))
  connection.send(words(100))
  connection.send(Buffer.from(words(100)), { compress: true })
  connection.send(words(99), { compress: true })
  connection.send(words(100), { compress: false })
  connection.send(words(100), { fin: false })
  connection.send(words(100))
  connection.send(new Blob([words(100)]))
  connection.send(randomBytes(1000))
  const lengths: number[] = []
  for (let i = 0; i < 9; i++) {
    const frame = await client.next()
    lengths.push(frame.payload.length)
    if (frame.rsv === 4) t.equal(inflate(frame), words(100))
    t.equal(frame.rsv === 4, [1, 2, 7].includes(i), `frame ${i}: ${describe(frame).slice(0, 30)}`)
  }
  t.ok(lengths[1]! < 80)
})

test('an empty message that is compressed is one byte, both ways', async t => {
  const { client } = await startDeflated(t, { threshold: 0 }, echo)
  client.write(clientFrame({ opcode: TEXT, payload: Buffer.from([0]), rsv: 4 }))
  t.match(await client.next(), { opcode: TEXT, rsv: 4, payload: Buffer.from([0]) })
})

test('messages keep their order where some are compressed beside the event loop, and a Pong overtakes', async t => {
  const { client, connection } = await startDeflated(t, true, connection => {
    connection.on('message', data => {
      connection.send(words(2_000_000, 1))
      connection.send(data)
      connection.send(words(5000, 2))
      connection.send(words(100_000, 3))
      connection.ping('now')
      t.ok(connection.bufferedAmount >= 2_000_000)
    })
  })
  client.write(text('small'))
  t.equal(describe(await client.next()), 'ping now')
  t.ok(inflate(await client.next()) === words(2_000_000, 1))
  t.equal(describe(await client.next()), 'binary small')
  t.ok(inflate(await client.next()) === words(5000, 2))
  t.ok(inflate(await client.next()) === words(100_000, 3))
  await connection.drained()
  t.equal(connection.bufferedAmount, 0)
})

test('a Close waits for what is being compressed', async t => {
  const { client } = await startDeflated(t, true, connection => {
    connection.send(words(2_000_000))
    connection.close(4000)
  })
  t.ok(inflate(await client.next()) === words(2_000_000))
  t.strictSame(await client.take(1), ['close 4000'])
})

test('terminate() drops what is being compressed and inflated', async t => {
  const { client, connection } = await startDeflated(t, { concurrency: 1 }, connection => {
    connection.on('message', () => { t.fail('it was delivered') })
  })
  const callbacks: unknown[] = []
  client.write(compressed(Buffer.alloc(1_000_000)), text('behind'))
  while (connection.stats().bytesReceived === 0) await turn()
  for (let i = 0; i < 3; i++) connection.send(words(2_000_000), error => { callbacks.push(error?.name) })
  connection.terminate()
  await connection.closed
  await turn()
  t.strictSame(callbacks, Array(3).fill('ConnectionClosedError'))
})

test('messages that are inflated beside the event loop keep their order, with a Close behind them', async t => {
  const { client } = await startDeflated(t, true, echo)
  client.write(compressed(words(900_000, 1)), text('a'), compressed(words(2000, 2)), ping('p'), compressed(words(900_000, 3)), close(1000))
  const received: string[] = []
  while (received.length < 5) {
    const frame = await client.next()
    received.push(frame.opcode === TEXT ? `${(frame.rsv === 4 ? inflate(frame) : String(frame.payload)).length}` : describe(frame))
  }
  t.strictSame(received.filter(item => item !== 'pong p'), ['900000', '1', '2000', '900000'])
  t.ok(received.includes('pong p'))
  t.strictSame(await client.rest(), ['close 1000'])
})

test('what was inflated when the peer had gone is delivered', async t => {
  const received = gate<number>()
  const { client } = await startDeflated(t, true, connection => {
    connection.on('message', data => { received.open(data.length) })
  })
  client.end(compressed(words(900_000)))
  t.equal(await received.opened, 900_000)
})

// what must not be

for (const { title, bytes, answer } of [
  { title: 'RSV1 on a continuation frame', bytes: [clientFrame({ opcode: TEXT, payload: deflate('a'), rsv: 4, fin: false }), clientFrame({ opcode: 0, payload: 'b', rsv: 4 })], answer: /^close 1002 RSV1/ },
  { title: 'RSV1 on a Ping', bytes: [clientFrame({ opcode: 9, payload: '', rsv: 4 })], answer: /^close 1002 RSV1/ },
  { title: 'RSV1 on a Close', bytes: [clientFrame({ opcode: 8, payload: '', rsv: 4 })], answer: /^close 1002 RSV1/ },
  { title: 'RSV2', bytes: [clientFrame({ opcode: TEXT, payload: deflate('a'), rsv: 6 })], answer: /^close 1002 RSV2/ },
  { title: 'data that are no data of deflate', bytes: [clientFrame({ opcode: BINARY, payload: Buffer.from([0xff, 0xff, 0xff]), rsv: 4 })], answer: /^close 1007 a compressed message is not valid/ },
  { title: 'data that are cut off', bytes: [clientFrame({ opcode: BINARY, payload: deflate(words(2000)).subarray(0, 100), rsv: 4 })], answer: /^close 1007 a compressed message is not valid/ },
  { title: 'text that is no UTF-8', bytes: [compressed(Buffer.from([0xc3, 0x28]))], answer: /^close 1007 a text/ },
  { title: 'more than maxPayload', bytes: [compressed(Buffer.alloc(1025, 'x'))], answer: /^close 1009/ },
  { title: 'more than maxPayload, before it is inflated', bytes: [clientFrame({ opcode: BINARY, payload: '', rsv: 4, length: 2000 })], answer: /^close 1009/ }
]) {
  test(`${title} fails the connection, behind the messages before it`, async t => {
    const { client } = await startDeflated(t, { threshold: 1e6 }, echo, { maxPayload: 1024 })
    client.write(compressed('before'), ...bytes, compressed('behind'))
    t.match(await client.rest(), ['text before', answer])
  })
}

test('a message of maxPayload bytes that compression has made larger is taken', async t => {
  const noise = randomBytes(1024)
  const { client } = await startDeflated(t, true, connection => {
    connection.on('message', data => { connection.send(String(data.equals(noise))) })
  }, { maxPayload: 1024 })
  t.ok(deflate(noise).length > 1024)
  client.write(compressed(noise, BINARY))
  t.strictSame(await client.take(1), ['text true'])
})

test('a fragmented message is compressed as a whole, with control frames in between', async t => {
  const { client } = await startDeflated(t, { threshold: 1e6 }, echo)
  const bytes = deflate(words(3000))
  client.write(clientFrame({ opcode: TEXT, payload: bytes.subarray(0, 1), rsv: 4, fin: false }), ping('p'))
  for (const byte of bytes.subarray(1)) client.write(clientFrame({ opcode: 0, payload: Buffer.from([byte]), fin: false }))
  client.write(clientFrame({ opcode: 0, payload: '' }), text('next'))
  t.strictSame(await client.take(3), ['pong p', `text ${words(3000)}`.trimEnd(), 'text next'])
})

// messages of any size

test('a compressed message is inflated as it comes, where it is read so, however large', async t => {
  const { client, connection } = await startConnection(t, { ...NEVER, perMessageDeflate: true }, () => {}, OFFER)
  const streams = connection.messageStreams()
  const size = 100 * KIB * KIB
  const bytes = deflate(Buffer.alloc(size, 'x'))
  client.write(clientFrame({ opcode: BINARY, payload: bytes.subarray(0, 50_000), rsv: 4, fin: false }))
  const { value: stream } = await streams.next()
  let length = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (length === 0) client.write(clientFrame({ opcode: 0, payload: bytes.subarray(50_000) }), text('next'))
    length += chunk.length
    if (chunk.length > 128 * KIB) t.fail(`${chunk.length} bytes at once`)
  }
  t.equal(length, size)
  const { value: next } = await streams.next()
  t.strictSame(await (next as AsyncIterable<Buffer> & { toArray: () => Promise<Buffer[]> }).toArray(), [Buffer.from('next')])
})

for (const { title, bytes, answer } of [
  { title: 'data that are not valid', bytes: clientFrame({ opcode: BINARY, payload: Buffer.from([0xff, 0xff, 0xff]), rsv: 4 }), answer: /^close 1007/ },
  { title: 'data that are too large', bytes: compressed(Buffer.alloc(3_000_000)), answer: /^close 1009/ }
]) {
  test(`${title}, in a message that is inflated as it comes, end the connection without waiting for anybody`, async t => {
    const { client, connection } = await startDeflated(t, true, async connection => {
      for await (const stream of connection.messageStreams({ maxPayload: 1_000_000 })) stream.resume()
    })
    client.write(bytes)
    t.match(await client.rest(), [answer])
    client.end()
    t.match(await connection.closed, { wasClean: false })
  })
}

test('one that is left unread is skipped, and its own limit holds', async t => {
  const { client, connection } = await startDeflated(t, true, () => {})
  const streams = connection.messageStreams({ maxPayload: 2_000_000 })
  client.write(compressed(Buffer.alloc(1_500_000)), compressed('read'), compressed(Buffer.alloc(3_000_000)))
  await streams.next()
  const { value: second } = await streams.next()
  t.strictSame(await (second as unknown as { toArray: () => Promise<Buffer[]> }).toArray(), [Buffer.from('read')])
  const { value: third } = await streams.next()
  third!.resume()
  await t.rejects(once(third!, 'end'), { name: 'ConnectionClosedError' })
  t.match(await client.rest(), [/^close 1009/])
})

test('one that came before it was known how it is read streams too', async t => {
  const asked = gate()
  const { client } = await startDeflated(t, true, async connection => {
    await asked.opened
    for await (const stream of connection.messageStreams()) {
      let length = 0
      for await (const chunk of stream as AsyncIterable<Buffer>) length += chunk.length
      connection.send(String(length))
    }
  }, { maxPayload: 100 })
  client.write(ping(), compressed(Buffer.alloc(5_000_000)))
  t.strictSame(await client.take(1), ['pong'])
  for (let i = 0; i < 20; i++) await turn()
  asked.open()
  t.strictSame(await client.take(1), ['text 5000000'])
})
