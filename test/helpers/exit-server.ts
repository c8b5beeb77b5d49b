// A server in a process of its own that ends in the tick in which it sends: `fork('exit-server.ts')`. It tells its port by a message.
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import websocket from '../../lib/index.ts'

const app = Fastify()
await app.register(websocket)
app.get('/all', { websocket: true }, connection => {
  connection.on('message', () => {
    for (const client of app.websocketServer.clients) client.send('the process ends')
    process.exit()
  })
})
await app.listen({ port: 0, host: '127.0.0.1' })
process.send!((app.server.address() as AddressInfo).port)
