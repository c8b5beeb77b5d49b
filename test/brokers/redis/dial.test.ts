// Which client it is that was brought, by what it has, and where it says that nodes are.
import { Cluster as IoredisCluster } from 'ioredis'
import { Cluster as IovalkeyCluster } from 'iovalkey'
import { createCluster } from 'redis'
import { test } from 'tap'
import { clusterOf, dialOf } from '../../../lib/brokers/redis/dial.ts'
import { REDIS_CLIENTS } from '../../helpers/redis-clients.ts'

test('a client of a server is no cluster, and the other way round', t => {
  for (const [name, client] of Object.entries(REDIS_CLIENTS)) {
    t.equal(clusterOf(client(1)), null, name)
    t.type(dialOf(client(1)), 'function', name)
  }
  for (const none of [null, undefined, 1, 'redis://', {}, { isCluster: true }]) t.equal(clusterOf(none), null)
  t.throws(() => dialOf({ isCluster: true, duplicate () {}, on () {} }), { code: 'FST_WS_TOPICS_OPTION', message: /not an object with duplicate\(\), on\(\) alone$/ })
  t.end()
})

test('a node is where the map of the client says, as an object or a function; else where the cluster says', t => {
  const [inside, other] = [{ host: '10.0.0.1', port: 7000 }, { host: '10.0.0.2', port: 7000 }]
  const outside = { host: 'example.com', port: 17_000 }
  const table = { '10.0.0.1:7000': outside }
  const lookup = (address: string): typeof outside | undefined => address === '10.0.0.1:7000' ? outside : undefined
  const clients = [table, lookup].flatMap(map => [
    createCluster({ rootNodes: [{}], nodeAddressMap: map as typeof table }),
    new IoredisCluster([inside], { lazyConnect: true, natMap: map as typeof table }),
    new IovalkeyCluster([inside], { lazyConnect: true, natMap: map as typeof table })
  ])
  for (const client of clients) t.strictSame([inside, other].map(address => clusterOf(client)!.map(address)), [outside, other])
  for (const client of [createCluster({ rootNodes: [{}] }), new IoredisCluster([inside], { lazyConnect: true })]) t.strictSame(clusterOf(client)!.map(inside), inside)
  t.end()
})
