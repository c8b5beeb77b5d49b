// Redis as it is when it is not well, and what is asked of it. What all brokers do is in test/contract/broker.ts.
import { inspect } from 'node:util'
import { Redis as Ioredis } from 'ioredis'
import { test, type Test } from 'tap'
import { redisBroker } from '../../../lib/brokers/redis/index.ts'
import { partitionOf } from '../../../lib/brokers/redis/layout.ts'
import { makeBroker, type RedisBrokerOptions } from '../../../lib/brokers/redis/redis-broker.ts'
import { PUBLISH } from '../../../lib/brokers/redis/scripts.ts'
import { Topics } from '../../../lib/index.ts'
import { NODE, type Environment } from '../../../lib/topics/environment.ts'
import type { Broker } from '../../../types/index.ts'
import { bodyOf, PLAIN, Recorder, RULE, started } from '../../contract/broker.ts'
import { gate, turn } from '../../helpers/app.ts'
import { REDIS_CLIENTS } from '../../helpers/redis-clients.ts'
import { RedisServer, withoutRedis } from '../../helpers/redis-server.ts'
import { codeOf, startTopics, take } from '../../helpers/topics.ts'

/** A server, and a client that sees and does what it likes. */
async function serve (t: Test, ...options: string[]): Promise<{ server: RedisServer, admin: Ioredis }> {
  const server = await RedisServer.start(...options)
  const admin = new Ioredis({ port: server.port, host: '127.0.0.1' })
  admin.on('error', () => {})
  t.teardown(async () => {
    admin.disconnect()
    await server.remove()
  })
  return { server, admin }
}

const [someClient, ioredis] = [REDIS_CLIENTS['node-redis']!, REDIS_CLIENTS.ioredis!]

/** An environment in which ticks and deadlines come when a test says so. */
function ticking (): { environment: Environment, tick: () => void, expire: () => void } {
  const due: Record<'tick' | 'deadline', (() => void) | null> = { tick: null, deadline: null }
  const environment: Environment = {
    ...NODE,
    schedule: (callback, delay, isAwaited) => {
      if (delay <= 500) return NODE.schedule(callback, delay, isAwaited)
      const kind = delay < 10_000 ? 'deadline' : 'tick'
      due[kind] = callback
      return () => { due[kind] = null }
    }
  }
  return { environment, tick: () => { due.tick!() }, expire: () => { due.deadline!() } }
}

test('start() rejects where no server can be reached, and can be called again when there is one', { skip: withoutRedis }, async t => {
  const { server } = await serve(t)
  await server.kill()
  for (const [name, client] of Object.entries(REDIS_CLIENTS)) {
    const broker = redisBroker({ client: client(server.port), prefix: name })
    const host = new Recorder()
    await t.rejects(broker.start(host, 'a'), { code: 'FST_WS_TOPICS_BROKER_LOST', message: /ECONNREFUSED/ })
    await server.start()
    await broker.start(host, 'a')
    await broker.stop()
    t.strictSame([host.told, host.errors], [[], []])
    await server.kill()
  }
})

