// Topics that are kept: numbers, history, since, positions, and what becomes of them when time and memory run out.
import { test } from 'tap'
import { memoryBroker, Topics } from '../../lib/index.ts'
import { MemoryBroker } from '../../lib/topics/memory-broker.ts'
import type { BrokerHost, Entry, Rule } from '../../types/topics.ts'
import { turn } from '../helpers/app.ts'
import { codeOf, fill, startTopics, take } from '../helpers/topics.ts'

const RULE: Rule = { size: 5, ttl: 1000, headTtl: 10_000, plain: false }

/** Time that passes when a test says so, and chance that is none. */
function environment (): { clock: () => number, random: () => number, schedule: (callback: () => void, delay: number) => () => void, pass: (time: number) => void } {
  let now = 0
  let seed = 0
  let timers: Array<{ at: number, callback: () => void }> = []
  return {
    clock: () => now,
    random: () => (seed = (seed + 0.618) % 1),
    schedule: (callback, delay) => {
      const timer = { at: now + delay, callback }
      timers.push(timer)
      return () => { timers = timers.filter(other => other !== timer) }
    },
    pass: time => {
      const end = now + time
      for (;;) {
        const due = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
        if (due === undefined) break
        timers = timers.filter(timer => timer !== due)
        now = Math.max(now, due.at)
        due.callback()
      }
      now = end
    }
  }
}

const HOST: BrokerHost = { deliver: () => {}, interrupted: () => {}, restored: () => {}, error: () => {} }

test('who comes back gets exactly what was published since its position, whatever the number, and then what comes', async t => {
  const { topics, enter } = await startTopics(t, { rules: [{ topic: 'room:*', size: 5 }] })
  const first = await enter()
  const { position: start, recovered } = await first.connection.subscribe('room:1')
  t.equal(recovered, false)
  const positions = [start!]
  for (const text of ['1', '2', '3', '4', '5']) positions.push((await topics.publish('room:1', text)).position!)
  for (const [missed, since] of positions.reverse().entries()) {
    const { client, connection } = await enter()
    t.strictSame(await connection.subscribe('room:1', { since }), { recovered: true, position: positions[0] })
    await topics.publish('other', 'x')
    connection.send('live')
    t.strictSame(await take(client, missed + 1), [...['1', '2', '3', '4', '5'].slice(5 - missed), 'live'])
    connection.terminate()
  }
  t.equal(await topics.position('room:1'), positions[0])
  t.match(await topics.position('room:2'), /^\w{8}\.0\.-$/)
  t.equal(await topics.position('other'), '', 'which has no numbers')
})

test('what is no position, or one of which not all is kept, is not recovered: nothing old, and a snapshot if there is one', async t => {
  const { topics, enter } = await startTopics(t, { rules: [{ topic: 'room:*', size: 10 }] })
  const { position: start } = await (await enter()).connection.subscribe('room:1')
  for (let i = 0; i < 20; i++) await topics.publish('room:1', String(i))
  const position = await topics.position('room:1')
  const [epoch, , tag] = position.split('.')
  const asked: unknown[] = []
  for (const since of [start, 'nonsense', '', `${epoch}.20.other123`, `other123.20.${tag}`, `${epoch}.99.${tag}`, `${epoch}.-1.${tag}`, ['a'], 5, '9'.repeat(2000)]) {
    const { client, connection } = await enter()
    const result = await connection.subscribe('room:1', { since: since as string, snapshot: at => { asked.push(at); return 'snapshot' } })
    t.strictSame(result, { recovered: false, position }, String(since))
    connection.send('live')
    t.strictSame(await take(client, 2), ['snapshot', 'live'])
    connection.terminate()
  }
  t.strictSame(new Set(asked), new Set([position]))
})

test('in one process a message is delivered inside publish(), also to who has subscribed in the same turn', async t => {
  const { topics, enter } = await startTopics(t, { rules: [{ topic: 'a', size: 1 }] })
  const { connection } = await enter()
  void connection.subscribe('a')
  void topics.publish('a', 'x')
  t.match(topics.stats(), { delivered: 1, waiting: 0 })
})

