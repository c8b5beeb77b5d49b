// What this process publishes, by itself: a broker that answers when the test says, and a clock that goes on when told to.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test } from 'tap'
import type { Subscriber } from '../../lib/connection/subscriber.ts'
import { brokerDown } from '../../lib/errors.ts'
import { Outbox } from '../../lib/topics/outbox.ts'
import type { Broker, Head, PublishResult, Rule } from '../../types/topics.ts'
import { turn } from '../helpers/app.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { codeOf } from '../helpers/topics.ts'

const RULE: Rule = { size: 0, ttl: 1, headTtl: 1, plain: false }
const TIMEOUT = 100

interface Sent {
  text: string
  accept: (head?: Head | null) => void
  refuse: (error: unknown) => void
}

function setUp ({ maxPending = 1000, maxUnanswered = 100, publish }: { maxPending?: number, maxUnanswered?: number, publish?: Broker['publish'] } = {}) {
  const sent: Sent[] = []
  const away = new Set<string>()
  const errors: unknown[] = []
  const accepted: Array<[topic: string, number: number | undefined]> = []
  const clock = new ManualClock()
  const progress = { count: 0 }
  const broker = {
    publish: publish ?? ((_topic, body) => new Promise((resolve, reject) => {
      sent.push({ text: String(body), accept: (head = null) => { resolve(head) }, refuse: reject })
    }))
  } as Partial<Broker> as Broker
  const outbox = new Outbox({ publishTimeout: TIMEOUT, maxPending }, {
    broker,
    maxUnanswered,
    clock: () => clock.now(),
    schedule: (callback, delay) => clock.after(delay, callback),
    isUp: topic => !away.has('*') && !away.has(topic),
    onError: error => { errors.push((error as { code?: string }).code) },
    onAccepted: (topic, head) => { accepted.push([topic, head?.number]) },
    onProgress: () => { progress.count++ }
  })
  const say = (text: string, topic = 'a', counter = 0): Promise<PublishResult> => outbox.publish(topic, Buffer.from(text), RULE, counter)
  return { outbox, say, sent, away, errors, accepted, clock, progress, texts: () => sent.map(({ text }) => text) }
}

const head = (number: number): Head => ({ epoch: 'e', number, tag: 't' })

test('a message is sent at once, counts until it is accepted, and its position is what the broker says', async t => {
  const { outbox, say, sent, accepted, errors } = setUp()
  const [numbered, plain] = [say('one'), say('three', 'b')]
  t.strictSame([outbox.pending, outbox.pendingBytes, outbox.isEmpty], [2, 8, false])
  sent[0]!.accept(head(7))
  sent[1]!.accept()
  t.strictSame([await numbered, await plain], [{ position: 'e.7.t' }, { position: null }])
  t.strictSame(accepted, [['a', 7], ['b', undefined]])
  t.strictSame([outbox.pending, outbox.pendingBytes, outbox.isEmpty, errors], [0, 0, true, []])
})

test('while the broker is away messages wait, in order; those of a topic that is still away wait on', async t => {
  const { outbox, say, away, texts } = setUp()
  away.add('*')
  void say('1')
  void say('2', 'b')
  void say('3')
  t.strictSame(texts(), [])
  away.clear()
  away.add('b')
  outbox.flush()
  t.strictSame(texts(), ['1', '3'])
  away.clear()
  outbox.flush()
  t.strictSame(texts(), ['1', '3', '2'])
  outbox.flush()
  t.equal(texts().length, 3, 'each is sent once')
})

test('what is published while waiting messages go out does not overtake them', async t => {
  const texts: string[] = []
  let answer: (() => void) | null = null
  const { outbox, say, away } = setUp({
    publish: (_topic, body) => {
      texts.push(String(body))
      answer?.()
      answer = null
      return new Promise(() => {})
    }
  })
  away.add('*')
  void say('1')
  void say('2')
  away.clear()
  answer = () => { void say('3') }
  outbox.flush()
  t.strictSame(texts, ['1', '2', '3'])
})

