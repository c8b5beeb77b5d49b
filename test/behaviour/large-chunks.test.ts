// What Node reads from a socket is freed once it is copied. No message may lose a byte by that, however chunks are cut, and nobody else who listens.
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { test, type Test } from 'tap'
import { connect } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { startApp, startConnection } from '../helpers/app.ts'
import { clientFrame } from '../helpers/frames.ts'
import { cuts, integer, random } from '../helpers/random.ts'
import { BINARY } from '../helpers/raw-client.ts'

const KIB = 1024

/** @returns how many chunks were freed since then */
function countFreed (t: Test): () => number {
  const calls = t.capture(ArrayBuffer.prototype, 'transfer', ArrayBuffer.prototype.transfer)
  return () => calls().length
}

/** Small messages between large ones, each of bytes that tell it from the others. */
function messages (seed: number): Buffer[] {
  const next = random(seed)
  return Array.from({ length: 200 }, (_, i) => {
    const size = [10, 300, 5 * KIB, 40 * KIB, 64 * KIB, 200 * KIB][integer(next, 0, 5)]!
    return Buffer.alloc(integer(next, 0, size), `${i} of ${seed}, `)
  })
}

/** The next `count` messages of a connection, kept until all of them are there. */
async function take (connection: WebSocketConnection, count: number): Promise<Buffer[]> {
  const taken: Buffer[] = []
  for await (const message of connection) {
    taken.push(message as Buffer)
    if (taken.length === count) break
  }
  return taken
}

function sameBytes (t: Test, found: Buffer[], sent: Buffer[], title: string): void {
  t.equal(found.findIndex((message, i) => !message.equals(sent[i]!)), -1, title)
}

test('messages of all sizes keep their bytes, on both sides, while chunks of later ones are freed', async t => {
  const freed = countFreed(t)
  const { url } = await startApp(t, {}, app => {
    app.get('/', { websocket: true }, connection => {
      const kept: Buffer[] = []
      connection.on('message', data => {
        kept.push(data as Buffer)
        if (kept.length === 200) for (const message of kept) connection.send(message)
      })
    })
  })
  for (const seed of [1, 2, 3, 4]) {
    const sent = messages(seed)
    const client = await connect(url)
    for (const message of sent) client.send(message)
    sameBytes(t, await take(client, sent.length), sent, `seed ${seed}`)
    client.close()
  }
  t.ok(freed() > 50)
})

test('so do fragments, however they are cut', async t => {
  const freed = countFreed(t)
  const { client } = await startConnection(t, {}, async connection => {
    const found = await take(connection, 200)
    connection.send(Buffer.concat(found))
  })
  const next = random(5)
  const sent = messages(5)
  const bytes = Buffer.concat(sent.flatMap(message => {
    const middle = integer(next, 0, message.length)
    return [
      clientFrame({ opcode: BINARY, payload: message.subarray(0, middle), fin: false }),
      clientFrame({ opcode: 0x0, payload: message.subarray(middle) })
    ]
  }))
  for (const piece of cuts(bytes, next)) client.socket.write(piece)
  t.ok((await client.next()).payload.equals(Buffer.concat(sent)))
  t.ok(freed() > 0)
})

test('so do messages with compression, with a limit on their rate, and as streams', async t => {
  const freed = countFreed(t)
  const { url } = await startApp(t, { perMessageDeflate: true, rateLimit: { bytes: 2 ** 30, maxWait: 10_000 } }, app => {
    app.get('/', { websocket: true }, async connection => {
      for await (const message of connection) connection.send(message)
    })
    app.get('/streams', { websocket: true }, async connection => {
      for await (const stream of connection.messageStreams()) {
        const pieces: Buffer[] = []
        for await (const piece of stream) pieces.push(piece as Buffer)
        connection.send(Buffer.concat(pieces))
      }
    })
  })
  for (const path of ['/', '/streams']) {
    for (const perMessageDeflate of [true, false]) {
      const sent = messages(6)
      const client = await connect(url + path, { perMessageDeflate })
      const taken = take(client, sent.length)
      for (const message of sent) {
        if (!client.send(message)) await once(client, 'drain')
        client.ping()
      }
      sameBytes(t, await taken, sent, `${path}, ${perMessageDeflate ? 'compressed' : 'as they are'}`)
    }
  }
  t.ok(freed() > 0)
})

for (const [title, listen] of [
  ['all the time', (socket, heard) => { socket.on('data', heard) }],
  ['for one chunk', (socket, heard) => { socket.once('data', heard) }],
  ['for the first chunks of a message', (socket, heard) => {
    let left = 3
    socket.on('data', function listener (chunk: Buffer) {
      heard(chunk)
      if (--left === 0) socket.off('data', listener)
    })
  }],
  ['by reading', (socket, heard) => {
    socket.on('readable', () => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) heard(chunk)
    })
  }]
] satisfies Array<[string, (socket: Duplex, heard: (chunk: Buffer) => void) => void]>) {
  test(`who else listens to a socket, ${title}, keeps its chunks`, async t => {
    const payload = Buffer.alloc(900 * KIB, 'abc')
    const [atServer, atClient]: [Array<[Buffer, number]>, Array<[Buffer, number]>] = [[], []]
    const { url } = await startApp(t, {}, app => {
      app.get('/', { websocket: true }, connection => {
        listen(connection._socket!, chunk => { atServer.push([chunk, chunk.length]) })
        connection.on('message', data => { connection.send(data) })
      })
    })
    const client = await connect(url)
    listen(client._socket!, chunk => { atClient.push([chunk, chunk.length]) })
    client.send(payload)
    sameBytes(t, await take(client, 1), [payload], 'the echo')
    for (const [side, heard] of Object.entries({ atServer, atClient })) {
      t.ok(heard.length > 0, side)
      t.strictSame(heard.map(([chunk]) => chunk.length), heard.map(([, length]) => length), side)
    }
  })
}
