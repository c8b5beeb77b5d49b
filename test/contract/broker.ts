// What every broker does: run over each of them.
import { test, type Test } from 'tap'
import type { Broker, BrokerHost, Entry, Head, Rule } from '../../types/topics.ts'
import { readTopic } from '../../lib/topics/envelope.ts'

export interface BrokerKind {
  /** Two brokers between which messages travel. */
  readonly make: (t: Test) => Promise<[Broker, Broker]>
  /** Cuts all connections off, and lets them come back when told so; null where there are none. */
  readonly cut: (() => Promise<() => Promise<unknown>>) | null
}

export const RULE: Rule = { size: 5, ttl: 60_000, headTtl: 600_000, plain: false }
export const PLAIN: Rule = { ...RULE, size: 0, plain: true }

type Delivered = [topic: string, head: Head | null, payload: string]

/** A host that keeps what it is told. */
export class Recorder implements BrokerHost {
  readonly delivered: Delivered[] = []
  readonly entries: Entry[] = []
  /** Of `watched`. */
  readonly told: string[] = []
  readonly errors: Error[] = []
  readonly #watched: string
  #waiting: Array<{ isDone: () => boolean, resolve: () => void }> = []

  constructor (watched = 'x') {
    this.#watched = watched
  }

  deliver (topic: string, entry: Entry | { head: null, body: Buffer }): void {
    if (entry.head !== null) this.entries.push(entry)
    this.delivered.push([topic, entry.head, payloadOf(entry.body)])
    this.#look()
  }

