// Topics of many processes by Redis or Valkey: one server, or a cluster.
import type { Broker } from '../../../types/topics.ts'
import { wrongBrokerOption } from '../../errors.ts'
import { NODE, type Environment } from '../../topics/environment.ts'
import { ClusterBroker } from './cluster-broker.ts'
import { clusterOf, dialOf, type RedisClient } from './dial.ts'
import { Layout } from './layout.ts'
import { ServerBroker } from './server-broker.ts'

export interface RedisBrokerOptions {
  /**
   * Yours, of node-redis, ioredis or iovalkey, of one server or a cluster: its options are used, for two connections of its kind to each server. It
   * need not be connected.
   */
  readonly client: RedisClient
  /** What all keys and channels begin with. Not the client's keyPrefix, which does not count here. Default: 'ws1'. */
  readonly prefix?: string | undefined
  /** Milliseconds in which the server has to answer; else its connections are given up and made anew. Default: 5,000. */
  readonly timeout?: number | undefined
}

/**
 * A broker for the option `broker` of topics: Redis or Valkey from 6.2, one server or what its sentinels name; or a cluster from 7.0.
 * @throws TypeError with the code FST_WS_TOPICS_OPTION for an option that is wrong, or a client that is not known
 */
export function redisBroker (options: RedisBrokerOptions): Broker {
  return makeBroker(options, NODE)
}

/** @param environment what tests may bring */
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
