// One of the two servers, in a process of its own: `fork('server.js', [library])`. It tells its port by a message, and answers every
// message with a ServerSample. Only the plugin differs, and the handler that pushes: see there.
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import Fastify, { type FastifyPluginCallback } from 'fastify'
import type { WebSocketConnection, WebSocketHandler } from '../../lib/index.ts'
import { type Library, LOAD } from './comparison.ts'

export interface ServerSample {
  /** Resident set size in bytes. */
  rss: number
  /** Payload bytes that came to the listener of the echo. */
  received: number
  /** Payload bytes that the pushing handler gave to send(). */
  pushed: number
}

/** ms between two batches of rows, which come from somewhere else, as a database is. */
const BATCH_INTERVAL = 4

const library = process.argv[2] as Library
let received = 0
let pushed = 0

// Only one of the two is loaded. The types of @fastify/websocket would collide with those of this package, so it comes without.
const plugin = library === '@fastify/websocket'
  ? createRequire(import.meta.url)('@fastify/websocket') as FastifyPluginCallback
  : (await import('../../lib/index.ts')).default

const app = Fastify()
await app.register(plugin)

app.get('/echo', { websocket: true }, socket => {
  socket.on('message', (data, isBinary) => {
    received += data.length
    socket.send(data, { binary: isBinary })
  })
})

app.get('/late', { websocket: true }, async socket => {
  await setTimeout(LOAD.lateBy) // a session, a database
  socket.on('message', data => { socket.send(data) })
})

// Each as the users of the library write it: there, send() returns nothing that one could look at.
app.get('/push', { websocket: true }, library === '@fastify/websocket' ? pushRows : pushRowsAtThePeersPace)
// What a careful author writes there: the callback of one send() comes before the next.
app.get('/push-awaiting', { websocket: true }, pushRowByRow)

async function pushRowsAtThePeersPace (...[connection]: Parameters<WebSocketHandler>): Promise<void> {
  for await (const row of rows()) if (!connection.send(row)) await connection.drained()
}

async function pushRows (socket: Pick<WebSocketConnection, 'send'>): Promise<void> {
  for await (const row of rows()) socket.send(row)
}

async function pushRowByRow (socket: Pick<WebSocketConnection, 'send'>): Promise<void> {
  for await (const row of rows()) {
    await new Promise<void>((resolve, reject) => {
      socket.send(row, error => { if (error) reject(error); else resolve() })
    })
  }
}

/** Gives rows as a query does: one when asked, up to `LOAD.rate` bytes a second, `LOAD.offered` in all. */
async function * rows (): AsyncGenerator<Buffer> {
  const started = performance.now()
  while (pushed < LOAD.offered) {
    const due = Math.min(LOAD.offered, (performance.now() - started) / 1000 * LOAD.rate)
    for (; pushed < due; pushed += LOAD.messageSize) yield Buffer.alloc(LOAD.messageSize, 'row ')
    await setTimeout(BATCH_INTERVAL)
  }
}

await app.listen({ port: 0, host: '127.0.0.1' })
process.once('disconnect', () => { process.exit() }) // the driver is gone, however it ended
process.on('message', () => {
  process.send!({ rss: process.memoryUsage.rss(), received, pushed } satisfies ServerSample)
})
process.send!((app.server.address() as AddressInfo).port)
