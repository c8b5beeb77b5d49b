// One of the two nodes: clients follow the topic 'news' by Redis, and learn which node they are on.
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { createClient } from 'redis'
import { redisBroker } from '../../lib/brokers/redis/index.ts'
import websocket from '../../lib/index.ts'
import { CERTIFICATE } from '../helpers/certificate.ts'
import type { FromNode, Line, Order } from './messages.ts'

const [name, redisPort, protocol] = process.argv.slice(2)
const tell = (message: FromNode): void => { process.send!(message) }
const write = (line: Line): string => JSON.stringify(line)

const app = (protocol === 'http2' ? Fastify({ http2: true, https: { ...CERTIFICATE, allowHTTP1: true } }) : Fastify()) as unknown as FastifyInstance
await app.register(websocket, {
  topics: { broker: redisBroker({ client: createClient({ url: `redis://127.0.0.1:${redisPort}` }) }), rules: [{ topic: 'news', size: 5_000 }] }
})
app.get('/', async () => name)
app.get('/ready', async (_request, reply) => reply.code(app.websocketServer.state === 'open' ? 200 : 503).send())

const encode = (payload: Buffer, { position }: { position: string | null }): string => write({ position, number: Number(payload.toString()) })
app.get<{ Querystring: { since?: string } }>('/news', { websocket: true }, async (connection, { query: { since } }) => {
  const { recovered, position } = await connection.subscribe('news', { since, encode })
  connection.send(write({ position, node: name!, recovered }))
})
process.on('message', async (order: Order) => {
  if ('publish' in order) {
    await app.websocketServer.publish('news', String(order.publish))
  } else {
    const begin = performance.now()
    await app.websocketServer.drain(order.drain)
    tell({ drainedAfter: performance.now() - begin })
  }
})
process.on('disconnect', () => { process.exit() })
await app.listen({ port: 0, host: '127.0.0.1' })
tell({ port: (app.server.address() as AddressInfo).port })
