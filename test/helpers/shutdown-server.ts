// A server in a process of its own, which SIGTERM asks to stop: `fork('shutdown-server.ts', [shutdownTimeout])`. It tells its
// port by a message, and it ends by itself: whatever is left behind app.close() would keep it alive.
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import websocket from '../../lib/index.ts'

const app = Fastify()
await app.register(websocket, { shutdownTimeout: Number(process.argv[2]) })
app.get('/ws', { websocket: true }, connection => {
  connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
})
app.get('/held', { websocket: true }, () => new Promise(() => {})) // its messages are held for a listener that never comes
await app.listen({ port: 0, host: '127.0.0.1' })
process.once('SIGTERM', () => { app.close().then(undefined, error => { throw error }) })
process.send!((app.server.address() as AddressInfo).port)
