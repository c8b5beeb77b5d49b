// One application for both Fastify plugins, to the letter.
import type { FastifyInstance } from 'fastify'
import { BURST } from '../workloads.ts'

/** Adds /echo, and /broadcast and /burst, which send every message to all connections once and BURST times. */
export function addRoutes (app: FastifyInstance): void {
  app.get('/echo', { websocket: true }, connection => {
    connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
  })
  for (const [path, times] of [['/broadcast', 1], ['/burst', BURST]] as const) {
    app.get(path, { websocket: true }, connection => {
      connection.on('message', (data, isBinary) => {
        for (let i = 0; i < times; i++) {
          for (const client of app.websocketServer.clients) client.send(data, { binary: isBinary })
        }
      })
    })
  }
}