test('what the broker could not take when it went away waits in its old place', async t => {
  const { outbox, say, sent, away, texts } = setUp()
  const first = say('1')
  void say('2')
  away.add('*')
  void say('3')
  for (const { refuse } of [...sent].reverse()) refuse(brokerDown('a', 'gone'))
  await turn()
  away.clear()
  outbox.flush()
  t.strictSame(texts().slice(2), ['1', '2', '3'])
  sent[2]!.accept(head(1))
  t.strictSame(await first, { position: 'e.1.t' }, 'its promise is the same')
})

test('errors that the broker has codes for stay as they are, all others are refusals with a cause', async t => {
  const { say, sent, errors } = setUp()
  const known = brokerDown('a', 'full')
  const ofAnotherCopy = Object.assign(new Error('?'), { code: 'FST_WS_TOPICS_UNCERTAIN' })
  const unknown = new Error('OOM')
  const [down, uncertain, refused] = [say('1'), say('2'), say('3')]
  for (const [i, error] of [known, ofAnotherCopy, unknown].entries()) sent[i]!.refuse(error)
  await t.rejects(down, known)
  await t.rejects(uncertain, ofAnotherCopy)
  await t.rejects(refused, { code: 'FST_WS_TOPICS_REFUSED', cause: unknown, message: /"a"/ })
  t.strictSame(errors, ['FST_WS_TOPICS_BROKER_DOWN', 'FST_WS_TOPICS_UNCERTAIN', 'FST_WS_TOPICS_REFUSED'])
  const throwing = setUp({ publish: () => { throw new Error('at once') } })
  t.equal(await codeOf(throwing.say('1')), 'FST_WS_TOPICS_REFUSED')
})

test('after publishTimeout what was sent is uncertain, what waited may be repeated, and a late answer changes nothing', async t => {
  const { outbox, say, sent, away, clock, accepted, texts } = setUp()
  const unanswered = say('1')
  clock.advance(TIMEOUT / 2)
  away.add('*')
  const unsent = say('2')
  clock.advance(TIMEOUT / 2)
  t.equal(await codeOf(unanswered), 'FST_WS_TOPICS_UNCERTAIN')
  t.equal(outbox.pending, 1, 'the other is not due')
  clock.advance(TIMEOUT / 2)
  t.equal(await codeOf(unsent), 'FST_WS_TOPICS_BROKER_DOWN')
  sent[0]!.accept(head(1))
  await turn()
  t.strictSame(accepted, [])
  away.clear()
  outbox.flush()
  t.strictSame(texts(), ['1'], 'what was given up is not sent')
  t.strictSame([outbox.pending, outbox.pendingBytes, clock.pending], [0, 0, 0])
})

test('one timer serves all, for the first that has not come back', async t => {
  const { say, sent, clock } = setUp()
  const results = [say('1'), say('2')]
  t.equal(clock.pending, 1)
  for (const { accept } of sent) accept()
  await Promise.all(results)
  clock.advance(TIMEOUT / 2)
  const late = say('3')
  t.equal(clock.pending, 1)
  clock.advance(TIMEOUT / 2)
  t.equal(clock.pending, 1, 'it went on for the third')
  clock.advance(TIMEOUT / 2)
  t.equal(await codeOf(late), 'FST_WS_TOPICS_UNCERTAIN')
  t.equal(clock.pending, 0)
})

test('a message is let go of when it is accepted and has come back, not when its time is over', async t => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const answers: Array<() => void> = []
  const { outbox } = setUp({ publish: () => new Promise(resolve => { answers.push(() => { resolve(null) }) }) })
  const publish = (counter: number): WeakRef<Buffer> => {
    const body = Buffer.alloc(1)
    void outbox.publish('a', body, RULE, counter)
    return new WeakRef(body)
  }
  const counter = outbox.expect(null)
  const bodies = [publish(0), publish(counter), publish(0)]
  const left = async (): Promise<boolean[]> => {
    for (let i = 0; i < 3; i++) await turn()
    collectGarbage()
    return bodies.map(body => body.deref() !== undefined)
  }
  for (const answer of answers.splice(0)) answer()
  t.strictSame(await left(), [false, true, true])
  outbox.returned(counter)
  t.strictSame(await left(), [false, false, false])
})

