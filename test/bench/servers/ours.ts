// The whole product on Fastify, with its defaults but for maxPayload.
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import websocket, { prepare } from '../../../lib/index.ts'
import { BURST, MIB } from '../workloads.ts'
import { SINGLE, UNION } from './messages.ts'
import { CERTIFICATE } from '../../helpers/certificate.ts'
import { serve } from './probe.ts'
import { addRoutes } from './routes.ts'

await serve(async () => {
  const app = process.argv.includes('http2') ? Fastify({ http2: true }) as unknown as FastifyInstance : Fastify(process.argv.includes('tls') ? { https: CERTIFICATE } as object : {})
  await app.register(websocket, { maxPayload: 4 * MIB, ...(process.argv.includes('deflate') ? { perMessageDeflate: true } : {}) })
  addRoutes(app, (clients, data, binary) => {
    const message = prepare(data, { binary })
    for (const client of clients) client.send(message)
  })
  for (const [path, times] of [['/topic', 1], ['/topic-burst', BURST]] as const) {
    app.get(path, { websocket: true }, connection => {
      void connection.subscribe(path)
      connection.on('message', (data, isBinary) => {
        for (let i = 0; i < times; i++) void app.websocketServer.publish(path, data, { binary: isBinary })
      })
    })
  }
  app.get('/iterator', { websocket: true }, async connection => {
    for await (const message of connection) connection.send(message)
  })
  app.get('/generator', { websocket: true }, async function * (connection) {
    for await (const message of connection) yield message
  })
  for (const [path, schema] of [['/typed', SINGLE], ['/union', UNION]] as const) {
    app.get(path, { websocket: true, schema: { receive: schema, send: schema } }, connection => {
      connection.on('message', value => { connection.send(value) })
    })
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
})
