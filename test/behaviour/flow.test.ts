// What slow and greedy peers cost in memory, in bytes that the server holds, and that nobody waits for each other forever.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { test } from 'tap'
import { WebSocket } from 'ws'
import { FrameParser } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { gate, startApp, startConnection } from '../helpers/app.ts'
import { startFlowServer } from '../helpers/flow.ts'
import { clientFrame } from '../helpers/frames.ts'
import { BINARY, binary, numbered, openRawClient, ping, type RawClient } from '../helpers/raw-client.ts'

const KIB = 1024
const MIB = 1024 * KIB

// one for all tests: what each costs is told by the difference
const server = startFlowServer(t)

/** Sends up to `limit` times, until nothing of what waits leaves while the server answers 50 questions. Returns how often. */
async function sendUntilStalled (socket: Socket, limit: number, sendNext: () => void, answer: () => Promise<void>): Promise<number> {
  let sent = 0
  let answers = 0
  let left = -1
  while (answers < 50 && sent < limit) {
    if (socket.writableNeedDrain) {
      await answer()
      answers = socket.writableLength === left ? answers + 1 : 0
      left = socket.writableLength
    } else {
      sendNext()
      sent++
    }
  }
  return sent
}

const SIZE = 64 * KIB
const COUNT = 64 * MIB / SIZE
const HEADER = 10 // of an echo

for (const route of ['/listener', '/iterator', '/generator', '/duplex', '/web']) {
  test(`64 MiB to an echo by ${route.slice(1)} from a client that does not read: the server's memory stays, the client has to wait, nothing is lost`, async t => {
    const { port, answer, held } = await server
    const client = await openRawClient(t, port, { path: route })
    const { socket } = client

    // one round, so that what the first message costs is not counted
    socket.write(binary(Buffer.alloc(SIZE)))
    await client.next()
    socket.removeAllListeners('data')
    socket.pause()

    const before = await held()
    const frame = binary(Buffer.alloc(SIZE, 'flow'))
    // each message says which it is in its first four bytes, masked with the first bytes of the key
    const mask = frame.subarray(HEADER, HEADER + 4)
    let sent = 0
    const sendNext = (): boolean => {
      const numbered = Buffer.from(frame)
      numbered.writeUInt32BE((sent ^ mask.readUInt32BE(0)) >>> 0, HEADER + 4)
      sent++
      return socket.write(numbered)
    }
    const stalledAt = await sendUntilStalled(socket, COUNT, sendNext, answer)
    t.ok(stalledAt * SIZE < 32 * MIB, `the client has to wait after ${Math.round(stalledAt * SIZE / MIB)} MiB`)
    const grown = await held() - before
    t.ok(grown <= 4 * MIB, `the server holds ${(grown / MIB).toFixed(1)} MiB more`)

    // now it reads, and sends the rest
    let received = 0
    let wrong = 0
    const echoed = new Promise<void>((resolve, reject) => {
      let offset = 0 // in the frame that comes
      const head = Buffer.alloc(HEADER + 4)
      socket.on('data', (chunk: Buffer) => {
        for (let at = 0; at < chunk.length;) {
          if (offset < head.length) {
            const taken = chunk.copy(head, offset, at)
            offset += taken
            at += taken
            if (offset < head.length) continue
            const isRight = head[0] === (0x80 | BINARY) && Number(head.readBigUInt64BE(2)) === SIZE && head.readUInt32BE(HEADER) === received
            if (!isRight) wrong++
          }
          const taken = Math.min(chunk.length - at, HEADER + SIZE - offset)
          offset += taken
          at += taken
          if (offset === HEADER + SIZE) {
            offset = 0
            if (++received === COUNT) resolve()
          }
        }
      })
      socket.once('close', () => { reject(new Error(`closed after ${received} echoes`)) })
    })
    socket.resume()
    let most = 0
    const watch = async (): Promise<void> => { most = Math.max(most, await held() - before) }
    const sending = (async () => {
      for (let i = stalledAt; i < COUNT; i++) {
        if (!sendNext()) await once(socket, 'drain')
        if (i % 256 === 0) await watch()
      }
    })()
    await Promise.all([echoed, sending])
    t.equal(wrong, 0, 'every echo is in its place')
    await watch()
    t.ok(most <= 4 * MIB, `what went through has not stayed: the server never held more than ${(most / MIB).toFixed(1)} MiB more`)
  })
}