test('with a delay messages come back as from elsewhere: after publish(), in order; flush() waits for them', async t => {
  let delay = 3
  const { topics, enter } = await startTopics(t, { broker: memoryBroker({ delay: () => delay }), rules: [{ topic: 'plain', plain: true }] })
  const { client, connection } = await enter()
  await Promise.all([connection.subscribe('a'), connection.subscribe('plain')])
  const published: Array<Promise<unknown>> = []
  for (let i = 0; i < 3; i++, delay--) published.push(topics.publish('a', String(i)), topics.publish('plain', `p${i}`))
  t.equal(topics.stats().delivered, 0)
  t.match(topics.stats(), { pending: 6 })
  await topics.flush()
  t.match(topics.stats(), { delivered: 6, pending: 0, pendingBytes: 0 })
  t.strictSame(await take(client, 6), ['0', 'p0', '1', 'p1', '2', 'p2'])
  t.match(await Promise.all(published), [{ position: /\.1\./ }, { position: null }, { position: /\.2\./ }, {}, {}, {}])
  await topics.flush()
})

test('except is kept until the message comes back, on a numbered and on a plain topic; a second publish() is told apart', async t => {
  const { topics, enter } = await startTopics(t, { broker: memoryBroker({ delay: 1 }), rules: [{ topic: 'plain', plain: true }] })
  const [a, b] = [await enter(), await enter()]
  for (const { connection } of [a, b]) await Promise.all([connection.subscribe('a'), connection.subscribe('plain')])
  void a.connection.publish('a', 'of a')
  void b.connection.publish('a', 'of b')
  void a.connection.publish('plain', 'plain of a')
  void topics.publish('a', 'of nobody')
  await topics.flush()
  t.strictSame(await take(a.client, 2), ['of b', 'of nobody'])
  t.strictSame(await take(b.client, 3), ['of a', 'plain of a', 'of nobody'])
})

test('a slow reader is sent what it has missed as it reads, and what is published meanwhile behind it', async t => {
  const { topics, enter } = await startTopics(t, { rules: [{ topic: 'a', size: 100 }], maxBehind: 400_000 })
  const { position } = await (await enter()).connection.subscribe('a')
  for (let i = 0; i < 30; i++) await topics.publish('a', Buffer.alloc(30_000, i))
  const slow = await enter()
  const count = await fill(slow)
  const subscribed = slow.connection.subscribe('a', { since: position })
  void subscribed.then(() => { slow.connection.send(Buffer.from([200])) })
  await turn()
  t.equal(slow.connection.readyState, 1)
  for (let i = 30; i < 35; i++) await topics.publish('a', Buffer.alloc(30_000, i))
  t.equal(topics.stats().waiting, 5)
  slow.client.resume()
  const got: number[] = []
  for (let i = 0; i < count + 36; i++) {
    const message = await slow.client.receive() as Buffer
    if (i >= count) got.push(message[0]!)
  }
  t.strictSame(got, [...Array(30).keys(), 200, 30, 31, 32, 33, 34], 'and what was sent when it was done stands between the two')
  t.match(await subscribed, { recovered: true })
  t.match(topics.stats(), { waiting: 0, skipped: 0 })
})

test('many who come back at the same time are served by one read', async t => {
  const broker = memoryBroker({ delay: 1 })
  let reads = 0
  const read = broker.read!.bind(broker)
  broker.read = (...args) => { reads++; return read(...args) }
  const { topics, enter } = await startTopics(t, { broker, rules: [{ topic: 'a', size: 100 }] })
  const { position } = await (await enter()).connection.subscribe('a')
  for (let i = 0; i < 10; i++) await topics.publish('a', String(i))
  const positions = [position, (await topics.position('a'))]
  const before = reads
  const members = []
  while (members.length < 20) members.push(await enter())
  const results = await Promise.all(members.map(({ connection }, i) => connection.subscribe('a', { since: positions[i % 2] })))
  t.ok(results.every(({ recovered }) => recovered))
  t.equal(reads, before + 1)
  t.strictSame(await take(members[0]!.client, 10), Array.from({ length: 10 }, (_, i) => String(i)))
})

test('messages are forgotten after their ttl, and numbers after theirs', async t => {
  const { pass, ...time } = environment()
  const broker = new MemoryBroker({}, time)
  await broker.start(HOST)
  const head = await broker.publish('a', Buffer.from('1'), RULE)
  const { position: _, ...since } = { ...head!, position: 0, number: 0, tag: '-' }
  t.equal((await broker.read('a', since, RULE)).entries.length, 1)
  pass(1000)
  t.strictSame(await broker.read('a', since, RULE), { head, entries: [] })
  pass(9999)
  t.strictSame(await broker.heads(['a', 'b']), [head, null], 'read since, so it is remembered for longer')
  t.ok(broker.bytes > 0)
  pass(40_000)
  t.strictSame(await broker.heads(['a']), [null])
  t.equal(broker.bytes, 0)
  t.not((await broker.publish('a', Buffer.from('2'), RULE))!.epoch, head!.epoch)
  pass(10_000)
  t.not((await broker.publish('a', Buffer.from('2'), RULE))!.epoch, head!.epoch, 'before it is swept')
  await broker.stop()
  t.equal(broker.bytes, 0)
})

