// Topics with a broker that does what a test says: it is away, it refuses, it never answers, it sends what is none.
import { subscribe as listen, unsubscribe as unlisten } from 'node:diagnostics_channel'
import { test, type Test } from 'tap'
import { Topics } from '../../lib/topics/topics.ts'
import type { Subscriber } from '../../lib/connection/subscriber.ts'
import type { Rule, TopicGap, TopicsOptions } from '../../types/topics.ts'
import { turn } from '../helpers/app.ts'
import { codeOf, startTopics } from '../helpers/topics.ts'
import { VirtualBroker, VirtualServer } from '../helpers/virtual-broker.ts'
import { random } from '../helpers/random.ts'

interface Started {
  topics: Topics
  broker: VirtualBroker
  server: VirtualServer
  pass: (time: number) => void
  /** A connection that is subscribed to `topic`, and what it has got. */
  join: (topic: string, options?: Parameters<Topics['table']['subscribe']>[2]) => { got: string[], gaps: TopicGap[], subscribed: Promise<unknown>, subscriber: Subscriber }
  /** All that is on its way arrives. */
  settle: () => Promise<void>
  errors: string[]
}

async function start (t: Test, options: TopicsOptions = {}, broker?: VirtualBroker): Promise<Started> {
  const server = new VirtualServer(random(5))
  const virtual = broker ?? new VirtualBroker(server)
  let now = 0
  let timers: Array<{ at: number, callback: () => void }> = []
  const topics = new Topics({ broker: virtual, ...options }, {
    clock: () => now,
    random: random(7),
    schedule: (callback, delay) => {
      const timer = { at: now + delay, callback }
      timers.push(timer)
      return () => { timers = timers.filter(other => other !== timer) }
    }
  })
  const errors: string[] = []
  topics.logTo({ error: (fields: { err?: Error }) => { errors.push(fields.err!.message) } })
  await topics.start()
  t.teardown(() => topics.close())
  return {
    topics,
    broker: virtual,
    server,
    errors,
    pass: time => {
      now += time
      for (const timer of timers.filter(({ at }) => at <= now)) {
        timers = timers.filter(other => other !== timer)
        timer.callback()
      }
    },
    join: (topic, options) => {
      const got: string[] = []
      const gaps: TopicGap[] = []
      const subscriber: Subscriber = {
        connection: null,
        subscriptions: null,
        readyState: 1,
        bufferedAmount: 0,
        mustWait: false,
        sendPublished: message => { got.push(String(message.payload)); return true },
        giveUpSlowPeer: () => {},
        tellGap: gap => { gaps.push(gap) },
        close: (code, reason) => { got.push(`closed ${code} ${reason}`) }
      }
      return { got, gaps, subscriber, subscribed: topics.table.subscribe(subscriber, topic, options) }
    },
    settle: async () => {
      for (let i = 0; i < 100; i++) {
        await turn()
        virtual.serve()
        virtual.answer()
        virtual.tell()
      }
    }
  }
}

const RULES = { rules: [{ topic: 'kept', size: 10 }, { topic: 'plain', plain: true }] }

test('a message is delivered when it comes back, in order, and publish() says at which position', async t => {
  const { topics, join, settle } = await start(t, RULES)
  const { got, subscribed } = join('kept')
  const published = [topics.publish('kept', '1'), topics.publish('kept', '2')]
  t.strictSame(got, [])
  await settle()
  t.match(await subscribed, { recovered: false, position: /^\w+\.2\.\w+$/ }, 'from what was there when it was joined')
  t.match(await Promise.all(published), [{ position: /\.1\./ }, { position: /\.2\./ }])
  void topics.publish('kept', '3')
  await settle()
  t.strictSame(got, ['3'])
})

test('while the broker is away publish() waits, and is sent when it is back; what was missed comes first', async t => {
  const { topics, broker, server, join, settle } = await start(t, RULES)
  const { got, gaps } = join('kept')
  const plain = join('plain')
  await settle()
  const states: unknown[] = []
  const listener = (message: unknown): void => { const { state, topic } = message as { state: string, topic?: string }; states.push(topic === undefined ? state : `${topic} ${state}`) }
  listen('fastify-websocket-stream:topics', listener)
  t.teardown(() => { unlisten('fastify-websocket-stream:topics', listener) })
  broker.cut()
  const waiting = topics.publish('kept', 'of here')
  t.match(topics.stats(), { pending: 1 })
  const late = join('kept')
  const other = join('other')
  server.publish('kept', Buffer.from('{"t":"kept"}\nof elsewhere'), { size: 10, ttl: 1, headTtl: 1, plain: false })
  await settle()
  t.strictSame(got, [])
  broker.reconnect()
  await settle()
  t.strictSame(got, ['of elsewhere', 'of here'])
  t.strictSame(gaps, [])
  t.match(await late.subscribed, { recovered: false })
  t.match(await other.subscribed, { recovered: false })
  t.match(await waiting, { position: /\.2\./ })
  t.strictSame(plain.gaps, [{ topic: 'plain', reason: 'interrupted', from: null, to: null }], 'of which nobody knows')
  t.strictSame(states, ['down', 'kept doubtful', 'plain doubtful', 'up'])
})

