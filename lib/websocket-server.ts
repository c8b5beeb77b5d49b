import { EventEmitter } from 'node:events'
import type { WebSocketServerFacade } from '../types/fastify.ts'
import type { IncomingMessage } from 'node:http'
import { GOING_AWAY } from './close-code.ts'
import type { Connection } from './connection.ts'
import type { WebSocketConnection } from '../types/connection.ts'

/** The connections of one registration of the plugin, in the shape of a server of `ws`. */
export class WebSocketServer extends EventEmitter implements WebSocketServerFacade {
  readonly clients: Set<WebSocketConnection> = new Set()

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
