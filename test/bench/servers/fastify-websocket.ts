// @fastify/websocket on Fastify, with its defaults.
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyPluginAsync } from 'fastify'
import type { ServerOptions } from 'ws'
import { CERTIFICATE } from '../../helpers/certificate.ts'
import { serve } from './probe.ts'
import { addRoutes } from './routes.ts'

// past the compiler: its declarations and ours would both extend Fastify's
const websocket: FastifyPluginAsync<{ options?: ServerOptions }> = createRequire(import.meta.url)('@fastify/websocket')

await serve(async () => {
  const app = Fastify(process.argv.includes('tls') ? { https: CERTIFICATE } as object : {})
  await app.register(websocket, process.argv.includes('deflate') ? { options: { perMessageDeflate: { threshold: 0 } } } : {})
  addRoutes(app, (clients, data, binary) => {
    for (const client of clients) client.send(data, { binary })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
})
