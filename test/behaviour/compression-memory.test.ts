// What compressed messages cost a server in memory.
import { constants, deflateRawSync } from 'node:zlib'
import t, { test } from 'tap'
import { startFlowServer } from '../helpers/flow.ts'
import { clientFrame } from '../helpers/frames.ts'
import { BINARY, binary, openRawClient, type RawClientOptions } from '../helpers/raw-client.ts'

const KIB = 1024
const MIB = 1024 * KIB

// one for both tests: what each costs is told by the difference
const server = startFlowServer(t)

const COMPRESSED = { path: '/deflate', headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } }

function deflate (data: Buffer): Buffer {
  return deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH, level: 9 }).subarray(0, -4)
}

test('20 messages of 100 MiB in 100 KiB, whole and in fragments, at once: each fails its connection, and not even one is whole in memory', async t => {
  const { port, held, most } = await server
  const bomb = deflate(Buffer.alloc(100 * MIB))
  t.ok(bomb.length < 128 * KIB)
  const whole = clientFrame({ opcode: BINARY, payload: bomb, rsv: 4 })
  const fragments: Buffer[] = []
  for (let at = 0; at < bomb.length; at += 1000) {
    const fin = at + 1000 >= bomb.length
    fragments.push(clientFrame({ opcode: at === 0 ? BINARY : 0, payload: bomb.subarray(at, at + 1000), rsv: at === 0 ? 4 : 0, fin }))
  }
  const explode = async (count: number): Promise<void> => {
    const clients = await Promise.all(Array.from({ length: count }, () => openRawClient(t, port, COMPRESSED)))
    for (const [i, client] of clients.entries()) client.write(i % 2 === 0 ? whole : Buffer.concat(fragments))
    for (const client of clients) t.match(await client.take(1), [/^close 1009/])
  }
  await explode(2) // so that what the code costs once is not counted
  const before = await held()
  const mostBefore = await most()
  await explode(20)
  // the system's own count, which misses no moment; so garbage counts, and the bound is wide
  const grown = (await most() - mostBefore) / MIB
  t.ok(grown < 80, `never more than ${grown.toFixed(1)} MiB more`)
  const stayed = (await held() - before) / MIB
  t.ok(stayed < 4, `${stayed.toFixed(1)} MiB stay`)
})

test('400 idle connections that have sent and got a compressed message cost no more than others', async t => {
  const cost = async (options: RawClientOptions, frame: Buffer): Promise<number> => {
    const { port, held } = await server
    const open = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const client = await openRawClient(t, port, options)
        client.write(frame)
        await client.next()
      }
    }
    await open(100) // what the code costs once is not counted
    const before = await held()
    await open(400)
    return (await held() - before) / 400 / KIB
  }
  const message = Buffer.alloc(2000, 'as compressible as that ')
  const plain = await cost({ path: '/deflate' }, binary(message))
  const compressed = await cost(COMPRESSED, clientFrame({ opcode: BINARY, payload: deflate(message), rsv: 4 }))
  t.ok(compressed - plain < 10, `${compressed.toFixed(1)} KiB, and ${plain.toFixed(1)} without`)
})