test('a user who may do what is documented suffices, one who may do less is refused at the start', { skip: withoutRedis }, async t => {
  const { server, admin } = await serve(t)
  const may = '+eval +get +set +del +rpush +ltrim +lrange +pexpire +mget +publish +subscribe +unsubscribe +ping'.split(' ')
  await admin.call('ACL', 'SETUSER', 'enough', 'on', '>secret', '~ws1:*', '&ws1:*', ...may)
  await admin.call('ACL', 'SETUSER', 'deaf', 'on', '>secret', '~ws1:*', '&other:*', ...may)
  await admin.call('ACL', 'SETUSER', 'keyless', 'on', '>secret', '~other:*', '&ws1:*', ...may)
  await admin.call('ACL', 'SETUSER', 'unable', 'on', '>secret', '~ws1:*', '&ws1:*', ...may, '-ltrim')
  for (const client of Object.values(REDIS_CLIENTS)) {
    const as = (username: string): Broker => redisBroker({ client: client(server.port, { username, password: 'secret' }) })
    const host = await started(t, as('enough'), 'a')
    t.strictSame(host.errors, [])
    for (const username of ['deaf', 'keyless', 'unable']) {
      await t.rejects(as(username).start(new Recorder(), 'a'), { code: 'FST_WS_TOPICS_REFUSED', message: /the broker has refused (SUBSCRIBE|MGET|EVAL): .*(NOPERM|ACL|can't run this command)/i }, username)
    }
    await t.rejects(as('nobody').start(new Recorder(), 'a'), { code: 'FST_WS_TOPICS_BROKER_LOST', message: /WRONGPASS/ })
  }
})

test('a server that does not answer is given up after timeout: what was sent is uncertain, and all is well when it answers again', { skip: withoutRedis }, async t => {
  const { server } = await serve(t)
  for (const [name, client] of Object.entries(REDIS_CLIENTS)) {
    const { environment, expire } = ticking()
    const broker = makeBroker({ client: client(server.port), prefix: name }, environment)
    const host = await started(t, broker, 'a')
    await broker.subscribe(['a'])
    server.freeze()
    const published = broker.publish('a', bodyOf('a', '1'), RULE)
    const read = broker.read!('a', null, RULE)
    expire()
    if (host.told.length === 0) expire() // that of a promise which was settled meanwhile
    await t.rejects(published, { code: 'FST_WS_TOPICS_UNCERTAIN', cause: { message: 'the server has not answered for 5000 ms' } })
    await t.rejects(read, { code: 'FST_WS_TOPICS_BROKER_LOST' })
    server.thaw()
    await host.until(() => host.told.length === 2)
    await broker.publish('a', bodyOf('a', '2'), RULE)
    await host.until(() => host.delivered.at(-1)?.[2] === '2')
    t.strictSame(host.told, ['interrupted', 'restored'])
  }
})

test('a full server refuses a new topic whole, and still answers and delivers what is known', { skip: withoutRedis }, async t => {
  const { server, admin } = await serve(t)
  const broker = redisBroker({ client: someClient(server.port) })
  const host = await started(t, broker, 'a')
  await broker.subscribe(['a', 'new'])
  await broker.publish('a', bodyOf('a', '1'), RULE)
  await admin.config('SET', 'maxmemory', '1')
  await t.rejects(broker.publish('new', bodyOf('new', 'x'), RULE), /OOM/)
  t.match(await broker.read!('a', null, RULE), { head: { number: 1 } })
  await broker.publish('a', bodyOf('a', 'plain'), PLAIN)
  await host.until(() => host.delivered.length === 2)
  await admin.config('SET', 'maxmemory', '0')
  t.strictSame(await broker.heads!(['new']), [null])
  t.strictSame(host.told, [])
})

test('a server that has become a replica is left, and used when it may be written to', { skip: withoutRedis }, async t => {
  const { server, admin } = await serve(t)
  const broker = redisBroker({ client: ioredis(server.port) })
  const host = await started(t, broker, 'a')
  await admin.replicaof('127.0.0.1', '1')
  const refused: Error = await broker.publish('a', bodyOf('a', 'secret'), RULE).then(() => { throw new Error('accepted') }, (error: Error) => error)
  t.match(refused.message, /READONLY/)
  t.notMatch(inspect(refused), 'secret')
  await host.until(() => host.errors.length > 2)
  t.strictSame(host.told, ['interrupted'])
  await admin.call('REPLICAOF', 'NO', 'ONE')
  await host.until(() => host.told.length === 2)
  t.match(await broker.publish('a', bodyOf('a', '2'), RULE), { number: 1 })
})

test('what is refused when it comes back is told, and does not keep it away', { skip: withoutRedis }, async t => {
  const { server, admin } = await serve(t)
  const broker = redisBroker({ client: someClient(server.port) })
  const host = await started(t, broker, 'a')
  await admin.config('SET', 'maxmemory', '1')
  await admin.flushall()
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await host.until(() => host.told.length === 2)
  t.ok(host.errors.some(({ message }) => /refused a trial: .*OOM/.test(message)))
})

test('a subscription that is refused rejects, others are not in its way', { skip: withoutRedis }, async t => {
  const { server, admin } = await serve(t)
  const [good, bad] = ['a', 'b']
  const channels = [0, partitionOf(good)].map(partition => `&ws1:{${partition}}`)
  await admin.call('ACL', 'SETUSER', 'some', 'on', '>secret', '~*', '+@all', ...channels)
  const broker = redisBroker({ client: ioredis(server.port, { username: 'some', password: 'secret' }) })
  const host = await started(t, broker, 'a')
  await t.rejects(broker.subscribe([bad, good]), /NOPERM/, 'of which one is')
  const refused = broker.subscribe([bad])
  const subscribed = broker.subscribe([good])
  await t.rejects(refused, /NOPERM/)
  await subscribed
  await broker.publish(good, bodyOf(good, '1'), RULE)
  await host.until(() => host.delivered.length === 1)
  await t.rejects(broker.publish(bad, bodyOf(bad, '1'), RULE), /ACL|NOPERM|permission|can't publish/)
})

test('what others publish is delivered: by the script, or plain, in whatever language; what is none of ours is dropped', { skip: withoutRedis }, async t => {
  const { server, admin } = await serve(t)
  const broker = redisBroker({ client: someClient(server.port) })
  const host = await started(t, broker, 'a')
  await broker.subscribe(['news'])
  const channel = `ws1:{${partitionOf('news')}}`
  for (const none of ['', 'x', '-', '- \n{"t":"news"}\n', '-\n', '-\nno', '-\n{"t":1}\n', 'e 0 t -\n{"t":"news"}\n', `${'e'.repeat(200)} 1 t -\n{"t":"news"}\n`, '-\n{"t":"other"}\nx']) {
    await admin.publish(channel, none)
  }
  await admin.publish(channel, '-\n{"t":"news"}\nplain')
  await admin.eval(PUBLISH, 2, `${channel}:n:news`, `${channel}:h:news`, channel, 'epoch1', 'tag1', '{"t":"news"}\nnumbered', '0', '1000', '1000')
  await host.until(() => host.delivered.length === 2)
  t.strictSame(host.delivered, [['news', null, 'plain'], ['news', { epoch: 'epoch1', number: 1, tag: 'tag1' }, 'numbered']])
  await admin.set(`${channel}:n:news`, 'of somebody else')
  t.match(await broker.read!('news', null, RULE), { head: { number: 0, tag: '-' } })
  await admin.del(`${channel}:n:news`)
  await admin.rpush(`${channel}:n:news`, 'x')
  await t.rejects(broker.read!('news', null, RULE), /WRONGTYPE/)
  await t.rejects(broker.publish('news', bodyOf('news', ''), RULE), /WRONGTYPE/)
  t.strictSame(host.told, [])
})

test('a host that throws is told of it, and nothing gets to the client', { skip: withoutRedis }, async t => {
  const { server } = await serve(t)
  const broker = redisBroker({ client: ioredis(server.port) })
  const told = gate<Error>()
  const host = Object.assign(new Recorder(), { deliver: () => { throw new Error('of a host') }, error: (error: Error) => { told.open(error) } })
  await broker.start(host, 'a')
  t.teardown(() => broker.stop())
  await broker.subscribe(['a'])
  await broker.publish('a', bodyOf('a', ''), RULE)
  t.match(await told.opened, { message: 'of a host' })
})

test('a partition in which nobody is subscribed is left at the next tick, and a silent end is found by it', { skip: withoutRedis }, async t => {
  const { server, admin } = await serve(t)
  for (const client of Object.values(REDIS_CLIENTS)) {
    const { environment, tick, expire } = ticking()
    const broker = makeBroker({ client: client(server.port) }, environment)
    const host = await started(t, broker, 'a')
    await broker.subscribe(['a', 'b'])
    broker.unsubscribe(['b'])
    const channel = (topic: string): string => `ws1:{${partitionOf(topic)}}`
    const isListening = async (topic: string): Promise<boolean> => Number((await admin.call('PUBSUB', 'NUMSUB', channel(topic)) as unknown[])[1]) > 0
    t.strictSame([await isListening('a'), await isListening('b')], [true, true])
    tick()
    // one command at a time: this is acknowledged after it was left
    await broker.subscribe(['b'])
    t.equal(await isListening('b'), true)
    broker.unsubscribe(['b'])
    tick()
    await broker.subscribe(['c'])
    t.strictSame([await isListening('a'), await isListening('b')], [true, false])
    server.freeze()
    tick()
    expire()
    if (host.told.length === 0) expire()
    t.strictSame(host.told, ['interrupted'])
    server.thaw()
    await host.until(() => host.told.includes('restored'))
    t.equal(await isListening('a'), true)
    tick()
    await broker.stop()
  }
})

test('stop() while it comes back ends that, and what waits for a subscription', { skip: withoutRedis }, async t => {
  const { server } = await serve(t)
  const broker = redisBroker({ client: someClient(server.port), timeout: 60_000 })
  const host = await started(t, broker, 'a')
  await server.kill()
  await host.until(() => host.errors.length > 1)
  const waiting = broker.subscribe(['a'])
  await broker.stop()
  await t.rejects(waiting, { code: 'FST_WS_TOPICS_CLOSED' })
  await server.start()
  await turn()
  const starting = broker.start(new Recorder(), 'a')
  await broker.stop()
  await t.rejects(starting)
})

test('over two nodes a client that comes back gets what it has missed; a server that has lost it is told as a gap', { skip: withoutRedis }, async t => {
  const { server } = await serve(t)
  const rules = [{ topic: 'room:*', size: 100 }]
  const a = await startTopics(t, { broker: redisBroker({ client: someClient(server.port) }), rules })
  const b = await startTopics(t, { broker: redisBroker({ client: ioredis(server.port) }), rules })
  const [on, author] = [await a.enter(), await b.enter()]
  const { position } = await on.connection.subscribe('room:1')
  await author.connection.subscribe('room:1')
  for (let i = 0; i < 5; i++) await author.connection.publish('room:1', String(i))
  t.strictSame(await take(on.client, 5), '01234'.split(''))
  const late = await b.enter()
  t.match(await late.connection.subscribe('room:1', { since: position }), { recovered: true })
  t.strictSame(await take(late.client, 5), '01234'.split(''))
  const gaps: unknown[] = []
  const told = gate<void>()
  on.connection.on('gap', gap => {
    gaps.push(gap)
    told.open()
  })
  await server.kill()
  const published = author.connection.publish('room:1', 'while it is away')
  await server.start()
  await published.catch(() => {})
  await told.opened
  t.match(gaps, [{ topic: 'room:1', reason: 'epoch' }])
  await b.topics.publish('room:1', 'end')
  for (;;) if (String(await on.client.receive()) === 'end') break
  t.equal(await codeOf(new Topics({ broker: redisBroker({ client: someClient(1) }) }).start()), 'FST_WS_TOPICS_BROKER_LOST')
})

/** A client like ioredis whose server says what a test wants. */
function fakeClient (answer: (command: string[]) => unknown): RedisBrokerOptions['client'] {
  const client = {
    duplicate: () => fakeClient(answer),
    connect: async () => {},
    subscribe: async () => {},
    unsubscribe: async () => {},
    on: (event: string, listener: () => void) => { if (event === 'ready') queueMicrotask(listener) },
    disconnect: () => { throw new Error('not connected') },
    callBuffer: async (...command: string[]) => answer(command)
  }
  return client
}

class ReplyError extends Error {}

test('a server that is too old is refused; one that does not tell its age is not', async t => {
  const start = (info: () => unknown): Promise<void> => {
    const head = Buffer.from('e 1 t')
    const answers: Record<string, () => unknown> = { INFO: info, EVAL: () => head }
    return redisBroker({ client: fakeClient(([name, script]) => name === 'EVAL' && script !== PUBLISH ? [head] : answers[name!]?.()) }).start(new Recorder(), 'a')
  }
  for (const version of ['6.0.16', '5.9.9', '3.0.0']) {
    await t.rejects(start(() => Buffer.from(`# Server\r\nredis_version:${version}\r\n`)), { code: 'FST_WS_TOPICS_BROKER_TOO_OLD', message: /must be 6\.2 or newer/ })
  }
  await start(() => Buffer.from('# Server\r\nredis_version:6.2.0\r\n'))
  await start(() => Buffer.from('# Server\r\nredis_version:7.0.15\r\n'))
  await start(() => Buffer.from('something'))
  await start(() => { throw new ReplyError('NOPERM') })
  await t.rejects(start(() => { throw new Error('gone') }), { code: 'FST_WS_TOPICS_BROKER_LOST' })
})

test('an answer that is none is an error, and a PING that is refused is told', async t => {
  let isBroken = false
  const client = fakeClient(([name, script]) => {
    if (isBroken && name === 'ping') throw new ReplyError('NOPERM')
    if (isBroken) return 'nonsense'
    return name !== 'EVAL' ? null : script === PUBLISH ? Buffer.from('e 1 t') : [Buffer.from('e 1 t')]
  })
  const { environment, tick } = ticking()
  const broker = makeBroker({ client }, environment)
  const host = await started(t, broker, 'a')
  isBroken = true
  await t.rejects(broker.publish('a', bodyOf('a', ''), RULE), { code: 'FST_WS_TOPICS_UNCERTAIN', cause: { code: 'FST_WS_TOPICS_BROKER_ANSWER' } })
  await t.rejects(broker.read!('a', null, RULE), { code: 'FST_WS_TOPICS_BROKER_ANSWER' })
  await t.rejects(broker.heads!(['a']), { code: 'FST_WS_TOPICS_BROKER_ANSWER' })
  tick()
  await host.until(() => host.errors.length > 0)
  t.match(host.errors, [{ code: 'FST_WS_TOPICS_REFUSED' }])
})