test('beyond size the oldest go, not later than a tenth of it; beyond memory those of the topics that were published on the longest ago', async t => {
  const broker = new MemoryBroker({ memory: 10_000 })
  await broker.start(HOST)
  const count = async (topic: string): Promise<number> => {
    const { head } = await broker.read(topic, null, RULE)
    return (await broker.read(topic, { ...head, number: 0 }, RULE)).entries.length
  }
  for (let i = 0; i < 40; i++) {
    await broker.publish('a', Buffer.from('x'), RULE)
    t.equal(await count('a'), Math.min(i + 1, 5))
  }
  for (const topic of ['b', 'c', 'd']) await broker.publish(topic, Buffer.alloc(2500), RULE)
  t.strictSame([await count('a'), await count('b'), await count('c'), await count('d')], [0, 1, 1, 1])
  t.equal((await broker.read('a', null, RULE)).head.number, 40, 'its numbers are remembered')
  await broker.publish('b', Buffer.alloc(2000), RULE)
  t.strictSame([await count('b'), await count('c'), await count('d')], [2, 0, 1], 'c has gone, as b was published on since')
  await broker.subscribe(['a'])
  const epochs = [(await broker.heads(['a', 'c'])).map(head => head!.epoch)]
  for (let i = 0; i < 60; i++) await broker.publish(`of ${i}`, Buffer.alloc(0), { ...RULE, size: 0 })
  t.ok(broker.bytes <= 10_000)
  t.strictSame((await broker.heads(['a', 'c'])).map(head => head?.epoch), [epochs[0]![0], undefined], 'who is subscribed to it is not told a gap')
  await broker.stop()
  await broker.stop()
})

test('messages that nobody asks for any more are swept, and the numbers of who is subscribed are kept whatever memory there is', async t => {
  const { pass, ...time } = environment()
  const broker = new MemoryBroker({ memory: 1000 }, time)
  await broker.start(HOST)
  await broker.subscribe(['a'])
  await broker.publish('a', Buffer.alloc(100), { ...RULE, headTtl: 1_000_000 })
  const bytes = broker.bytes
  pass(30_000)
  t.equal(bytes - broker.bytes, 100 + 256)
  for (let i = 0; i < 5; i++) {
    await broker.subscribe([`b${i}`])
    await broker.publish(`b${i}`, Buffer.alloc(0), { ...RULE, headTtl: 1_000_000 })
  }
  t.strictSame((await broker.heads(['a', 'b0', 'b4'])).map(head => head?.number), [1, 1, 1])
  await broker.stop()
})

test('a plain message has no head, and gets to who is subscribed alone', async t => {
  const broker = memoryBroker()
  const seen: unknown[] = []
  await broker.start({ ...HOST, deliver: (topic, { head, body }) => { seen.push([topic, head, String(body)]) } }, 'node')
  const plain = { ...RULE, plain: true }
  await broker.subscribe(['a'])
  t.equal(await broker.publish('a', Buffer.from('1'), plain), null)
  t.equal(await broker.publish('b', Buffer.from('2'), plain), null)
  broker.unsubscribe(['a'])
  await broker.publish('a', Buffer.from('3'), plain)
  t.strictSame(seen, [['a', null, '1']])
  await broker.stop()
})

test('each message names the one before', async t => {
  const broker = memoryBroker()
  const entries: Entry[] = []
  await broker.start({ ...HOST, deliver: (_topic, entry) => { if (entry.head !== null) entries.push(entry) } }, 'node')
  await broker.subscribe(['a'])
  for (let i = 0; i < 3; i++) await broker.publish('a', Buffer.alloc(0), RULE)
  t.strictSame(entries.map(({ previous, previousTag }) => [previous, previousTag]), [[0, '-'], [1, entries[0]!.head.tag], [2, entries[1]!.head.tag]])
  t.equal(new Set(entries.map(({ head: { tag } }) => tag)).size, 3)
  t.strictSame((await broker.read!('a', { ...entries[0]!.head }, RULE)).entries, entries.slice(1))
  await broker.stop()
})

test('a broker is of one Topics at a time', async t => {
  const broker = memoryBroker()
  const topics = new Topics({ broker })
  t.throws(() => new Topics({ broker }), { code: 'FST_WS_TOPICS_BROKER_IN_USE' })
  await topics.close()
  const next = new Topics({ broker })
  t.equal(await codeOf(next.publish('a', 'x')), undefined)
  await next.close()
  await turn()
})