test('what cannot be proven is told: interrupted, a new epoch, lost; then it goes on at the new head', async t => {
  const { topics, broker, server, join, settle } = await start(t, RULES)
  const { got, gaps } = join('none')
  const kept = join('kept')
  await settle()
  const rule = { size: 0, ttl: 1, headTtl: 1, plain: false }
  const publish = (topic: string, text: string): void => { server.publish(topic, Buffer.from(`{}\n${text}`), topic === 'none' ? rule : { ...rule, size: 10 }) }
  broker.cut()
  publish('none', 'missed')
  broker.reconnect()
  await settle()
  publish('none', '2')
  await settle()
  server.evict('none')
  publish('none', 'of a new epoch')
  await settle()
  publish('none', '3')
  publish('none', 'dropped on its way')
  await settle()
  publish('none', '5')
  broker.dropPush()
  publish('none', '6')
  await settle()
  publish('none', '7')
  await settle()
  t.strictSame(gaps.map(({ reason }) => reason), ['interrupted', 'epoch', 'lost'])
  t.strictSame(got, ['2', '3', 'dropped on its way', '7'])
  for (const { from, to } of gaps) t.match([from, to], [/^\w+\.\d+\./, /^\w+\.\d+\./])
  publish('kept', '1')
  publish('kept', '2')
  broker.dropPush()
  await settle()
  t.strictSame([kept.got, kept.gaps], [['1', '2'], []], 'what is kept is not missing')
  void topics
})

test('a gap is told where it is: behind what a subscriber is sent first, and not lost with what is replaced', async t => {
  for (const gap of ['event', 'close'] as const) {
    const { topics, server, join, settle } = await start(t, { maxBehind: 100, gap, slow: 'latest' })
    let give: (snapshot: string) => void
    const { got, gaps, subscriber } = join('a', { snapshot: () => new Promise(resolve => { give = resolve }) })
    subscriber.close = (code) => {
      got.push(`closed ${code}`)
      subscriber.subscriptions!.leave(topics.table)
    }
    await settle()
    const publish = (text: string): void => { server.publish('a', Buffer.from(`{}\n${text}`), { size: 0, ttl: 1, headTtl: 1, plain: false }) }
    publish('1')
    await settle()
    server.evict('a')
    publish('of a new epoch')
    await settle()
    t.strictSame(gaps, [], 'it has its place')
    publish('2'.repeat(99))
    publish('3')
    await settle()
    t.strictSame(gaps.map(({ reason }) => reason), ['epoch'])
    give!('snapshot')
    await settle()
    t.strictSame(got, gap === 'event' ? ['snapshot', '3'] : ['closed 1012'])
    t.match(topics.stats(), { waiting: 0 })
  }
})

test("with gap: 'close' who misses messages is closed with 1012", async t => {
  const { server, topics, join, settle } = await start(t, { gap: 'close' })
  const { got, gaps } = join('a')
  await settle()
  server.evict('a')
  server.publish('a', Buffer.from('{}\n1'), { size: 0, ttl: 1, headTtl: 1, plain: false })
  await settle()
  t.match([gaps.length, got], [1, ['closed 1012 messages of a topic are missing']])
  t.match(topics.stats(), { gaps: 1, gapReasons: { lost: 0, epoch: 1, interrupted: 0, encode: 0, subscribe: 0 } })
})

test('the last message of a topic that is lost is found when it is compared; what is on its way is not taken for lost', async t => {
  for (const hasHeads of [true, false]) {
    const { broker, server, join, settle, pass } = await start(t, RULES)
    if (!hasHeads) Object.assign(broker, { heads: undefined })
    const [kept, none] = [join('kept'), join('none')]
    await settle()
    for (const topic of ['kept', 'none']) server.publish(topic, Buffer.from('{}\n1'), { size: topic === 'kept' ? 10 : 0, ttl: 1, headTtl: 1, plain: false })
    broker.dropPush()
    broker.dropPush()
    pass(30_000)
    await settle()
    t.strictSame([kept.got, kept.gaps, none.gaps], [['1'], [], []])
    pass(30_000)
    await settle()
    t.strictSame([kept.gaps, none.got, none.gaps.map(({ reason }) => reason)], [[], [], ['lost']])
  }
})

