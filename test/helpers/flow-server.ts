// A server in a process of its own, so that its memory can be told from its client's: `fork('flow-server.ts')`. It tells its port
// by a message, and answers every other message: 'held' with the bytes that it holds, garbage not counted, 'most' with the most
// bytes that it was ever given by the system, anything else with 0.
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify from 'fastify'
import websocket from '../../lib/index.ts'

const app = Fastify({ forceCloseConnections: true })
await app.register(websocket, { shutdownTimeout: 1 })
app.get('/listener', { websocket: true }, connection => {
  connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
})
app.get('/iterator', { websocket: true }, async connection => {
  for await (const message of connection) connection.send(message)
})
app.get('/generator', { websocket: true }, async function * (connection) {
  for await (const message of connection) yield message
})
app.get('/duplex', { websocket: true }, async connection => {
  const stream = connection.toDuplex({ objectMode: true })
  await pipeline(stream, stream)
})
app.get('/web', { websocket: true }, async connection => {
  const { readable, writable } = connection.toWeb()
  await readable.pipeTo(writable)
})
app.get('/file', { websocket: true }, async connection => {
  const folder = await mkdtemp(join(tmpdir(), 'flow-'))
  const file = join(folder, 'message')
  try {
    for await (const message of connection.messageStreams()) {
      await pipeline(message, createWriteStream(file))
      await pipeline(createReadStream(file), connection.createMessageStream({ binary: message.isBinary }))
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})
app.get('/deflate', { websocket: { perMessageDeflate: true } }, connection => {
  connection.on('message', data => { connection.send(data) })
})
app.get('/flood', { websocket: true }, connection => {
  connection.on('slow', () => { process.send!('slow') })
  for (let i = 0; i < 256 * 16; i++) connection.send(Buffer.alloc(64 * 1024))
})
await app.listen({ port: 0, host: '127.0.0.1' })
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void
process.on('message', async what => {
  process.send!(what === 'held' ? await heldBytes() : what === 'most' ? process.resourceUsage().maxRSS * 1024 : 0)
})
// its test has ended in whatever way
process.on('disconnect', () => { process.exit() })
process.send!((app.server.address() as AddressInfo).port)

/** What cannot be collected: on the heap, and outside of it in buffers and in zlib. */
async function heldBytes (): Promise<number> {
  collectGarbage()
  // what the first has ended, such as streams with a handle, is let go of in a later turn
  await new Promise(resolve => { setImmediate(resolve) })
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
