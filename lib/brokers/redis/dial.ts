// Recognizes the kind of client.
import { wrongBrokerOption } from '../../errors.ts'
import type { Cluster, Dial } from './connection.ts'
import { IoredisCluster, ioredisDial, type IoredisClient, type IoredisClusterClient } from './ioredis.ts'
import { NodeRedisCluster, nodeRedisDial, type NodeRedisClient, type NodeRedisClusterClient } from './node-redis.ts'

/**
 * A client of node-redis (createClient(), createCluster()), ioredis or iovalkey (new Redis(), new Cluster()). Connections are made with its
 * duplicate() and options; it need not be connected itself.
 */
export interface RedisClient {
  duplicate (...args: never[]): unknown
  subscribe (...args: never[]): unknown
}

const EXPECTED = 'a client of node-redis, ioredis or iovalkey'

/** Null: not a cluster client. */
export function clusterOf (client: unknown): Cluster | null {
  const { given, has } = methodsOf(client)
  if (given.isCluster === true && has('duplicate', 'connect', 'nodes', 'on', 'disconnect')) return new IoredisCluster(client as IoredisClusterClient)
  if (has('duplicate', 'connect', 'getSlotRandomNode', 'nodeClient', 'on', 'destroy')) return new NodeRedisCluster(client as NodeRedisClusterClient)
  return null
}

/** @throws TypeError with the code FST_WS_TOPICS_OPTION */
export function dialOf (client: unknown): Dial {
  const { given, has } = methodsOf(client)
  if (has('duplicate', 'connect', 'subscribe', 'unsubscribe', 'on')) {
    if (has('callBuffer', 'disconnect')) return ioredisDial(client as IoredisClient)
    if (has('sendCommand', 'withTypeMapping', 'destroy')) return nodeRedisDial(client as NodeRedisClient)
  }
  throw wrongBrokerOption('redisBroker', 'client', EXPECTED, given === client ? `an object with ${namesOf(given)}` : client === null ? 'null' : typeof client)
}

function methodsOf (client: unknown): { given: Record<string, unknown>, has: (...methods: string[]) => boolean } {
  const given = (typeof client === 'object' && client !== null ? client : {}) as Record<string, unknown>
  return { given, has: (...methods) => methods.every(name => typeof given[name] === 'function') }
}

function namesOf (client: Record<string, unknown>): string {
  const known = ['duplicate', 'connect', 'subscribe', 'unsubscribe', 'on', 'callBuffer', 'disconnect', 'sendCommand', 'withTypeMapping', 'destroy']
  const there = known.filter(name => typeof client[name] === 'function')
  return there.length === 0 ? 'none of its methods' : `${there.join('(), ')}() alone`
}