  interrupted (affects?: (topic: string) => boolean): void { this.#tell('interrupted', affects) }
  restored (affects?: (topic: string) => boolean): void { this.#tell('restored', affects) }
  error (error: Error): void {
    this.errors.push(error)
    this.#look()
  }

  async until (isDone: () => boolean): Promise<void> {
    if (!isDone()) await new Promise<void>(resolve => { this.#waiting.push({ isDone, resolve }) })
  }

  #tell (what: string, affects?: (topic: string) => boolean): void {
    if (affects === undefined || affects(this.#watched)) this.told.push(what)
    this.#look()
  }

  #look (): void {
    this.#waiting = this.#waiting.filter(({ isDone, resolve }) => {
      if (!isDone()) return true
      resolve()
      return false
    })
  }
}

export function bodyOf (topic: string, payload: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify({ t: topic })}\n`), Buffer.from(payload)])
}

export function payloadOf (body: Buffer): string {
  return body.toString('latin1', body.indexOf('\n') + 1)
}

export async function started (t: Test, broker: Broker, node: string): Promise<Recorder> {
  const host = new Recorder()
  await broker.start(host, node, [RULE, PLAIN, { ...RULE, size: 0 }])
  t.teardown(() => broker.stop())
  return host
}

export function brokerContract (name: string, { make, cut }: BrokerKind, skip: string | false = false): void {
  const contract = (title: string, run: (t: Test) => Promise<void>): void => { void test(`${name}: ${title}`, { skip }, run) }

  contract('what is published after subscribe() is delivered on every node, in one order and as it was, to those alone who are subscribed', async t => {
    const [a, b] = await make(t)
    const [onA, onB] = [await started(t, a, 'a'), await started(t, b, 'b')]
    await Promise.all([a.subscribe(['x', 'ü/ \n{}', 'plain']), b.subscribe(['x'])])
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    const heads = []
    for (let i = 0; i < 10; i++) heads.push(await (i % 3 === 0 ? b : a).publish('x', bodyOf('x', String(i)), RULE))
    await a.publish('ü/ \n{}', bodyOf('ü/ \n{}', bytes), RULE)
    t.equal(await b.publish('plain', bodyOf('plain', 'p'), PLAIN), null)
    await a.publish('other', bodyOf('other', ''), RULE)
    await b.publish('x', bodyOf('x', 'end'), RULE)
    await Promise.all([onA.until(() => onA.delivered.length === 13), onB.until(() => onB.delivered.length === 11)])
    const isX = ([topic]: Delivered): boolean => topic === 'x'
    t.strictSame(onA.delivered.filter(isX), onB.delivered)
    t.strictSame(onB.delivered.map(([, , payload]) => payload), [...'0123456789'.split(''), 'end'])
    t.strictSame(onA.delivered.filter(delivered => !isX(delivered)).map(([topic, , payload]) => [topic, payload]), [['ü/ \n{}', bytes.toString('latin1')], ['plain', 'p']])
    if (!a.numbered) return
    t.strictSame(heads, onB.delivered.slice(0, 10).map(([, head]) => head))
    onB.entries.forEach(({ head: { number }, previous, previousTag }, i) => {
      const before = i === 0 ? { number: 0, tag: '-' } : onB.entries[i - 1]!.head
      t.ok(number > before.number)
      t.equal(previous, before.number)
      t.ok(previousTag === before.tag || previousTag === null)
    })
    t.equal(new Set(onB.entries.map(({ head: { tag } }) => tag)).size, 11)
    t.equal(onA.delivered.find(([topic]) => topic === 'plain')![1], null)
    t.ok(onB.entries.every(({ body }) => readTopic(body) === 'x'))
  })

  contract('the messages of one publisher on a topic are in the order in which it has published them, awaited or not', async t => {
    const [a, b] = await make(t)
    const [onA] = [await started(t, a, 'a'), await started(t, b, 'b')]
    const rules = { numbered: RULE, plain: PLAIN }
    await a.subscribe(Object.keys(rules), Object.values(rules))
    await Promise.all(Array.from({ length: 200 }, (_, i) => Object.entries(rules).map(([topic, rule]) => b.publish(topic, bodyOf(topic, String(i)), rule))).flat())
    await onA.until(() => onA.delivered.length === 400)
    for (const topic of Object.keys(rules)) {
      t.strictSame(onA.delivered.filter(([name]) => name === topic).map(([, , payload]) => Number(payload)), Array.from({ length: 200 }, (_, i) => i), topic)
    }
  })

  contract('nothing is delivered after unsubscribe() has returned; who subscribes again is delivered to again', async t => {
    const [a, b] = await make(t)
    const [onA] = [await started(t, a, 'a'), await started(t, b, 'b')]
    await a.subscribe(['x', 'y'])
    const published = b.publish('x', bodyOf('x', '1'), RULE)
    a.unsubscribe(['x', 'none'])
    onA.delivered.length = 0 // in one process it comes at once
    await published
    await b.publish('y', bodyOf('y', '2'), RULE)
    await onA.until(() => onA.delivered.length === 1)
    await a.subscribe(['x'])
    await b.publish('x', bodyOf('x', '3'), RULE)
    await onA.until(() => onA.delivered.length === 2)
    t.strictSame(onA.delivered.map(([, , payload]) => payload), ['2', '3'])
  })

  contract('nothing is delivered after stop(), and a broker can be started again', async t => {
    const [a, b] = await make(t)
    const first = await started(t, a, 'a')
    await started(t, b, 'b')
    await a.subscribe(['x'])
    await a.stop()
    await a.stop()
    await b.publish('x', bodyOf('x', '1'), RULE)
    const again = new Recorder()
    await a.start(again, 'a')
    await a.subscribe(['y'])
    await b.publish('x', bodyOf('x', '2'), RULE)
    await b.publish('y', bodyOf('y', '3'), RULE)
    await again.until(() => again.delivered.length === 1)
    t.strictSame([first.delivered, again.delivered.map(([topic]) => topic)], [[], ['y']])
  })

  contract('read() makes a head where there is none, and gives what is kept since another, up to the newest', async t => {
    const [a, b] = await make(t)
    await Promise.all([started(t, a, 'a'), started(t, b, 'b')])
    if (!a.numbered) {
      t.equal(a.read, undefined)
      return
    }
    const read = async (since: Head | null, topic = 'x'): Promise<{ head: Head, numbers: number[] }> => {
      const { head, entries } = await a.read!(topic, since, RULE)
      return { head, numbers: entries.map(({ head: { number } }) => number) }
    }
    const { head: none } = await read(null)
    t.match(none, { epoch: /^\w{1,32}$/, number: Number, tag: /^(\w{1,32}|-)$/ })
    t.strictSame(await b.read!('x', null, RULE), { head: none, entries: [] })
    const heads = [none]
    for (let i = 0; i < 5; i++) heads.push((await b.publish('x', bodyOf('x', String(i)), RULE))!)
    const head = heads[5]!
    t.strictSame(await read(null), { head, numbers: [] })
    const numbers = heads.map(({ number }) => number)
    for (const [i, since] of heads.entries()) t.strictSame(await read(since), { head, numbers: numbers.slice(i + 1) })
    t.strictSame(await read({ ...none, epoch: 'another' }), { head, numbers: [] })
    t.strictSame(await read({ ...head, number: 99 }), { head, numbers: [] })
    for (let i = 0; i < 20; i++) heads.push((await b.publish('x', bodyOf('x', String(i)), RULE))!)
    const newest = heads.slice(-5).map(({ number }) => number)
    t.strictSame((await read(heads[1]!)).numbers.slice(-5), newest, 'what there is of it, for who needs no more')
    t.strictSame((await read(heads.at(-3)!)).numbers, newest.slice(-2))
    t.strictSame(await a.heads?.(['x', 'unknown']) ?? [(await read(null)).head, null], [(await read(null)).head, null])
    await b.publish('numbered', bodyOf('numbered', ''), { ...RULE, size: 0 })
    t.strictSame((await read({ ...(await read(null, 'numbered')).head, number: 0 }, 'numbered')).numbers, [])
  })

  if (cut === null) return
  contract('a cut is told once, and its end when what is published is delivered again; who subscribes meanwhile waits for that', async t => {
    const [a, b] = await make(t)
    const [onA, onB] = [await started(t, a, 'a'), await started(t, b, 'b')]
    await Promise.all([a.subscribe(['x', 'gone']), b.subscribe(['x'])])
    const back = await cut()
    await Promise.all([onA, onB].map(host => host.until(() => host.told.length === 1)))
    await t.rejects(a.publish('x', bodyOf('x', 'down'), RULE), { code: 'FST_WS_TOPICS_BROKER_DOWN' })
    if (a.numbered) await t.rejects(a.read!('x', null, RULE))
    a.unsubscribe(['gone'])
    let isSubscribed = false
    const subscribed = a.subscribe(['y']).then(() => { isSubscribed = true })
    t.equal(isSubscribed, false)
    await back()
    await Promise.all([subscribed, onA.until(() => onA.told.length === 2), onB.until(() => onB.told.length === 2)])
    for (const topic of ['gone', 'x', 'y']) await b.publish(topic, bodyOf(topic, 'back'), RULE)
    await onA.until(() => onA.delivered.length === 2)
    t.strictSame(onA.delivered.map(([topic]) => topic), ['x', 'y'])
    t.strictSame([onA.told, onB.told], [['interrupted', 'restored'], ['interrupted', 'restored']])
    t.ok(onA.errors.length > 0)
  })
}
