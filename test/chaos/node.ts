// One node of the chaos run: an app whose clients subscribe and publish, with Redis behind it. Each message is told to clients with its position and
// the one before, as the script in Redis has it: the truth, by which the ledger is checked.
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { createClient, createCluster } from 'redis'
import { redisBroker } from '../../lib/brokers/redis/index.ts'
import { fastifyWebsocket } from '../../lib/index.ts'
import type { Broker, BrokerHost, Entry, Head, MessageData } from '../../types/index.ts'
import type { FromClient, FromNode } from './messages.ts'

const format = ({ epoch, number, tag }: Head): string => `${epoch}.${number}.${tag}`
const parents = new Map<string, string>()

/** More than what is kept of all topics. */
const MAX_PARENTS = 500_000

function remember ({ head, previous, previousTag }: Entry): void {
  if (parents.size >= MAX_PARENTS) parents.delete(parents.keys().next().value!)
  parents.set(format(head), format({ epoch: head.epoch, number: previous, tag: previousTag! }))
}

/** What passes through it is remembered. */
function watched (broker: Broker): Broker {
  return {
    numbered: true,
    start: (host, node) => broker.start(watchedHost(host), node),
    stop: () => broker.stop(),
    publish: (...args) => broker.publish(...args),
    subscribe: topics => broker.subscribe(topics),
    unsubscribe: topics => { broker.unsubscribe(topics) },
    heads: topics => broker.heads!(topics),
    isAway: topic => broker.isAway?.(topic) === true,
    read: async (...args) => {
      const answer = await broker.read!(...args)
      answer.entries.forEach(remember)
      return answer
    }
  }
}

function watchedHost (host: BrokerHost): BrokerHost {
  return {
    deliver: (topic, entry) => {
      if (entry.head !== null) remember(entry)
      host.deliver(topic, entry)
    },
    interrupted: affects => { host.interrupted(affects) },
    restored: affects => {
      process.send!({ restored: Date.now() })
      host.restored(affects)
    },
    error: error => { host.error(error) }
  }
}

function encode (payload: Buffer, { topic, position }: { topic: string, position: string | null }): MessageData {
  return write({ kind: 'message', topic, position: position!, parent: parents.get(position!) ?? null, text: payload.toString() })
}

const write = (message: FromNode): string => JSON.stringify(message)

const urls = process.env['CHAOS_REDIS_PORTS']!.split(',').map(port => ({ url: `redis://127.0.0.1:${port}` }))
const client = process.env['CHAOS_CLUSTER'] === 'true' ? createCluster({ rootNodes: urls }) : createClient(urls[0]!)
const app = Fastify()
await app.register(fastifyWebsocket, {
  topics: { broker: watched(redisBroker({ client, timeout: 2_000 })), rules: [{ topic: '*', size: 200 }], checkInterval: 250, publishTimeout: 2_000 }
})
app.get('/', { websocket: true }, connection => {
  connection.on('gap', ({ topic, from, to, reason }) => { connection.send(write({ kind: 'gap', topic, from, to, reason })) })
  connection.on('message', data => {
    const message = JSON.parse(String(data)) as FromClient
    const { topic } = message
    if (message.kind === 'subscribe') {
      connection.subscribe(topic, { since: message.since, encode }).then(result => { connection.send(write({ kind: 'subscribed', topic, ...result })) }, () => {
        connection.terminate()
      })
      return
    }
    const { id } = message
    app.websocketServer.publish(topic, message.text).then(({ position }) => { connection.send(write({ kind: 'published', id, position })) }, (error: { code?: string }) => {
      connection.send(write({ kind: 'published', id, position: null, code: error.code ?? String(error) }))
    })
  })
})
await app.listen({ port: Number(process.env['CHAOS_PORT'] ?? 0), host: '127.0.0.1' })
process.send!({ port: (app.server.address() as AddressInfo).port })
process.on('disconnect', () => { process.exit() })
