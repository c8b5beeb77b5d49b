// Which options there are, and which broker they make.
import { Cluster } from 'ioredis'
import { createClientPool, createCluster } from 'redis'
import { test } from 'tap'
import { ClusterBroker } from '../../../lib/brokers/redis/cluster-broker.ts'
import { redisBroker } from '../../../lib/brokers/redis/index.ts'
import type { RedisBrokerOptions } from '../../../lib/brokers/redis/redis-broker.ts'
import { ServerBroker } from '../../../lib/brokers/redis/server-broker.ts'
import { REDIS_CLIENTS } from '../../helpers/redis-clients.ts'

const someClient = REDIS_CLIENTS['node-redis']!

test('options that are wrong, and what is no client, are named', async t => {
  const client = someClient(1)
  const message = (options: unknown): string => {
    try {
      redisBroker(options as RedisBrokerOptions)
      return 'no error'
    } catch (error) {
      t.match(error, { name: 'TypeError', code: 'FST_WS_TOPICS_OPTION' })
      return (error as Error).message
    }
  }
  t.equal(message(null), 'the option client of redisBroker() must be a client of node-redis, ioredis or iovalkey, not undefined')
  t.match(message({ client: null }), /not null$/)
  t.match(message({ client: 'redis://127.0.0.1' }), /not string$/)
  t.match(message({ client: {} }), /not an object with none of its methods$/)
  t.match(message({ client: { duplicate () {}, subscribe () {} } }), /not an object with duplicate\(\), subscribe\(\) alone$/)
  t.match(message({ client: createClientPool() }), /must be a client of node-redis/)
  t.match(message({ client, prefix: '{a}' }), /prefix .* must be 1 to 64 characters without spaces and braces, not "{a}"/)
  t.match(message({ client, prefix: '' }), /not ""/)
  t.match(message({ client, timeout: 0 }), /timeout .* must be a number of milliseconds/)
})

test('a client of a cluster makes the broker of one, any other that of a server', t => {
  for (const client of [createCluster({ rootNodes: [{}] }), new Cluster([{ port: 1 }], { lazyConnect: true })]) t.type(redisBroker({ client }), ClusterBroker)
  for (const client of Object.values(REDIS_CLIENTS)) t.type(redisBroker({ client: client(1) }), ServerBroker)
  t.end()
})
