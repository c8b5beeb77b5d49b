// A cluster as it is when it is not well. What all brokers do is in test/contract/broker.ts.
import t, { test } from 'tap'
import { ClusterBroker } from '../../../lib/brokers/redis/cluster-broker.ts'
import type { Address, Cluster, Dial } from '../../../lib/brokers/redis/connection.ts'
import { redisBroker } from '../../../lib/brokers/redis/index.ts'
import { Layout, partitionOf } from '../../../lib/brokers/redis/layout.ts'
import { PUBLISH } from '../../../lib/brokers/redis/scripts.ts'
import { slotOf } from '../../../lib/brokers/redis/topology.ts'
import { NODE, type Environment } from '../../../lib/topics/environment.ts'
import type { Broker, TopicGap } from '../../../types/index.ts'
import { bodyOf, payloadOf, PLAIN, Recorder, RULE, started } from '../../contract/broker.ts'
import { gate, turn } from '../../helpers/app.ts'
import { REDIS_CLUSTER_CLIENTS } from '../../helpers/redis-clients.ts'
import { RedisCluster } from '../../helpers/redis-cluster.ts'
import { RedisServer, withoutRedis } from '../../helpers/redis-server.ts'
import { startTopics, take } from '../../helpers/topics.ts'

let shared: Promise<RedisCluster> | null = null
/** As clients call what a server answers. */
class ReplyError extends Error {}

t.teardown(async () => (await shared?.catch(() => null))?.remove())

/** One for all tests: it takes two seconds until its nodes know each other. */
async function serve (): Promise<RedisCluster> {
  shared ??= RedisCluster.start()
  return await shared
}

const slotOfTopic = (topic: string): number => slotOf(`{${partitionOf(topic)}}`)

/** A name that lies on the node of that index, as the cluster was made, in a slot of none of the `others`. */
function topicOn (cluster: RedisCluster, index: number, ...others: string[]): string {
  for (let i = 0; ; i++) {
    const topic = `topic${i}`
    if (cluster.ownerOf(slotOfTopic(topic)) === index && !others.some(other => slotOfTopic(other) === slotOfTopic(topic))) return topic
  }
}

const [nodeRedis, ioredis] = [REDIS_CLUSTER_CLIENTS['node-redis']!, REDIS_CLUSTER_CLIENTS.ioredis!]

test('a slot that is moved while its topic is published on and subscribed to loses nothing, and no publish() fails', { skip: withoutRedis }, async t => {
  const cluster = await serve()
  const rules = [{ topic: '*', size: 1_000 }]
  for (const [name, client] of Object.entries(REDIS_CLUSTER_CLIENTS)) {
    const topic = topicOn(cluster, 0)
    const make = (): Broker => redisBroker({ client: client(cluster.ports), prefix: name })
    const [a, b] = [await startTopics(t, { broker: make(), rules }), await startTopics(t, { broker: make(), rules })]
    const subscriber = await a.enter()
    const gaps: TopicGap[] = []
    subscriber.connection.on('gap', gap => { gaps.push(gap) })
    await subscriber.connection.subscribe(topic)
    let published = 0
    // some at a time, so that several are under way when the first is told that it is elsewhere
    const publishUntil = async (isDone: () => boolean): Promise<void> => {
      for (; !isDone(); published += 5) await Promise.all(Array.from({ length: 5 }, (_, i) => b.topics.publish(topic, String(published + i))))
    }
    for (const [from, to] of [[0, 1], [1, 2], [2, 0]] as const) {
      const before = published
      let isMoved = false
      await Promise.all([
        publishUntil(() => isMoved && published >= before + 50),
        cluster.move(slotOfTopic(topic), from, to).then(() => { isMoved = true })
      ])
    }
    t.strictSame(await take(subscriber.client, published), Array.from({ length: published }, (_, i) => String(i)), `${name}: ${published}`)
    t.strictSame(gaps, [], name)
    await Promise.all([a.topics.close(), b.topics.close()])
  }
})