test('no more than so many are sent without an answer; the others go in order, when half of them have one, and what comes then goes behind them', async t => {
  const { outbox, say, sent, away, texts } = setUp({ maxUnanswered: 4 })
  for (let i = 1; i <= 9; i++) void say(`${i}`)
  t.equal(texts().join(''), '1234')
  sent[0]!.accept()
  await turn()
  void say('x', 'b')
  t.equal(texts().join(''), '1234', 'not one by one')
  sent[1]!.refuse(new Error('no'))
  await turn()
  t.equal(texts().join(''), '123456')
  away.add('a')
  sent[2]!.refuse(brokerDown('a', 'gone'))
  sent[3]!.accept()
  await turn()
  t.equal(texts().join(''), '123456x', 'who waits for his topic holds nobody up')
  away.clear()
  outbox.flush()
  t.equal(texts().join(''), '123456x3', 'there is room for one, and it was the first')
  for (const { accept } of sent) accept()
  await turn()
  t.equal(texts().join(''), '123456x3789')
  for (const { accept } of sent) accept()
  await turn()
  void say('last')
  t.equal(texts().at(-1), 'last')
})

test('what is never answered makes room when its time is over', async t => {
  const { say, clock, texts } = setUp({ maxUnanswered: 1 })
  const first = say('1')
  clock.advance(TIMEOUT / 2)
  void say('2')
  clock.advance(TIMEOUT / 2)
  t.equal(await codeOf(first), 'FST_WS_TOPICS_UNCERTAIN')
  t.strictSame(texts(), ['1', '2'])
})

test('more than maxPending bytes are not taken', async t => {
  const { say, outbox, away, texts } = setUp({ maxPending: 4 })
  away.add('*')
  void say('1234')
  t.equal(await codeOf(say('5')), 'FST_WS_TOPICS_BROKER_DOWN')
  t.equal(outbox.pendingBytes, 4)
  away.clear()
  outbox.flush()
  t.strictSame(texts(), ['1234'])
})

test('who must not get a message is found by its counter when it comes back, once, and until then nothing is empty', async t => {
  const { outbox, say, sent, progress } = setUp()
  const publisher = {} as Subscriber
  const [mine, anybodys] = [outbox.expect(publisher), outbox.expect(null)]
  const results = [say('1', 'a', mine), say('2', 'a', anybodys)]
  for (const { accept } of sent) accept()
  await Promise.all(results)
  t.strictSame([outbox.pending, outbox.isEmpty], [0, false])
  const before = progress.count
  t.equal(outbox.returned(mine), publisher)
  t.equal(outbox.returned(mine), null)
  t.equal(outbox.returned(anybodys), null)
  t.equal(outbox.returned(99), null)
  t.equal(progress.count, before + 2)
  t.ok(outbox.isEmpty)
})

test('it is not expected back if it was refused; if uncertain, until publishTimeout', async t => {
  const publisher = {} as Subscriber
  const { outbox, say, sent, clock } = setUp()
  const [refused, uncertain] = [outbox.expect(publisher), outbox.expect(publisher)]
  const results = [say('1', 'a', refused), say('2', 'a', uncertain)]
  sent[0]!.refuse(new Error('no'))
  sent[1]!.refuse(Object.assign(new Error('?'), { code: 'FST_WS_TOPICS_UNCERTAIN' }))
  await Promise.allSettled(results)
  t.equal(outbox.returned(refused), null)
  t.notOk(outbox.isEmpty)
  clock.advance(TIMEOUT)
  t.ok(outbox.isEmpty)
  t.equal(outbox.returned(uncertain), null)
})

test('close() rejects what has no answer, and what is published after', async t => {
  const { outbox, say, away, clock, texts } = setUp()
  const sent = say('1', 'a', outbox.expect(null))
  away.add('*')
  const waiting = say('2')
  outbox.close()
  t.equal(await codeOf(sent), 'FST_WS_TOPICS_CLOSED')
  t.equal(await codeOf(waiting), 'FST_WS_TOPICS_CLOSED')
  t.equal(await codeOf(say('3')), 'FST_WS_TOPICS_CLOSED')
  away.clear()
  outbox.flush()
  t.strictSame([texts(), outbox.isEmpty, clock.pending], [['1'], true, 0])
})
