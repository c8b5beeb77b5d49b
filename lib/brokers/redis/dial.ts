// Which client it is that was brought.
import { wrongBrokerOption } from '../../errors.ts'
import type { Dial } from './connection.ts'
import { ioredisDial, type IoredisClient } from './ioredis.ts'
import { nodeRedisDial, type NodeRedisClient } from './node-redis.ts'

/**
 * A client of node-redis (createClient()), ioredis or iovalkey (new Redis()). Its options are used, for connections made by its duplicate(); it
 * need not be connected itself.
 */
export interface RedisClient {
  duplicate (...args: never[]): unknown
  subscribe (...args: never[]): unknown
}

const EXPECTED = 'a client of node-redis, ioredis or iovalkey'

/** @throws TypeError with the code FST_WS_TOPICS_OPTION */
export function dialOf (client: unknown): Dial {
  const given = (typeof client === 'object' && client !== null ? client : {}) as Record<string, unknown>
  const has = (...methods: string[]): boolean => methods.every(name => typeof given[name] === 'function')
  if (given.isCluster === true || has('duplicate', 'getSlotRandomNode')) {
    throw wrongBrokerOption('redisBroker', 'client', `${EXPECTED} of one server, or of its sentinels`, 'that of a cluster')
  }
  if (has('duplicate', 'connect', 'subscribe', 'unsubscribe', 'on')) {
    if (has('callBuffer', 'disconnect')) return ioredisDial(client as IoredisClient)
    if (has('sendCommand', 'withTypeMapping', 'destroy')) return nodeRedisDial(client as NodeRedisClient)
  }
  throw wrongBrokerOption('redisBroker', 'client', EXPECTED, given === client ? `an object with ${methodsOf(given)}` : client === null ? 'null' : typeof client)
}

function methodsOf (client: Record<string, unknown>): string {
  const known = ['duplicate', 'connect', 'subscribe', 'unsubscribe', 'on', 'callBuffer', 'disconnect', 'sendCommand', 'withTypeMapping', 'destroy']
  const there = known.filter(name => typeof client[name] === 'function')
  return there.length === 0 ? 'none of its methods' : `${there.join('(), ')}() alone`
}