test('while a slot is on its way its topics wait, and all others go on', { skip: withoutRedis }, async t => {
  const cluster = await serve()
  const moving = topicOn(cluster, 0)
  const beside = topicOn(cluster, 0, moving)
  for (const [name, client] of Object.entries(REDIS_CLUSTER_CLIENTS)) {
    const broker = redisBroker({ client: client(cluster.ports), prefix: `moving-${name}` })
    const host = new Recorder(moving)
    await broker.start(host, 'a')
    t.teardown(() => broker.stop())
    await broker.subscribe([moving, beside])
    let late: Promise<void>
    await cluster.move(slotOfTopic(moving), 0, 1, async () => {
      await t.rejects(broker.publish(moving, bodyOf(moving, 'not there yet'), RULE), { code: 'FST_WS_TOPICS_BROKER_DOWN', message: /ASK/ })
      t.strictSame([broker.isAway!(moving), broker.isAway!(beside), host.told], [true, false, ['interrupted']])
      await t.rejects(broker.read!(moving, null, RULE), { code: 'FST_WS_TOPICS_BROKER_LOST' })
      late = broker.subscribe([moving])
      await broker.publish(beside, bodyOf(beside, 'beside'), RULE)
      await host.until(() => host.delivered.length === 1)
    })
    await Promise.all([host.until(() => host.told.length === 2), late!])
    await broker.publish(moving, bodyOf(moving, 'there'), RULE)
    await host.until(() => host.delivered.length === 2)
    t.strictSame([host.delivered.map(([, , payload]) => payload), host.told], [['beside', 'there'], ['interrupted', 'restored']])
    await broker.stop()
    await cluster.move(slotOfTopic(moving), 1, 0)
  }
})

test('what comes from a node whose slot has been moved without its knowing is found by reading, listing and subscribing', { skip: withoutRedis }, async t => {
  const cluster = await serve()
  const topic = topicOn(cluster, 0)
  let [from, to] = [0, 1]
  for (const ask of ['read', 'heads', 'subscribe', 'plain'] as const) {
    const broker = redisBroker({ client: nodeRedis(cluster.ports) })
    const host = new Recorder(topic)
    await broker.start(host, 'a')
    t.teardown(() => broker.stop())
    await cluster.move(slotOfTopic(topic), from, to)
    if (ask === 'read') await t.rejects(broker.read!(topic, null, RULE), { code: 'FST_WS_TOPICS_BROKER_LOST', message: /MOVED/ })
    if (ask === 'heads') await t.rejects(broker.heads!([topic]), { code: 'FST_WS_TOPICS_BROKER_LOST', message: /MOVED/ })
    if (ask === 'subscribe') await broker.subscribe([topic])
    if (ask === 'plain') await t.rejects(broker.publish(topic, bodyOf(topic, ''), PLAIN), { code: 'FST_WS_TOPICS_BROKER_DOWN', message: /MOVED/ })
    await host.until(() => host.told.length === 2)
    t.strictSame(host.told, ['interrupted', 'restored'], ask)
    t.match(await broker.read!(topic, null, RULE), { head: { tag: '-' } })
    await broker.stop()
    ;[from, to] = [to, from]
  }
})

test('a primary that dies is replaced by its replica: what is published meanwhile waits, what was lost is told, and other topics go on', { skip: withoutRedis, timeout: 60_000 }, async t => {
  const cluster = await RedisCluster.start({ replicas: 1 })
  t.teardown(() => cluster.remove())
  const rules = [{ topic: '*', size: 100 }]
  const make = (): Broker => redisBroker({ client: ioredis(cluster.ports.slice(0, 1)) })
  const [a, b] = [await startTopics(t, { broker: make(), rules, publishTimeout: 30_000 }), await startTopics(t, { broker: make(), rules, publishTimeout: 30_000 })]
  const [on, beside] = [topicOn(cluster, 0), topicOn(cluster, 1)]
  const subscriber = await a.enter()
  const told = gate<TopicGap>()
  subscriber.connection.on('gap', gap => { told.open(gap) })
  await subscriber.connection.subscribe(on)
  await subscriber.connection.subscribe(beside)
  await b.topics.publish(on, '1')
  t.strictSame(await take(subscriber.client, 1), ['1'])
  await cluster.admin(0).call('WAIT', '1', '0')
  // the replica has not what comes now
  cluster.servers[3]!.freeze()
  await cluster.admin(0).call('CLIENT', 'KILL', 'TYPE', 'REPLICA')
  await b.topics.publish(on, 'not replicated')
  t.strictSame(await take(subscriber.client, 1), ['not replicated'])
  await cluster.servers[0]!.kill()
  cluster.servers[3]!.thaw()
  // until the connection is known to be gone, a message is sent on it, and nobody knows what has become of that
  const waiting = b.topics.publish(on, 'of the replica').catch((error: { code: string }) => {
    if (error.code !== 'FST_WS_TOPICS_UNCERTAIN') throw error
    return b.topics.publish(on, 'of the replica')
  })
  await b.topics.publish(beside, 'beside')
  t.strictSame(await take(subscriber.client, 1), ['beside'], 'at once')
  t.match(await waiting, { position: /\.2\./ })
  t.match(await told.opened, { topic: on, reason: /lost|interrupted/ }, 'which has another message of the same number')
  await b.topics.publish(on, 'end')
  for (;;) if ((await take(subscriber.client, 1))[0] === 'end') break // what comes before it may be behind the gap, or in it
})