// As many MiB as the environment says, for who wants to see more.
const MESSAGE_SIZE = Number(process.env['MESSAGE_MIB'] ?? 64) * MIB
const PIECE = 1 * MIB

for (const { how, startOfMessage, pieceOfMessage } of [
  {
    how: 'one frame',
    startOfMessage: (size: number) => Buffer.concat([Buffer.from([0x82, 0xff]), uint64(size), Buffer.alloc(4)]), // its masking key is 0
    pieceOfMessage: (payload: Buffer) => payload
  },
  {
    how: 'many fragments',
    startOfMessage: () => clientFrame({ opcode: BINARY, payload: '', fin: false }),
    pieceOfMessage: (payload: Buffer, isLast: boolean) => Buffer.concat([clientFrame({ opcode: 0, payload, fin: isLast }), ping()])
  }
]) {
  test(`a message of any size in ${how} goes to a file and comes back while it is read, and the server's memory stays`, async t => {
    const { port, held } = await server
    const { socket } = await openRawClient(t, port, { path: '/file' })
    socket.removeAllListeners('data')

    let most = 0
    const pass = async (size: number): Promise<void> => {
      const received = createHash('sha256')
      const come = receiveMessage(socket, payload => { received.update(payload) })
      const sent = createHash('sha256')
      socket.write(startOfMessage(size))
      for (let position = 0; position < size; position += PIECE) {
        const payload = Buffer.alloc(PIECE, `${position} `)
        sent.update(payload)
        if (!socket.write(pieceOfMessage(payload, position + PIECE === size))) await once(socket, 'drain')
        if (position % (16 * PIECE) === 0) most = Math.max(most, await held())
      }
      t.equal(await come, size)
      t.equal(received.digest('hex'), sent.digest('hex'))
    }

    await pass(4 * MIB) // so that what the code costs once is not counted
    const before = await held()
    most = before
    await pass(MESSAGE_SIZE)
    const grown = (most - before) / MIB
    t.ok(grown < 4, `the server never held more than ${grown.toFixed(1)} MiB more`)
  })
}

function uint64 (value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

/** Resolves with the length of the next message, whose payload goes to `onPayload` as it comes. */
function receiveMessage (socket: Socket, onPayload: (payload: Buffer) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    const parser = new FrameParser({ role: 'client' })
    let length = 0
    const onData = (chunk: Buffer): void => {
      parser.feed(chunk)
      for (let frame = parser.next(); frame !== null; frame = parser.next()) {
        if (frame.opcode > BINARY) continue
        onPayload(frame.payload)
        length += frame.payload.length
        if (frame.fin && frame.last) {
          socket.off('data', onData)
          resolve(length)
        }
      }
    }
    socket.on('data', onData)
    socket.once('close', () => { reject(new Error(`closed after ${length} bytes`)) })
  })
}

/** Sends `count` messages of `size` bytes, numbered, and waits whenever `send` says that it has to. */
async function sendNumbered (count: number, size: number, send: (data: Buffer) => Promise<unknown> | null): Promise<void> {
  for (let i = 0; i < count; i++) {
    const data = Buffer.alloc(size)
    data.writeUInt32BE(i)
    const wait = send(data)
    if (wait !== null) await wait
  }
}

/** Resolves when `count` messages of `size` bytes have come in the order of their numbers. */
function allCome (source: WebSocketConnection | WebSocket, count: number, size: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0
    source.on('message', (data: Buffer) => {
      if (data.length !== size || data.readUInt32BE(0) !== next) reject(new Error(`message ${next} is not as it was sent`))
      if (++next === count) resolve()
    })
    source.on('close', () => { reject(new Error(`closed after ${next} messages`)) })
  })
}

for (const size of [4 * KIB, 64 * KIB, MIB]) {
  test(`a server and a client that both send 32 MiB in messages of ${size / KIB} KiB, both listen and both wait for drain: all arrive`, async t => {
    const count = 32 * MIB / size
    let served: Promise<unknown> | undefined
    const { url } = await startApp(t, {}, app => {
      app.get('/', { websocket: true }, connection => {
        served = Promise.all([
          allCome(connection, count, size),
          sendNumbered(count, size, data => connection.send(data) ? null : connection.drained())
        ])
      })
    })
    const client = new WebSocket(url, { perMessageDeflate: false })
    t.teardown(() => { client.terminate() })
    const arrived = allCome(client, count, size)
    await once(client, 'open')
    const sent = sendNumbered(count, size, data => {
      if (client.bufferedAmount < 64 * KIB) {
        client.send(data)
        return null
      }
      return new Promise<void>((resolve, reject) => {
        client.send(data, error => { if (error) reject(error); else resolve() })
      })
    })
    await Promise.all([arrived, sent, served])
    t.pass('no message is missing')
  })
}

