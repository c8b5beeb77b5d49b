// socket.io on node:http, with its defaults: rooms in memory. Its clients use the WebSocket transport alone.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Server } from 'socket.io'
import { BURST } from '../workloads.ts'
import { serve } from './probe.ts'

// an import would load undici too, and its heap would count
const { createServer } = process.getBuiltinModule('node:http')

await serve(async () => {
  const server = createServer()
  const io = new Server(server, { transports: ['websocket'] })
  io.on('connection', socket => {
    const room = String(socket.handshake.query.room)
    void socket.join(room)
    const times = room === '/burst' ? BURST : 1
    socket.on('m', (text: string) => {
      for (let i = 0; i < times; i++) io.to(room).emit('m', text)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
})
