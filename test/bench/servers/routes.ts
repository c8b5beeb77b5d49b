// One application for both Fastify plugins.
import type { FastifyInstance } from 'fastify'
import type { WebSocketConnection } from '../../../types/connection.ts'
import { BURST } from '../workloads.ts'

/** Sends a message to everybody, as the library's documentation says. */
type SendToAll = (clients: Iterable<WebSocketConnection>, data: Buffer, binary: boolean) => void

/** Adds /echo, /json, which parses what it echoes, and /broadcast and /burst, which send every message to all connections once and BURST times. */
export function addRoutes (app: FastifyInstance, sendToAll: SendToAll): void {
  app.get('/echo', { websocket: true }, connection => {
    connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
  })
  app.get('/json', { websocket: true }, connection => {
    connection.on('message', data => { connection.send(JSON.stringify(JSON.parse(String(data)))) })
  })
  for (const [path, times] of [['/broadcast', 1], ['/burst', BURST]] as const) {
    app.get(path, { websocket: true }, connection => {
      connection.on('message', (data, isBinary) => {
        for (let i = 0; i < times; i++) sendToAll(app.websocketServer.clients, data, isBinary)
      })
    })
  }
}