test('what others publish on a sharded channel is delivered, and stop() ends what waits', { skip: withoutRedis }, async t => {
  const cluster = await serve()
  const topic = topicOn(cluster, 2)
  const broker = redisBroker({ client: nodeRedis(cluster.ports), timeout: 500 })
  const host = await started(t, broker, 'a')
  await broker.subscribe([topic])
  await cluster.admin(2).call('SPUBLISH', `ws1:{${partitionOf(topic)}}`, `-\n${bodyOf(topic, 'plain').toString()}`)
  await host.until(() => host.delivered.length === 1)
  t.equal(host.delivered[0]![2], payloadOf(bodyOf(topic, 'plain')))
  cluster.servers[2]!.freeze()
  t.teardown(() => { cluster.servers[2]!.thaw() })
  await t.rejects(broker.publish(topic, bodyOf(topic, ''), RULE), { code: 'FST_WS_TOPICS_UNCERTAIN' })
  const waiting = broker.subscribe([topic])
  await broker.stop()
  await t.rejects(waiting, { code: 'FST_WS_TOPICS_CLOSED' })
})

test('start() says what is wrong: no node, none of a cluster, a slot that none has, a user who may not', { skip: withoutRedis }, async t => {
  const alone = await RedisServer.start()
  t.teardown(() => alone.remove())
  const cluster = await serve()
  const may = '+eval +get +set +del +rpush +ltrim +lrange +pexpire +mget +spublish +ssubscribe +sunsubscribe +ping +cluster|slots'.split(' ')
  for (const [i] of cluster.servers.entries()) {
    await cluster.admin(i).call('ACL', 'SETUSER', 'enough', 'on', '>secret', '~ws1:*', '&ws1:*', ...may)
    await cluster.admin(i).call('ACL', 'SETUSER', 'deaf', 'on', '>secret', '~ws1:*', '&other:*', ...may)
  }
  for (const [name, client] of Object.entries(REDIS_CLUSTER_CLIENTS)) {
    const start = (ports: readonly number[], username?: string): Promise<void> => {
      const broker = redisBroker({ client: client(ports, username === undefined ? {} : { username, password: 'secret' }), timeout: 2_000 })
      t.teardown(() => broker.stop())
      return broker.start(new Recorder(), 'a')
    }
    await t.rejects(start([1]), { code: 'FST_WS_TOPICS_BROKER_LOST' }, name)
    await t.rejects(start([alone.port]), { code: /BROKER_LOST|REFUSED/ }, name)
    await start(cluster.ports, 'enough')
    await t.rejects(start(cluster.ports, 'deaf'), { code: 'FST_WS_TOPICS_REFUSED', message: /refused SSUBSCRIBE/ }, name)
    await t.rejects(start(cluster.ports, 'nobody'), { code: /BROKER_LOST|REFUSED/ }, name)
  }
  for (const [i] of cluster.servers.entries()) await cluster.admin(i).config('SET', 'cluster-require-full-coverage', 'no')
  const topic = topicOn(cluster, 0)
  for (const [i] of cluster.servers.entries()) await cluster.admin(i).call('CLUSTER', 'DELSLOTS', String(slotOfTopic(topic)))
  const broker = redisBroker({ client: nodeRedis(cluster.ports) })
  await t.rejects(broker.start(new Recorder(), 'a'), { code: 'FST_WS_TOPICS_BROKER_LOST', message: new RegExp(`: slot ${slotOfTopic(topic)} of the cluster cannot be used$`) })
})

// Clusters in memory: what is answered when

const HEAD = Buffer.from('e 1 t')

class FakeCluster implements Cluster {
  /** Who has all slots. */
  port = 1
  /** Of each command that is none of the start. */
  answer: (command: string, port: number) => unknown = () => null
  isSilent = false

  discover (): ReturnType<Cluster['discover']> {
    const nodes = this.isSilent ? new Promise<never>(() => {}) : Promise.resolve({ seeds: [{ host: 'h', port: 1 }], dial: this.#dial })
    return { nodes, close: () => {} }
  }

  map (address: Address): Address { return address }

  readonly #dial = ({ port }: Address): Dial => () => ({
    connect: async () => {},
    destroy: () => {},
    unsubscribe: async () => {},
    subscribe: async ([channel]) => await this.answer(`SSUBSCRIBE ${channel}`, port),
    call: async ([name, script, ...rest]) => {
      if (name === 'CLUSTER') return [[0, 16_383, ['h', this.port]]]
      const answer = await this.answer(`${String(name)} ${rest.map(String).join(' ')}`, port)
      return answer ?? (name !== 'EVAL' ? [null] : script === PUBLISH ? HEAD : [HEAD])
    }
  })
}

