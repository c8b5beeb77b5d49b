// What slow and greedy peers cost in memory, in real figures, and that nobody waits for each other forever.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { test, type Test } from 'tap'
import { WebSocket } from 'ws'
import type { WebSocketConnection } from '../types/connection.ts'
import { gate, startApp, startConnection } from './helpers/app.ts'
import { BINARY, binary, openRawClient } from './helpers/raw-client.ts'

const KIB = 1024
const MIB = 1024 * KIB

const script = fileURLToPath(new URL('helpers/flow-server.ts', import.meta.url))

/** A server with echo routes in a process of its own. */
async function startServer (t: Test): Promise<{ port: number, rss: () => Promise<number> }> {
  const child = fork(script)
  t.teardown(() => child.kill('SIGKILL'))
  const ask = async (): Promise<number> => (await once(child, 'message') as [number])[0]
  const port = await ask()
  const rss = async (): Promise<number> => {
    child.send('rss')
    return ask()
  }
  return { port, rss }
}

const SIZE = 64 * KIB
const COUNT = 256 * MIB / SIZE
const HEADER = 10 // of an echo

for (const route of ['/listener', '/iterator', '/generator']) {
  test(`256 MiB to an echo by ${route.slice(1)} from a client that does not read: the server's memory stays, the client has to wait, nothing is lost`, async t => {
    const { port, rss } = await startServer(t)
    const client = await openRawClient(t, port, { path: route })
    const { socket } = client

    // one round, so that what the first message costs is not counted
    socket.write(binary(Buffer.alloc(SIZE)))
    await client.next()
    socket.removeAllListeners('data')
    socket.pause()

    const before = await rss()
    let most = before
    const watch = async (): Promise<void> => { most = Math.max(most, await rss()) }

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
    // until nothing of what waits leaves while the server answers 50 questions
    let answers = 0
    let left = -1
    while (answers < 50) {
      if (socket.writableNeedDrain) {
        await watch()
        answers = socket.writableLength === left ? answers + 1 : 0
        left = socket.writableLength
      } else {
        sendNext()
        if (sent === COUNT) break
      }
    }
    const stalledAt = sent
    t.ok(stalledAt * SIZE < 64 * MIB, `the client has to wait after ${Math.round(stalledAt * SIZE / MIB)} MiB`)
    const grown = most - before
    t.ok(grown <= 24 * MIB, `the server's memory grew by ${(grown / MIB).toFixed(1)} MiB`)

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
    const sending = (async () => {
      for (let i = stalledAt; i < COUNT; i++) {
        if (!sendNext()) await once(socket, 'drain')
        if (i % 512 === 0) await watch()
      }
    })()
    await Promise.all([echoed, sending])
    t.equal(wrong, 0, 'every echo is in its place')
    await watch()
    t.ok(most - before <= 64 * MIB, 'garbage of what went through included')
    t.comment(`stalled after ${(stalledAt * SIZE / MIB).toFixed(1)} MiB, +${(grown / MIB).toFixed(1)} MiB stalled, ` +
      `+${((most - before) / MIB).toFixed(1)} MiB over all`)
  })
}

/** Sends `count` messages of `size` bytes, numbered, and waits whenever `send` says that it has to. */
async function sendNumbered (count: number, size: number, send: (data: Buffer) => Promise<void> | null): Promise<void> {
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
      return new Promise((resolve, reject) => {
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
