// Topics across processes over Redis or Valkey: one server, or a cluster.
import type { Broker } from '../../../types/topics.ts'
import { wrongBrokerOption } from '../../errors.ts'
import { NODE, type Environment } from '../../topics/environment.ts'
import { ClusterBroker } from './cluster-broker.ts'
import { clusterOf, dialOf, type RedisClient } from './dial.ts'
import { Layout } from './layout.ts'
import { ServerBroker } from './server-broker.ts'

export interface RedisBrokerOptions {
  /**
   * Your client of node-redis, ioredis or iovalkey, for one server or a cluster. Its options are used to open two connections to each server; it
   * need not be connected itself.
   */
  readonly client: RedisClient
  /** Prefix of all keys and channels. The client's keyPrefix is not used. Default: 'ws1'. */
  readonly prefix?: string | undefined
  /** Milliseconds within which the server must answer; otherwise its connections are replaced. Default: 5,000. */
  readonly timeout?: number | undefined
}

/**
 * A broker for the option `broker` of topics: Redis or Valkey from 6.2 on, one server, also behind sentinels; or a cluster from 7.0 on.
 * @throws TypeError with the code FST_WS_TOPICS_OPTION for an invalid option or an unknown kind of client
 */
export function redisBroker (options: RedisBrokerOptions): Broker {
  return makeBroker(options, NODE)
}

/** @param environment clock and random, replaced in tests */
export function makeBroker (options: RedisBrokerOptions, environment: Environment): Broker {
  const { client, prefix = 'ws1', timeout = 5_000 } = checked(options)
  const cluster = clusterOf(client)
  if (cluster !== null) return new ClusterBroker({ cluster, layout: new Layout(prefix, true), timeout, environment })
  return new ServerBroker({ dial: dialOf(client), layout: new Layout(prefix), timeout, environment })
}

function checked (options: RedisBrokerOptions): RedisBrokerOptions {
  const { client, prefix, timeout } = (options ?? {}) as RedisBrokerOptions
  if (prefix !== undefined && (typeof prefix !== 'string' || !/^[^\s{}]{1,64}$/.test(prefix))) {
    throw wrongBrokerOption('redisBroker', 'prefix', '1 to 64 characters without spaces and braces', JSON.stringify(prefix))
  }
  if (timeout !== undefined && !(Number.isInteger(timeout) && timeout > 0 && timeout < 2 ** 31)) {
    throw wrongBrokerOption('redisBroker', 'timeout', 'a number of milliseconds', String(timeout))
  }
  return { client, prefix, timeout }
}