test('a head that nobody publishes on is renewed before the broker forgets it', async t => {
  const { broker, join, settle, pass } = await start(t, { headTtl: 300_000 })
  join('a')
  await settle()
  let reads = 0
  const read = broker.read.bind(broker)
  broker.read = (...args) => { reads++; return read(...args) }
  for (let i = 0; i < 5; i++) {
    pass(30_000)
    await settle()
  }
  t.equal(reads, 1)
})

test('what is not sent, not answered, refused, or too much says so by its code', async t => {
  const { topics, broker, pass, settle, errors } = await start(t, { maxPending: 1000, publishTimeout: 5000 })
  broker.cut()
  const down = topics.publish('a', 'x')
  t.equal(await codeOf(topics.publish('a', Buffer.alloc(1000))), 'FST_WS_TOPICS_BROKER_DOWN')
  await t.rejects(topics.position('a'), { code: 'FST_WS_TOPICS_BROKER_DOWN' })
  pass(2000)
  const later = topics.publish('a', 'y')
  pass(3000)
  t.equal(await codeOf(down), 'FST_WS_TOPICS_BROKER_DOWN')
  t.match(topics.stats(), { pending: 1, lag: 3000, isBrokerUp: false })
  broker.reconnect()
  await settle()
  t.equal(await codeOf(later), undefined)
  const unanswered = topics.publish('a', 'z')
  await turn()
  pass(5000)
  t.equal(await codeOf(unanswered), 'FST_WS_TOPICS_UNCERTAIN')
  const cut = topics.publish('a', 'z')
  await turn()
  broker.cut()
  t.equal(await codeOf(cut), 'FST_WS_TOPICS_UNCERTAIN')
  broker.reconnect()
  await settle()
  const cause = new Error('OOM')
  broker.publish = () => { throw cause }
  await t.rejects(topics.publish('a', 'z'), { code: 'FST_WS_TOPICS_REFUSED', cause })
  t.match(topics.stats(), { pending: 0, pendingBytes: 0, lag: 0, isBrokerUp: true, errors: 5 })
  t.equal(errors.length, 3, 'each kind is logged once in a while')
  pass(10_000)
  await t.rejects(topics.publish('a', 'z'), { code: 'FST_WS_TOPICS_REFUSED' })
  t.equal(errors.length, 4)
})

test('a topic that the broker refuses is told to who has subscribed to it, and to nobody else', async t => {
  const { topics, broker, join, settle } = await start(t)
  const subscribe = broker.subscribe.bind(broker)
  broker.subscribe = async names => {
    if (names.includes('secret')) throw new Error('NOPERM')
    await subscribe(names)
  }
  const [secret, open] = [join('secret'), join('open')]
  await settle()
  await t.rejects(secret.subscribed, { code: 'FST_WS_TOPICS_REFUSED', cause: { message: 'NOPERM' } })
  t.strictSame(secret.gaps, [{ topic: 'secret', reason: 'subscribe', from: null, to: null }])
  t.match(await open.subscribed, { recovered: false })
  t.strictSame([...topics.names()], ['open'])
  t.equal(topics.table.unsubscribe(secret.subscriber, 'secret'), false)
})

test('a read that fails or is never answered is made again', async t => {
  const { broker, join, settle, pass } = await start(t)
  const read = broker.read.bind(broker)
  const ways: Array<typeof read> = [() => { throw new Error('at once') }, async () => { throw new Error('later') }, async () => await new Promise(() => {}), read]
  broker.read = (...args) => ways.shift()!(...args)
  const { subscribed } = join('a')
  await settle()
  t.equal(ways.length, 3)
  pass(100)
  await settle()
  t.equal(ways.length, 2)
  pass(200)
  await settle()
  pass(5000)
  await settle()
  pass(400)
  await settle()
  t.match(await subscribed, { recovered: false, position: /\.0\.-$/ })
})