/** Time that a test lets pass, but for what is tried again. */
function fakeBroker (cluster: FakeCluster): { broker: ClusterBroker, pass: (delay: number) => void } {
  let timers: Array<{ delay: number, callback: () => void }> = []
  const environment: Environment = {
    ...NODE,
    schedule: (callback, delay, isAwaited) => {
      if (delay <= 500) return NODE.schedule(callback, 1, isAwaited)
      const timer = { delay: Math.round(delay), callback }
      timers.push(timer)
      return () => { timers = timers.filter(other => other !== timer) }
    }
  }
  return {
    broker: new ClusterBroker({ cluster, layout: new Layout('ws1', true), timeout: 5_000, environment }),
    pass: delay => {
      const due = timers.filter(timer => timer.delay === delay)
      timers = timers.filter(timer => timer.delay !== delay)
      for (const { callback } of due) callback()
    }
  }
}

test('a partition is not up again before all that was on its way is answered', async t => {
  const cluster = new FakeCluster()
  const { broker } = fakeBroker(cluster)
  const host = await started(t, broker, 'a')
  const [first, second] = [gate<never>(), gate<Buffer>()]
  cluster.answer = (command, port) => port === 2 ? null : command.includes('first') ? first.opened.then(() => { throw new ReplyError('MOVED 1 h:2') }) : second.opened
  const published = ['first', 'second'].map(text => broker.publish('x', bodyOf('x', text), RULE))
  first.open(undefined as never)
  cluster.port = 2
  await t.rejects(published[0]!, { code: 'FST_WS_TOPICS_BROKER_DOWN', message: /MOVED 1 h:2/ })
  for (let i = 0; i < 50; i++) await turn()
  t.strictSame([host.told, broker.isAway('x')], [['interrupted'], true])
  second.open(HEAD)
  t.match(await published[1], { number: 1 })
  await host.until(() => host.told.length === 2)
  t.match(await broker.publish('x', bodyOf('x', ''), RULE), { number: 1 })
})

test('that all slots have another node is found without a word, now and then', async t => {
  const cluster = new FakeCluster()
  const { broker, pass } = fakeBroker(cluster)
  const host = await started(t, broker, 'a')
  await broker.subscribe(['x'])
  cluster.port = 2
  const subscribed: string[] = []
  cluster.answer = (command, port) => {
    if (command.startsWith('SSUBSCRIBE')) subscribed.push(`${command} at ${port}`)
    return null
  }
  pass(10_000)
  await host.until(() => host.told.length === 2)
  t.strictSame([host.told, subscribed.at(-1)], [['interrupted', 'restored'], `SSUBSCRIBE ws1:{${partitionOf('x')}} at 2`])
  pass(10_000)
})

test('a subscription that is refused rejects, and one that is said to lie elsewhere is made there', async t => {
  const cluster = new FakeCluster()
  const { broker } = fakeBroker(cluster)
  const host = await started(t, broker, 'a')
  cluster.answer = () => { throw new ReplyError('NOPERM') }
  await t.rejects(broker.subscribe(['x']), /NOPERM/)
  cluster.answer = (_command, port) => {
    if (port === 1) throw new ReplyError('MOVED 1 h:2')
  }
  cluster.port = 2
  await broker.subscribe(['y'])
  await broker.subscribe(['x'])
  t.strictSame(host.told, ['interrupted', 'restored'])
  let beside = 0 // in the partition of x
  while (partitionOf(String(beside)) !== partitionOf('x')) beside++
  await broker.subscribe(['x', String(beside)])
  t.strictSame(await broker.heads(['x', 'y', String(beside)]), [null, null, null])
  cluster.answer = command => {
    if (command.startsWith('MGET')) throw new ReplyError('NOPERM')
  }
  await t.rejects(broker.heads(['x']), /NOPERM/)
})

test('a cluster that never answers is given up, and what it answers must be understood', async t => {
  const cluster = new FakeCluster()
  const { broker, pass } = fakeBroker(cluster)
  cluster.isSilent = true
  const silent = broker.start(new Recorder())
  await turn()
  pass(5_000)
  await t.rejects(silent, { code: 'FST_WS_TOPICS_BROKER_LOST', message: /the cluster has not answered for 5000 ms/ })
  cluster.isSilent = false
  cluster.port = NaN
  await t.rejects(broker.start(new Recorder()), { code: 'FST_WS_TOPICS_BROKER_ANSWER' })
  cluster.port = 1
  const starting = broker.start(new Recorder())
  await broker.stop()
  await t.rejects(starting, { code: 'FST_WS_TOPICS_CLOSED' })
  await t.rejects(broker.subscribe(['x']), { code: 'FST_WS_TOPICS_CLOSED' })
  await broker.start(new Recorder())
  await broker.stop()
})
