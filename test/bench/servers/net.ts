// The floor: bytes as they come, behind a handshake that nobody reads. No frame is parsed, unmasked or written.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { CERTIFICATE } from '../../helpers/certificate.ts'
import { serve } from './probe.ts'

await serve(async () => {
  const onConnection = (socket: Socket): void => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
      socket.on('data', chunk => { socket.write(chunk) })
    })
  }
  const server = process.argv.includes('tls') ? createTlsServer({ ...CERTIFICATE, noDelay: true }, onConnection) : createServer({ noDelay: true }, onConnection)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
})
