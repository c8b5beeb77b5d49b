// Topics across processes over NATS with JetStream.
import type { NatsConnection } from '@nats-io/transport-node'
import type { Broker } from '../../../types/topics.ts'
import { wrongBrokerOption } from '../../errors.ts'
import { NODE, wallClock, type Environment } from '../../topics/environment.ts'
import { JetstreamBroker, type JetstreamBrokerOptions } from './jetstream-broker.ts'

export interface NatsBrokerOptions {
  /**
   * Your connection, which may be used for other things, too, and is not closed. It must reconnect for ever: `connect({ maxReconnectAttempts: -1 })`.
   */
  readonly connection: NatsConnection
  /** Prefix of all streams and subjects. Default: 'ws1'. */
  readonly prefix?: string | undefined
  /** Milliseconds within which the server must answer. Default: 5,000. */
  readonly timeout?: number | undefined
  /** Of streams that are not there and have to be made. Default: 'file'. */
  readonly storage?: 'file' | 'memory' | undefined
  /** Of the same: how many servers of a cluster have each. Default: 1. */
  readonly replicas?: number | undefined
}

/**
 * A broker for the option `broker` of topics: NATS from 2.9.10 on, with JetStream.
 * @throws TypeError with the code FST_WS_TOPICS_OPTION for an invalid option or a connection that cannot be used
 */
export function natsBroker (options: NatsBrokerOptions): Broker {
  return makeBroker(options, NODE)
}

/** @param environment clock and random, @param now milliseconds since 1970: replaced in tests */
export function makeBroker (options: NatsBrokerOptions, environment: Environment, now: () => number = wallClock): Broker {
  return new JetstreamBroker(checked(options), environment, now)
}

const METHODS = ['closed', 'flush', 'publish', 'reconnect', 'request', 'status', 'subscribe']

function checked (options: NatsBrokerOptions): JetstreamBrokerOptions {
  const { connection, prefix = 'ws1', timeout = 5_000, storage = 'file', replicas = 1 } = (options ?? {}) as NatsBrokerOptions
  const wrong = (name: string, expected: string, given: string): TypeError => wrongBrokerOption('natsBroker', name, expected, given)
  const given = (connection ?? {}) as unknown as Record<string, unknown>
  if (!METHODS.every(name => typeof given[name] === 'function')) {
    throw wrong('connection', 'a connection of @nats-io/transport-node', connection === null ? 'null' : typeof given['then'] === 'function' ? 'a promise of one' : typeof connection)
  }
  // not in its types
  const { maxReconnectAttempts: attempts, reconnect, noEcho } = (given['options'] ?? {}) as Record<string, unknown>
  if (reconnect === false || (attempts !== undefined && attempts !== -1)) {
    throw wrong('connection', 'one that reconnects for ever, by maxReconnectAttempts: -1', reconnect === false ? 'one that does not' : `one that gives up after ${String(attempts)} attempts`)
  }
  if (noEcho === true) throw wrong('connection', 'one that gets what it publishes', 'one with noEcho')
  if (typeof prefix !== 'string' || !/^[A-Za-z0-9_-]{1,32}$/.test(prefix)) throw wrong('prefix', '1 to 32 letters, digits, - and _', JSON.stringify(prefix))
  if (!(Number.isInteger(timeout) && timeout > 0 && timeout < 2 ** 31)) throw wrong('timeout', 'a number of milliseconds', String(timeout))
  if (storage !== 'file' && storage !== 'memory') throw wrong('storage', "'file' or 'memory'", JSON.stringify(storage))
  if (!(Number.isInteger(replicas) && replicas >= 1 && replicas <= 5)) throw wrong('replicas', 'a number from 1 to 5', String(replicas))
  return { connection, prefix, timeout, storage, replicas }
}
