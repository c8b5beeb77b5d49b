// What is made of what node-redis tells, by a client that tells what a test says.
import { EventEmitter } from 'node:events'
import { test } from 'tap'
import { NodeRedisCluster, nodeRedisDial, type NodeRedisClient, type NodeRedisClusterClient } from '../../../lib/brokers/redis/node-redis.ts'

class FakeClient extends EventEmitter {
  readonly options = { socket: { host: 'h', port: 1, tls: true } }
  readonly duplicates: Array<{ client: FakeClient, given: Record<string, unknown> }> = []
  isReady = true

  duplicate (given: Record<string, unknown>): FakeClient {
    const client = new FakeClient()
    this.duplicates.push({ client, given })
    return client
  }
}

test('its duplicate neither comes back nor keeps anything, and goes where its client does, in the same way', t => {
  const client = new FakeClient()
  nodeRedisDial(client as unknown as NodeRedisClient)({ message: () => {}, ended: () => {} })
  t.match(client.duplicates[0]!.given, { socket: { host: 'h', port: 1, tls: true, reconnectStrategy: false }, disableOfflineQueue: true })
  t.strictSame(client.duplicates[0]!.given.commandOptions, { timeout: undefined }, 'with none of its timers, of which it has one for each command by default')
  t.end()
})

test('an error while it is ready is not its end', t => {
  const client = new FakeClient()
  const ends: string[] = []
  nodeRedisDial(client as unknown as NodeRedisClient)({ message: () => {}, ended: ({ message }) => { ends.push(message) } })
  const { client: duplicate } = client.duplicates[0]!
  duplicate.emit('error', new Error('of a command'))
  t.strictSame(ends, [])
  duplicate.isReady = false
  duplicate.emit('error', new Error('ECONNRESET'))
  duplicate.emit('end')
  t.strictSame(ends, ['ECONNRESET', 'the connection was closed'])
  t.end()
})

test('a client of a cluster is connected for as long as it takes to know its nodes; a slot that moves ends a connection', async t => {
  const template = new FakeClient()
  const calls: string[] = []
  const cluster = Object.assign(new FakeClient(), {
    masters: [{ host: 'a', port: 7 }],
    connect: async () => { calls.push('connect') },
    nodeClient: () => template,
    destroy: () => { calls.push('destroy') }
  })
  const { nodes, close } = new NodeRedisCluster(Object.assign(new FakeClient(), { duplicate: () => cluster }) as unknown as NodeRedisClusterClient).discover()
  const { seeds, dial } = await nodes
  close()
  t.strictSame([seeds, calls], [[{ host: 'a', port: 7 }], ['connect', 'destroy']])
  const ends: string[] = []
  dial({ host: 'other', port: 2 })({ message: () => {}, ended: ({ message }) => { ends.push(message) } })
  const { client, given } = template.duplicates[0]!
  t.match(given, { socket: { host: 'other', port: 2, tls: true } })
  client.emit('sharded-channel-moved', 'channel')
  t.strictSame(ends, ['a slot has moved to another node'])
})
