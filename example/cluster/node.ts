// One node: a process of its own, ended whenever somebody likes.
import type { AddressInfo } from 'node:net'
import { createClient } from 'redis'
import { redisBroker } from '../../lib/brokers/redis/index.ts'
import { buildApp, newTopics } from '../app.ts'

const client = createClient({ socket: { path: process.env['REDIS_PATH']!, tls: false } })
const app = await buildApp({
  topics: newTopics({ broker: redisBroker({ client }) }),
  node: {
    name: process.env['NODE_NAME']!,
    count: Number(process.env['NODE_COUNT']),
    kill: () => { process.kill(process.pid, 'SIGKILL') } // without a word to anybody
  }
})
await app.listen({ host: '127.0.0.1', port: 0 })
process.send!({ port: (app.server.address() as AddressInfo).port })
// whoever has started it has ended
process.on('disconnect', () => { process.exit() })
