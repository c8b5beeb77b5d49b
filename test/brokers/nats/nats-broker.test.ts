// Which options there are.
import type { NatsConnection } from '@nats-io/transport-node'
import { test } from 'tap'
import { natsBroker, type NatsBrokerOptions } from '../../../lib/brokers/nats/index.ts'
import { JetstreamBroker } from '../../../lib/brokers/nats/jetstream-broker.ts'

const method = (): void => {}

function fakeConnection (options?: object): NatsConnection {
  return { closed: method, flush: method, publish: method, reconnect: method, request: method, status: method, subscribe: method, options } as unknown as NatsConnection
}

test('options that are wrong, and what is no connection, are named', t => {
  const message = (options: unknown): string => {
    try {
      natsBroker(options as NatsBrokerOptions)
      return 'no error'
    } catch (error) {
      t.match(error, { name: 'TypeError', code: 'FST_WS_TOPICS_OPTION' })
      return (error as Error).message
    }
  }
  const connection = fakeConnection()
  t.equal(message(null), 'the option connection of natsBroker() must be a connection of @nats-io/transport-node, not undefined')
  t.match(message({ connection: null }), /not null$/)
  t.match(message({ connection: 'nats://127.0.0.1' }), /not string$/)
  t.match(message({ connection: Promise.resolve(connection) }), /not a promise of one$/)
  t.match(message({ connection: { ...connection, reconnect: undefined } }), /not object$/)
  t.match(message({ connection: fakeConnection({ maxReconnectAttempts: 10 }) }), /one that reconnects for ever, by maxReconnectAttempts: -1, not one that gives up after 10 attempts$/)
  t.match(message({ connection: fakeConnection({ reconnect: false, maxReconnectAttempts: -1 }) }), /not one that does not$/)
  t.match(message({ connection: fakeConnection({ noEcho: true }) }), /not one with noEcho$/)
  for (const prefix of ['', 'a.b', 'a b', '*', 'x'.repeat(33), 1]) t.match(message({ connection, prefix }), /prefix .* must be 1 to 32 letters, digits, - and _/)
  for (const timeout of [0, 1.5, 2 ** 31, '1']) t.match(message({ connection, timeout }), /timeout .* must be a number of milliseconds/)
  t.match(message({ connection, storage: 'disk' }), /storage .* must be 'file' or 'memory', not "disk"/)
  for (const replicas of [0, 6, 1.5]) t.match(message({ connection, replicas }), /replicas .* must be a number from 1 to 5/)
  t.end()
})

test('a connection that reconnects for ever makes a broker', t => {
  for (const connection of [fakeConnection(), fakeConnection({ maxReconnectAttempts: -1, reconnect: true })]) t.type(natsBroker({ connection }), JetstreamBroker)
  t.end()
})
