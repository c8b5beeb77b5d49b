import type { FastifyInstance } from 'fastify'

/** Where the app of HTTP/2 listens. */
interface Secure { port: number | null }

export function protocol (app: FastifyInstance, secure: Secure): void {
  app.get('/http2/socket', { websocket: true }, (connection, request) => {
    // '1.1' or '2.0': nothing else is different for a handler
    const { httpVersion, socket: { remotePort: port } } = request.raw
    connection.send(JSON.stringify({ httpVersion, port, securePort: secure.port }))
    connection.on('message', data => { connection.send(data, { binary: false }) })
  })
}
