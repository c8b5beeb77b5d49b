// What is made of what ioredis and iovalkey tell, by a client that tells what a test says.
import { EventEmitter } from 'node:events'
import { ReplyError } from 'ioredis'
import { test } from 'tap'
import { IoredisCluster, ioredisDial, type IoredisClient, type IoredisClusterClient } from '../../../lib/brokers/redis/ioredis.ts'
import { gate, turn } from '../../helpers/app.ts'

class FakeClient extends EventEmitter {
  readonly options = { host: 'h', port: 1 }
  readonly duplicates: Array<{ client: FakeClient, given: Record<string, unknown> }> = []
  answer: () => Promise<unknown> = async () => null

  duplicate (given: Record<string, unknown>): FakeClient {
    const client = new FakeClient()
    this.duplicates.push({ client, given })
    return client
  }

  async connect (): Promise<void> { queueMicrotask(() => { this.emit('ready') }) }
  async callBuffer (): Promise<unknown> { return await this.answer() }
  async subscribe (): Promise<unknown> { return await this.answer() }
  async ssubscribe (): Promise<unknown> { return await this.answer() }
  disconnect (): void {}
}

const ioredis = (client: FakeClient): IoredisClient => client as unknown as IoredisClient

test('its duplicate neither comes back, nor keeps, nor repeats anything', t => {
  const client = new FakeClient()
  ioredisDial(ioredis(client))({ message: () => {}, ended: () => {} })
  const { retryStrategy, ...given } = client.duplicates[0]!.given as { retryStrategy: () => unknown }
  t.equal(retryStrategy(), null)
  t.match(given, { enableOfflineQueue: false, autoResubscribe: false, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0, keyPrefix: '' })
  t.end()
})

test('an error holds nothing of what was published, and says why the connection has ended', async t => {
  const client = new FakeClient()
  const ends: string[] = []
  const connection = ioredisDial(ioredis(client))({ message: () => {}, ended: ({ message }) => { ends.push(message) } })
  const { client: duplicate } = client.duplicates[0]!
  await connection.connect()
  const refused = Object.assign(new ReplyError('OOM'), { command: { args: ['secret'] } })
  duplicate.answer = async () => { throw refused }
  t.equal(await connection.call(['EVAL', 'secret']).catch((error: unknown) => error), refused)
  t.equal('command' in refused, false)
  duplicate.emit('error', new Error('ECONNRESET'))
  duplicate.answer = async () => { throw new Error('Connection is closed.') }
  await t.rejects(connection.call(['PING']), { message: 'ECONNRESET' })
  duplicate.emit('close')
  t.strictSame(ends, ['ECONNRESET'])
})

async function ofCluster (): Promise<{ client: FakeClient, connect: () => Promise<unknown>, subscribe: (...channels: string[]) => Promise<unknown>, ends: string[] }> {
  const cluster = Object.assign(new FakeClient(), { nodes: () => [template], options: {} })
  const template = new FakeClient()
  const made = Object.assign(new FakeClient(), { duplicate: () => cluster })
  const { nodes } = new IoredisCluster(made as unknown as IoredisClusterClient).discover()
  cluster.emit('+node')
  const { seeds, dial } = await nodes
  if (seeds[0]!.port !== 1) throw new Error('it is not where its client is')
  const ends: string[] = []
  const connection = dial({ host: 'other', port: 2 })({ message: () => {}, ended: ({ message }) => { ends.push(message) } })
  const { client, given } = template.duplicates[0]!
  if (given.host !== 'other' || given.port !== 2) throw new Error('it does not go where it should')
  return { client, ends, connect: () => connection.connect(), subscribe: (...channels) => connection.subscribe(channels) }
}

test('a subscription of which the server lets go ends the connection; one that it refuses does not', async t => {
  const { client, connect, subscribe, ends } = await ofCluster()
  await connect()
  client.answer = async () => {
    client.emit('moved') // as ioredis says that, too
    throw new ReplyError('MOVED 1 h:2')
  }
  await t.rejects(subscribe('a'), /MOVED/)
  await turn()
  t.strictSame(ends, [])
  const pending = gate<void>()
  client.answer = () => pending.opened
  const subscribed = subscribe('b')
  client.emit('moved')
  t.strictSame(ends, [], 'it may be that of the answer')
  pending.open()
  await subscribed
  t.strictSame(ends, ['a slot has moved to another node'])
})

test('what iovalkey says of a message that it does not expect ends the connection; what is said before it was there does not', async t => {
  const { client, connect, ends } = await ofCluster()
  client.emit('error', new Error('ECONNREFUSED'))
  t.strictSame(ends, [])
  await connect()
  client.emit('error', new Error('Command queue state error'))
  t.strictSame(ends, ['Command queue state error'])
})

test('a cluster that cannot be looked up rejects', async t => {
  const cluster = Object.assign(new FakeClient(), { nodes: () => [], options: {}, connect: async () => { throw new Error('ENOTFOUND') } })
  const { nodes } = new IoredisCluster(Object.assign(new FakeClient(), { duplicate: () => cluster }) as unknown as IoredisClusterClient).discover()
  cluster.emit('+node') // one that has gone already
  await t.rejects(nodes, /ENOTFOUND/)
})