test('a client that writes all before it reads, and a server that waits for drain between its messages of 1 MiB, do not block each other', async t => {
  const arrived = gate()
  const { client } = await startConnection(t, {}, async connection => {
    void allCome(connection, 512, SIZE).then(arrived.open)
    await sendNumbered(32, MIB, data => connection.send(data) ? null : connection.drained())
  })
  client.pause()
  for (let i = 0; i < 512; i++) {
    const payload = Buffer.alloc(SIZE)
    payload.writeUInt32BE(i)
    if (!client.socket.write(binary(payload))) await once(client.socket, 'drain')
  }
  client.resume()
  await arrived.opened
})

test('a handler that sends 256 MiB and does not look at false, to a client that does not read: slow, the memory stays bounded, the connection ends', async t => {
  const { port, held, told } = await server
  const before = await held()
  const slow = told('slow')
  const client = await openRawClient(t, port, { path: '/flood' })
  client.pause()
  await slow
  const grown = await held() - before
  t.ok(grown <= 20 * MIB, `the server holds ${(grown / MIB).toFixed(1)} MiB more`)
  client.resume()
  const frames = await client.rest()
  t.equal(frames.at(-1), 'close 1013 slow reader')
  t.ok(frames.length * SIZE < 20 * MIB, `after ${frames.length - 1} messages`)
})

test('50 connections that each hold a message of 15,000 one-byte fragments cost at most 8 MiB', async t => {
  const { port, held } = await server
  const clients = await Promise.all(Array.from({ length: 50 }, async () => openRawClient(t, port, { path: '/listener' })))
  const first = clientFrame({ opcode: BINARY, payload: 'x', fin: false })
  const next = Buffer.alloc(7 * 14_999, clientFrame({ opcode: 0, payload: 'x', fin: false }))
  const fragments = async (client: RawClient): Promise<void> => {
    client.write(first, next)
    await client.roundTrip() // it has read them
  }
  // one that ends, so that what the code costs once is not counted
  const warm = await openRawClient(t, port, { path: '/listener' })
  await fragments(warm)
  warm.write(clientFrame({ opcode: 0 }))
  await warm.next()
  const before = await held()
  for (const client of clients) await fragments(client)
  const grown = await held() - before
  t.ok(grown <= 8 * MIB, `the server holds ${(grown / MIB).toFixed(1)} MiB more`)
  clients[7]!.write(clientFrame({ opcode: 0, payload: '!' }))
  const { payload } = await clients[7]!.next()
  t.equal(payload.length, 15_001)
})

test('a message of 65,536 fragments is a message', async t => {
  const { client } = await startConnection(t, { maxPayload: 65_536 }, connection => {
    connection.on('message', data => { connection.send(data) })
  })
  client.write(
    clientFrame({ opcode: BINARY, payload: 'x', fin: false }),
    Buffer.alloc(7 * 65_534, clientFrame({ opcode: 0, payload: 'x', fin: false })),
    clientFrame({ opcode: 0, payload: 'x' })
  )
  const { payload } = await client.next()
  t.ok(payload.equals(Buffer.alloc(65_536, 'x')))
})

test('a million pings whose pongs nobody reads: the client has to wait, the server\'s memory stays, and each is answered when somebody reads', async t => {
  const { port, answer, held } = await server
  const client = await openRawClient(t, port, { path: '/listener' })
  const thousand = Buffer.alloc(1000 * 131, ping('p'.repeat(125)))
  // some that are read, so that what the code costs once is not counted
  client.write(thousand)
  await client.take(1000)
  client.pause()
  const before = await held()
  const thousands = await sendUntilStalled(client.socket, 1000, () => { client.write(thousand) }, answer)
  t.ok(thousands < 1000, `the client has to wait after ${thousands} thousand`)
  const grown = await held() - before
  t.ok(grown <= 4 * MIB, `the server holds ${(grown / MIB).toFixed(1)} MiB more`)
  client.resume()
  await client.take(thousands * 1000)
})

test('a client that reads gets a Pong for each of its pings', async t => {
  const { client } = await startConnection(t, {}, () => {})
  const pings = numbered('p', 30_000)
  client.write(...pings.map(ping))
  t.strictSame(await client.take(30_000), pings.map(name => `pong ${name}`))
})