test('what comes and is no message, or no valid text, is dropped and counted; its number counts all the same', async t => {
  const { topics, server, join, settle } = await start(t, RULES)
  const { got, gaps } = join('kept')
  const plain = join('plain')
  await settle()
  const rule = { size: 10, ttl: 1, headTtl: 1, plain: false }
  const bad = ['no header', 'no json\nx', '[]\nx', 'null\nx', '5\nx', '{"b":0}\n\u00ff']
  for (const body of [...bad, '{"t":"kept","b":1}\n\u00ff', '{"x":1}\nlast']) server.publish('kept', Buffer.from(body, 'latin1'), rule)
  server.publish('plain', Buffer.from('{"t":"plain"}\nfrom elsewhere'), { ...rule, plain: true })
  server.publish('plain', Buffer.from('bad'), { ...rule, plain: true })
  await settle()
  t.strictSame(got, ['x', '\ufffd', 'last'])
  t.strictSame(plain.got, ['from elsewhere'])
  t.strictSame(gaps, [])
  t.match(topics.stats(), { malformed: bad.length })
})

test('too much that waits is not kept, but asked for once more', async t => {
  const { broker, server, join, settle } = await start(t, { rules: [{ topic: 'kept', size: 100 }] })
  const { got, gaps } = join('kept')
  await settle()
  const rule = { size: 100, ttl: 1, headTtl: 1, plain: false }
  const publish = (text: string): void => { server.publish('kept', Buffer.from(`{}\n${text.padEnd(300_000)}`), rule) }
  publish('1')
  publish('2')
  broker.dropPush()
  broker.tell() // a hole: it asks
  broker.serve()
  for (let i = 3; i < 13; i++) publish(String(i))
  while (broker.pushes.length > 0) broker.tell()
  await settle()
  t.strictSame([got.map(text => text.trim()), gaps], [Array.from({ length: 12 }, (_, i) => String(i + 1)), []])
})

test('a broker without numbers says at most once: nothing is recovered, and an interruption is told', async t => {
  const server = new VirtualServer(random(5))
  const broker = Object.assign(new VirtualBroker(server), { numbered: false as never, read: undefined as never, heads: undefined as never })
  const { topics, join, settle, pass } = await start(t, {}, broker)
  const { got, gaps, subscribed } = join('a', { since: 'x.1.y' })
  await settle()
  t.strictSame(await subscribed, { recovered: false, position: null })
  t.equal(await topics.position('a'), '')
  const published = topics.publish('a', '1')
  await settle()
  pass(30_000)
  t.strictSame(await published, { position: null })
  broker.cut()
  broker.reconnect()
  await settle()
  void topics.publish('a', '2')
  await settle()
  t.strictSame(got, ['1', '2'])
  t.match(gaps, [{ reason: 'interrupted' }])
})

test('a topic that is left and joined again in one turn is joined anew, and one that is left is unsubscribed', async t => {
  const { topics, broker, join, settle } = await start(t)
  const calls: unknown[] = []
  const unsubscribe = broker.unsubscribe.bind(broker)
  broker.unsubscribe = names => { calls.push(names); unsubscribe(names) }
  const first = join('a')
  await settle()
  topics.table.unsubscribe(first.subscriber, 'a')
  const second = join('a')
  await settle()
  t.strictSame(calls, [])
  void topics.publish('a', 'x')
  await settle()
  t.strictSame([first.got, second.got], [[], ['x']])
  topics.table.unsubscribe(second.subscriber, 'a')
  await settle()
  t.strictSame(calls, [['a']])
  broker.unsubscribe = () => { throw new Error('of unsubscribe') }
  topics.table.unsubscribe(join('b').subscriber, 'b')
  await settle()
  t.equal(topics.stats().errors, 1)
})

test('what was published before start() waits for it; close() rejects what waits, and stops the broker', async t => {
  const server = new VirtualServer(random(5))
  const broker = new VirtualBroker(server)
  const topics = new Topics({ broker })
  const early = topics.publish('a', 'early')
  await turn()
  t.equal(broker.requests.length, 0)
  await topics.start()
  await topics.start()
  t.equal(broker.requests.length, 1)
  broker.serve()
  broker.answer()
  t.match(await early, { position: /\.1\./ })
  const waiting = topics.publish('a', 'late')
  const flushed = topics.flush()
  let isStopped = false
  broker.stop = async () => { isStopped = true }
  await topics.close()
  await topics.close()
  await flushed
  t.equal(isStopped, true)
  t.equal(await codeOf(waiting), 'FST_WS_TOPICS_CLOSED')
  t.equal(await codeOf(topics.publish('a', 'x')), 'FST_WS_TOPICS_CLOSED')
  await t.rejects(topics.position('a'), { code: 'FST_WS_TOPICS_CLOSED' })
  const never = new Topics({ broker: new VirtualBroker(server) })
  await never.close()
})

