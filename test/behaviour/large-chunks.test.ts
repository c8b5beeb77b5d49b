// What Node reads from a socket is freed once it is copied. No message may lose a byte by that, however chunks are cut, and nobody else who listens.
import { test, type Test } from 'tap'
import { connect } from '../../lib/index.ts'
import { SocketTransport } from '../../lib/transport/socket-transport.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { startApp, startConnection } from '../helpers/app.ts'
import { clientFrame } from '../helpers/frames.ts'
import { cuts, integer, random } from '../helpers/random.ts'
import { BINARY } from '../helpers/raw-client.ts'

const KIB = 1024

/** Counts the chunks that are freed during the test. */
function countFreed (t: Test): { chunks: number } {
  const freed = { chunks: 0 }
  const { freeChunk } = SocketTransport.prototype
  SocketTransport.prototype.freeChunk = function (memory) {
    freeChunk.call(this, memory)
    if (memory.byteLength === 0) freed.chunks++
  }
  t.teardown(() => { SocketTransport.prototype.freeChunk = freeChunk })
  return freed
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
  t.ok(freed.chunks > 50, `${freed.chunks} chunks freed`)
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
  t.ok(freed.chunks > 0, `${freed.chunks} chunks freed`)
})

test('who else listens to the socket keeps its chunks', async t => {
  const freed = countFreed(t)
  const heard: Buffer[] = []
  const { client } = await startConnection(t, {}, connection => {
    connection._socket!.on('data', (chunk: Buffer) => { heard.push(chunk) })
    connection.on('message', data => { connection.send(data) })
  })
  const payload = Buffer.alloc(300 * KIB, 'abc')
  const frame = clientFrame({ opcode: BINARY, payload })
  for (let i = 0; i < 3; i++) {
    client.socket.write(frame)
    t.ok((await client.next()).payload.equals(payload))
  }
  t.equal(heard.reduce((sum, chunk) => sum + chunk.length, 0), 3 * frame.length)
  t.equal(freed.chunks, 0)
})
