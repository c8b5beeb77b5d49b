// One node of the chaos run: an app whose clients subscribe and publish, with a broker behind it. Each message is told to clients with its position and
// the one before, as the broker has it: the truth, by which the ledger is checked.
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { connect } from '@nats-io/transport-node'
import { createClient, createCluster } from 'redis'
import { natsBroker } from '../../lib/brokers/nats/index.ts'
import { redisBroker } from '../../lib/brokers/redis/index.ts'
import { fastifyWebsocket } from '../../lib/index.ts'
import type { Broker, BrokerHost, Entry, Head, MessageData } from '../../types/index.ts'
import type { FromClient, FromNode } from './messages.ts'
import { KEPT } from './stores.ts'

const format = ({ epoch, number, tag }: Head): string => `${epoch}.${number}.${tag}`
const parents = new Map<string, string>()
/** By topic and number, for when the broker cannot be asked as it was killed: until then nothing else had that number. */
const tags = new Map<string, string>()

/** More than what is kept of all topics. */
const MAX_PARENTS = 500_000

function remember ({ head, previous, previousTag }: Entry): void {
  if (previousTag === null) return // it is asked for
  if (parents.size >= MAX_PARENTS) parents.delete(parents.keys().next().value!)
  parents.set(format(head), format({ epoch: head.epoch, number: previous, tag: previousTag }))
}

/** What a message is called at the broker, where that does not say so itself; null: it cannot be asked. */
type TagOf = (number: number) => Promise<string | null>

/** What passes through it is remembered. */
function watched (broker: Broker, tagOf: TagOf | null): Broker {
  return {
    numbered: true,
    start: (host, ...rest) => {
      const watching = watchedHost(host)
      const told = tagOf === null ? watching : inOrder(watching, tagOf)
      let interrupted = 0
      return broker.start({
        ...told,
        interrupted: affects => {
          interrupted = Date.now()
          told.interrupted(affects)
        },
        restored: affects => {
          process.send!({ interrupted, restored: Date.now() })
          told.restored(affects)
        }
      }, ...rest)
    },
    stop: () => broker.stop(),
    publish: (...args) => broker.publish(...args),
    subscribe: (...args) => broker.subscribe(...args),
    unsubscribe: topics => { broker.unsubscribe(topics) },
    ...(broker.heads === undefined ? {} : { heads: (topics: string[]) => broker.heads!(topics) }),
    isAway: topic => broker.isAway?.(topic) === true,
    read: async (...args) => {
      const answer = await broker.read!(...args)
      answer.entries.forEach(remember)
      tags.set(`${args[0]} ${answer.head.number}`, answer.head.tag)
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
    restored: affects => { host.restored(affects) },
    error: error => { host.error(error) }
  }
}

/** What comes waits for the answer, in order: the truth is what the broker has then, not what came here before. */
function inOrder (host: BrokerHost, tagOf: TagOf): BrokerHost {
  let last: Promise<unknown> = Promise.resolve()
  const later = (work: () => unknown): void => { last = last.then(work) }
  return {
    deliver: (topic, entry) => {
      const tag = entry.head === null || entry.previous === 0 ? Promise.resolve('-') : tagOf(entry.previous).catch(() => null)
      later(async () => {
        if (entry.head !== null) {
          remember({ ...entry, previousTag: await tag ?? tags.get(`${topic} ${entry.previous}`) ?? await tagOf(entry.previous).catch(() => null) })
          tags.set(`${topic} ${entry.head.number}`, entry.head.tag)
        }
        host.deliver(topic, entry)
      })
    },
    interrupted: affects => { later(() => { host.interrupted(affects) }) },
    restored: affects => { later(() => { host.restored(affects) }) },
    error: error => { host.error(error) }
  }
}

function encode (payload: Buffer, { topic, position }: { topic: string, position: string | null }): MessageData {
  return write({ kind: 'message', topic, position: position!, parent: parents.get(position!) ?? null, text: payload.toString() })
}

const write = (message: FromNode): string => JSON.stringify(message)

async function brokerOf (kind: string, ports: readonly string[]): Promise<[Broker, TagOf | null]> {
  if (kind.startsWith('nats')) {
    const connection = await connect({ servers: `127.0.0.1:${ports[0]}`, maxReconnectAttempts: -1, reconnectTimeWait: 50, reconnectJitter: 50 })
    const tagOf = async (seq: number): Promise<string | null> => {
      const answer = await connection.request(`$JS.API.STREAM.MSG.GET.ws1-${KEPT}`, JSON.stringify({ seq }), { timeout: 200 })
      const fields = Buffer.from(answer.json<{ message?: { hdrs: string } }>().message?.hdrs ?? '', 'base64').toString()
      return /^Ws-Tag: (\w+)/m.exec(fields)?.[1] ?? null
    }
    return [natsBroker({ connection, timeout: 2_000, storage: kind === 'nats-memory' ? 'memory' : 'file' }), tagOf]
  }
  const urls = ports.map(port => ({ url: `redis://127.0.0.1:${port}` }))
  return [redisBroker({ client: kind === 'redis-cluster' ? createCluster({ rootNodes: urls }) : createClient(urls[0]!), timeout: 2_000 }), null]
}

const [broker, tagOf] = await brokerOf(process.env['CHAOS_BROKER']!, process.env['CHAOS_BROKER_PORTS']!.split(','))
const app = Fastify()
await app.register(fastifyWebsocket, {
  topics: { broker: watched(broker, tagOf), rules: [{ topic: '*', size: KEPT }], checkInterval: 250, publishTimeout: 2_000 }
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