test('flush() gives up after publishTimeout', async t => {
  const { topics, pass } = await start(t)
  void topics.publish('a', 'x')
  const flushed = topics.flush()
  pass(5000)
  await flushed
  t.match(topics.stats(), { pending: 0 })
})

test('nothing that goes wrong inside gets to the client of the broker', async t => {
  const { topics, broker, server, join, settle } = await start(t, RULES)
  const { subscriber } = join('plain')
  await settle()
  subscriber.sendPublished = () => { throw new Error('of a subscriber') }
  server.publish('plain', Buffer.from('{}\nx'), { size: 0, ttl: 1, headTtl: 1, plain: true })
  t.doesNotThrow(() => { broker.tell() })
  t.equal(topics.stats().errors, 1)
})

test('a broker that cannot start fails ready(), and what it tells of is logged', async t => {
  const broker = new VirtualBroker(new VirtualServer(random(5)))
  broker.start = async () => { throw new Error('no broker') }
  await t.rejects(startTopics(t, { broker }), { message: 'no broker' })
  const { topics, errors } = await start(t)
  topics.link.error(new Error('of the broker'))
  t.strictSame(errors, ['of the broker'])
})

test('of a broker of several servers one may be away: its topics wait in order, what was missed comes first, and all others go on', async t => {
  const { topics, broker, server, join, settle } = await start(t, { rules: [{ topic: '*', size: 10 }] })
  const away = new Set<string>()
  const publish = broker.publish.bind(broker)
  const elsewhere: Array<() => void> = []
  Object.assign(broker, {
    isAway: (topic: string) => away.has(topic),
    // what was sent before it was known
    publish: (topic: string, body: Buffer, rule: Rule) => {
      if (!String(body).endsWith('under way')) return publish(topic, body, rule)
      return new Promise((_resolve, reject) => { elsewhere.push(() => { reject(Object.assign(new Error('elsewhere'), { code: 'FST_WS_TOPICS_BROKER_DOWN' })) }) })
    }
  })
  const [there, gone] = [join('there'), join('gone')]
  await settle()
  const states: unknown[] = []
  const listener = (message: unknown): void => { states.push((message as { state: string }).state) }
  listen('fastify-websocket-stream:topics', listener)
  t.teardown(() => { unlisten('fastify-websocket-stream:topics', listener) })
  const published = ['1 under way', '2 under way'].map(text => topics.publish('gone', text))
  away.add('gone')
  topics.link.interrupted(topic => topic === 'gone')
  published.push(topics.publish('gone', '3'))
  elsewhere.splice(0).forEach(reject => { reject() })
  const late = join('gone')
  const joining = [join('there'), join('other')]
  void topics.publish('there', 'goes on')
  await settle()
  t.strictSame([there.got, joining[0]!.got], [['goes on'], ['goes on']])
  t.match(await joining[1]!.subscribed, { recovered: false })
  t.equal(await codeOf(topics.position('gone')), 'FST_WS_TOPICS_BROKER_DOWN')
  server.publish('gone', Buffer.from('{"t":"gone"}\nof elsewhere'), { size: 10, ttl: 1, headTtl: 1, plain: false })
  Object.assign(broker, { publish })
  away.add('another')
  topics.link.interrupted(topic => topic === 'another')
  const still = topics.publish('another', 'waits')
  away.delete('gone')
  topics.link.restored(topic => topic === 'gone')
  await settle()
  t.strictSame(gone.got, ['of elsewhere', '1 under way', '2 under way', '3'])
  t.strictSame([gone.gaps, there.gaps], [[], []])
  t.match(await late.subscribed, { recovered: false })
  t.match(await Promise.all(published), [{ position: /\.2\./ }, { position: /\.3\./ }, { position: /\.4\./ }])
  t.strictSame(states, ['down', 'doubtful', 'down', 'up'], 'of another nobody here has heard')
  away.delete('another')
  topics.link.restored(topic => topic === 'another')
  await settle()
  t.match(await still, { position: /\.1\./ })
})

test('what an away server has not taken within publishTimeout may be published again; of a broker that is closed nothing is restored', async t => {
  const { topics, broker, join, settle, pass } = await start(t)
  join('a')
  await settle()
  Object.assign(broker, { isAway: () => true })
  topics.link.interrupted(() => true)
  const published = topics.publish('a', 'x')
  pass(5000)
  t.equal(await codeOf(published), 'FST_WS_TOPICS_BROKER_DOWN')
  await topics.close()
  topics.link.restored(() => true)
  topics.link.interrupted(() => true)
  t.match(topics.stats(), { topics: 0, pending: 0 })
})
