// A reader whose pace the page sets: a client inside of this process, connected to it over TCP like any other.
import type { AddressInfo } from 'node:net'
import { setImmediate, setTimeout } from 'node:timers/promises'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { connect, type WebSocketConnection } from '../lib/index.ts'

const MAX_READERS = 8
const MAX_RATE = 32 * 1024 // KiB per second
const SAMPLE_INTERVAL = 100 // ms
const PACE_INTERVAL = 20 // ms
const PIECE = Buffer.alloc(16 * 1024)

const Pace = Type.Object({ rate: Type.Integer({ minimum: 0, maximum: MAX_RATE, description: 'KiB per second' }) })
const Query = Type.Object({ waits: Type.Boolean() })
/** All in bytes, but for `ended`: how the feed's connection has ended. */
const Sample = Type.Object({
  sent: Type.Integer(),
  unsent: Type.Integer(),
  received: Type.Integer(),
  isWaiting: Type.Boolean(),
  ended: Type.Union([Type.Null(), Type.Object({ code: Type.Integer(), cause: Type.String() })])
})

/** What the server sends to one reader. */
interface Feed {
  connection: WebSocketConnection
  sent: number
  isWaiting: boolean
  ended: Static<typeof Sample>['ended']
}

/** The same from a source that has always more: the code that waits for its reader, and the code that does not. */
async function feedThatWaits (feed: Feed): Promise<void> {
  for (;;) {
    feed.sent += PIECE.length
    if (feed.connection.send(PIECE)) continue
    feed.isWaiting = true
    const isOpen = await feed.connection.drained()
    feed.isWaiting = false
    if (!isOpen) return
  }
}

async function feedThatDoesNot (feed: Feed): Promise<void> {
  while (feed.connection.readyState === feed.connection.OPEN) {
    feed.sent += PIECE.length
    feed.connection.send(PIECE) // false for a long time
    await setImmediate()
  }
}

/** @param isTls whether the app is to be reached by TLS, with a certificate that nobody but the developer knows */
export function slowReader (app: FastifyInstance, isTls: boolean): void {
  const feeds = new Map<string, Feed>()

  app.get<{ Querystring: { id: string, waits: string } }>('/slow-reader/feed', { websocket: true }, async (connection, { query: { id, waits } }) => {
    connection.resume() // nothing that comes in is of interest
    const feed: Feed = { connection, sent: 0, isWaiting: false, ended: null }
    feeds.set(id, feed)
    void connection.closed.then(({ code, sent, cause }) => { feed.ended = { code: sent?.code ?? code, cause } })
    await (waits === 'true' ? feedThatWaits(feed) : feedThatDoesNot(feed))
  })

  app.withTypeProvider<TypeBoxTypeProvider>().get('/slow-reader/samples', {
    websocket: { maxConnections: MAX_READERS },
    schema: { querystring: Query, receive: Pace, send: Sample }
  }, async function * (connection, { id, query: { waits } }) {
    const reader = new PacedReader(await connect(`${addressOf(app, isTls)}/slow-reader/feed?waits=${waits}&id=${encodeURIComponent(id)}`, {
      request: { rejectUnauthorized: false }
    }))
    connection.on('message', ({ rate }) => { reader.rate = rate * 1024 })
    try {
      for (;;) {
        await setTimeout(SAMPLE_INTERVAL, null, { signal: connection.signal })
        const feed = feeds.get(id)
        if (feed !== undefined) yield sample(feed, reader)
      }
    } finally {
      reader.close()
      feeds.delete(id)
    }
  })
}

function addressOf (app: FastifyInstance, isTls: boolean): string {
  const { address, family, port } = app.server.address() as AddressInfo
  return `${isTls ? 'wss' : 'ws'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

function sample ({ connection, sent, isWaiting, ended }: Feed, { received }: PacedReader): Static<typeof Sample> {
  return { sent, unsent: connection.bufferedAmount, received, isWaiting, ended }
}

/** Reads no faster than it may. */
class PacedReader {
  /** Bytes per second. */
  rate = 0
  received = 0
  readonly #client: WebSocketConnection

  constructor (client: WebSocketConnection) {
    this.#client = client
    this.#read().catch(() => {}) // the end of the feed is told by its samples
  }

  close (): void { this.#client.terminate() }

  async #read (): Promise<void> {
    let mayRead = 0
    for await (const message of this.#client) {
      this.received += message.length
      mayRead -= message.length
      while (mayRead < 0) {
        await setTimeout(PACE_INTERVAL, null, { signal: this.#client.signal })
        mayRead = Math.min(mayRead + this.rate * PACE_INTERVAL / 1000, this.rate)
      }
    }
  }
}
