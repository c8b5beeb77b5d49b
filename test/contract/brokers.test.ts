// The brokers there are, each by what every one of them does.
import mqemitter from 'mqemitter'
import t from 'tap'
import { mqemitterBroker } from '../../lib/brokers/mqemitter/index.ts'
import { natsBroker } from '../../lib/brokers/nats/index.ts'
import { redisBroker } from '../../lib/brokers/redis/index.ts'
import { memoryBroker } from '../../lib/index.ts'
import type { Broker, BrokerHost } from '../../types/topics.ts'
import { NatsServer, withoutNats } from '../helpers/nats-server.ts'
import { REDIS_CLIENTS, REDIS_CLUSTER_CLIENTS } from '../helpers/redis-clients.ts'
import { RedisCluster } from '../helpers/redis-cluster.ts'
import { RedisServer, withoutRedis } from '../helpers/redis-server.ts'
import { brokerContract } from './broker.ts'

/** Two nodes of a broker that is made for one. */
function shared (broker: Broker): [Broker, Broker] {
  const nodes = new Set<{ host: BrokerHost, topics: Set<string> }>()
  const view = (): Broker => {
    let node: { host: BrokerHost, topics: Set<string> } | null = null
    return {
      numbered: broker.numbered,
      start: async host => {
        if (nodes.size === 0) {
          const ignore = (): void => {}
          await broker.start({ deliver: (topic, entry) => { for (const { topics, host } of nodes) if (topics.has(topic)) host.deliver(topic, entry) }, interrupted: ignore, restored: ignore, error: ignore }, 'both')
        }
        nodes.add(node = { host, topics: new Set() })
      },
      stop: async () => {
        nodes.delete(node!)
        if (nodes.size === 0) await broker.stop()
      },
      publish: (...args) => broker.publish(...args),
      subscribe: async topics => {
        await broker.subscribe(topics)
        for (const topic of topics) node!.topics.add(topic)
      },
      unsubscribe: topics => { for (const topic of topics) node!.topics.delete(topic) },
      read: (...args) => broker.read!(...args),
      heads: topics => broker.heads!(topics)
    }
  }
  return [view(), view()]
}

brokerContract('memory', { make: async () => shared(memoryBroker()), cut: null })
brokerContract('memory, as if from elsewhere', { make: async () => shared(memoryBroker({ delay: 1 })), cut: null })

brokerContract('mqemitter', {
  make: async () => {
    const emitter = mqemitter()
    return [mqemitterBroker({ emitter }), mqemitterBroker({ emitter })]
  },
  cut: null
})

let server: RedisServer | null = null
let cluster: RedisCluster | null = null
let nats: NatsServer | null = null
t.teardown(async () => { await Promise.all([server?.remove(), cluster?.remove(), nats?.remove()]) })
let prefixes = 0

for (const [name, client] of Object.entries(REDIS_CLIENTS)) {
  brokerContract(`Redis by ${name}`, {
    make: async () => {
      server ??= await RedisServer.start()
      const options = { client: client(server.port), prefix: `test${prefixes++}` }
      return [redisBroker(options), redisBroker(options)]
    },
    cut: async () => {
      await server!.kill()
      return async () => { await server!.start() }
    }
  }, withoutRedis)
}

for (const [name, client] of Object.entries(REDIS_CLUSTER_CLIENTS)) {
  brokerContract(`a Redis cluster by ${name}`, {
    make: async () => {
      cluster ??= await RedisCluster.start()
      const options = { client: client(cluster.ports), prefix: `test${prefixes++}` }
      return [redisBroker(options), redisBroker(options)]
    },
    cut: async () => {
      await cluster!.kill()
      return async () => { await cluster!.restart() }
    }
  }, withoutRedis)
}

for (const storage of ['file', 'memory'] as const) {
  brokerContract(`NATS with a ${storage}`, {
    make: async t => {
      nats ??= await NatsServer.start()
      const prefix = `test${prefixes++}`
      return [natsBroker({ connection: await nats.connect(t), prefix, storage }), natsBroker({ connection: await nats.connect(t), prefix, storage })]
    },
    cut: async () => {
      await nats!.kill()
      return async () => { await nats!.start() }
    }
  }, withoutNats)
}
