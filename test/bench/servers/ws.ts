// ws on node:http, with its defaults.
import { once } from 'node:events'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { CERTIFICATE } from '../../helpers/certificate.ts'
import { BURST } from '../workloads.ts'
import { serve } from './probe.ts'

// an import would load undici too, and its heap would count
const { createServer } = process.getBuiltinModule('node:http')

await serve(async () => {
  const server = process.argv.includes('tls') ? createTlsServer(CERTIFICATE) : createServer()
  const webSockets = new WebSocketServer({ server, perMessageDeflate: process.argv.includes('deflate') && { threshold: 0 } })
  webSockets.on('connection', (webSocket, { url }) => {
    webSocket.on('error', () => {})
    if (url === '/echo') {
      webSocket.on('message', (data, isBinary) => { webSocket.send(data, { binary: isBinary }) })
      return
    }
    if (url === '/json') {
      webSocket.on('message', data => { webSocket.send(JSON.stringify(JSON.parse(String(data)))) })
      return
    }
    const times = url === '/burst' ? BURST : 1
    webSocket.on('message', (data, isBinary) => {
      for (let i = 0; i < times; i++) {
        for (const client of webSockets.clients) client.send(data, { binary: isBinary })
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
})
