import { captureRejectionSymbol, EventEmitter } from 'node:events'
import type { WebSocketServerFacade } from '../types/fastify.ts'
import type { IncomingMessage } from 'node:http'
import { GOING_AWAY } from './close-code.ts'
import { Connection } from './connection.ts'
import type { WebSocketConnection } from '../types/connection.ts'

/** How many connections there are where their number is limited; those count too whose handshake is not over. */
export class Seats {
  taken = 0

  /** @returns a function that gives the seat back, once */
  take (): () => void {
    this.taken++
    let isTaken = true
    return () => {
      if (isTaken) this.taken--
      isTaken = false
    }
  }
}

/** The connections of one registration of the plugin, in the shape of a server of `ws`. */
export class WebSocketServer extends EventEmitter implements WebSocketServerFacade {
  readonly clients: Set<WebSocketConnection> = new Set()
  readonly seats = new Seats()

  constructor () {
    super({ captureRejections: true })
  }

  /** What an async 'connection' listener rejects with has the fate of what a handler rejects with. */
  override [captureRejectionSymbol] (error: unknown, _event: string | symbol, connection?: unknown): void {
    if (connection instanceof Connection) connection.handlerFailed(error)
  }

  add (connection: Connection, request: IncomingMessage): void {
    this.clients.add(connection)
    this.emit('connection', connection, request)
  }

  remove (connection: Connection): void {
    this.clients.delete(connection)
  }

  /** Sends Close 1001 to all, and drops those that are still there after `timeout` milliseconds. */
  async shutdown (timeout: number): Promise<void> {
    for (const connection of this.clients) connection.close(GOING_AWAY)
    const terminate = setTimeout(() => {
      for (const connection of this.clients) connection.terminate()
    }, timeout)
    await Promise.all([...this.clients].map(({ closed }) => closed))
    clearTimeout(terminate)
  }
}
