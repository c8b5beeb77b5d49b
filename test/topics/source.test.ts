// A topic's messages between the broker and the subscribers of this process, by itself: the broker is a list of questions, which the test answers.
import { test } from 'tap'
import { CatchUp } from '../../lib/topics/catch-up.ts'
import { parsePosition } from '../../lib/topics/position.ts'
import { Publication } from '../../lib/topics/publication.ts'
import { Source, type SourceOwner } from '../../lib/topics/source.ts'
import type { Subscription } from '../../lib/topics/subscription.ts'
import { Topic } from '../../lib/topics/topic.ts'
import { prepare } from '../../lib/connection/prepared-message.ts'
import type { Entry, Head, Rule } from '../../types/topics.ts'
import { turn } from '../helpers/app.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

const NUMBERED: Rule = { size: 10, ttl: 1000, headTtl: 3000, plain: false }
const PLAIN: Rule = { ...NUMBERED, size: 0, plain: true }

const head = (number: number, epoch = 'e', tag = number === 0 ? '-' : `t${number}`): Head => ({ epoch, number, tag })

/** The message after the one with the number before; `length` of its body. */
function entry (number: number, { epoch = 'e', tag, previousTag = head(number - 1).tag, length = 1 }: { epoch?: string, tag?: string, previousTag?: string, length?: number } = {}): Entry {
  return { head: head(number, epoch, tag), previous: number - 1, previousTag, body: Buffer.alloc(length) }
}

interface Question {
  since: number | null
  answer: (head: Head, entries?: Entry[]) => Promise<void>
  fail: () => Promise<void>
}

function setUp ({ rule = NUMBERED, room = Infinity }: { rule?: Rule, room?: number } = {}) {
  const clock = new ManualClock()
  const questions: Question[] = []
  const got: string[] = []
  const world = { isUp: true, waitingBytes: 0, errors: 0, doubts: 0, opened: 0 }
  const members: Subscription[] = []
  const owner: SourceOwner = {
    read: (_topic, since) => new Promise((resolve, reject) => {
      const settled = async (): Promise<void> => { await turn() }
      questions.push({
        since: since?.number ?? null,
        answer: (head, entries = []) => { resolve({ head, entries }); return settled() },
        fail: () => { reject(new Error('not answered')); return settled() }
      })
    }),
    open: (topic, entry) => {
      world.opened++
      return entry.head.tag === 'bad' ? null : new Publication(topic, entry, prepare(`${entry.head.number}`), null)
    },
    pass: (_topic, publication) => {
      got.push(String(publication.message.payload))
      for (const { terms } of members) {
        if (terms!.catchUp === null) terms!.send(null!, publication, 0, null!)
        else terms!.catchUp.take(publication)
      }
    },
    gap: (_topic, reason, from, to) => { got.push(`${reason} ${from?.number ?? null}-${to?.number ?? null}`) },
    onDoubt: () => { world.doubts++ },
    onError: () => { world.errors++ },
    reserve: bytes => {
      if (world.waitingBytes + bytes > room) return false
      world.waitingBytes += bytes
      return true
    },
    release: bytes => { world.waitingBytes -= bytes },
    isUp: () => world.isUp,
    clock: () => clock.now(),
    schedule: (callback, delay) => clock.after(delay, callback)
  }
  const source = new Source(new Topic('a'), rule, owner)
  /** Live from `number` on. */
  const goLive = async (number = 0): Promise<void> => {
    source.subscribed()
    await questions.at(-1)!.answer(head(number))
  }
  /** Somebody who was at `position`. */
  const recover = (position: string | null): { catchUp: CatchUp, sent: string[] } => {
    const sent: string[] = []
    const subscription = {
      topic: source.topic,
      at: 0,
      subscriber: { mustWait: false },
      terms: { slow: 'close', promise: null, isUsual: false, catchUp: null, send: (_: unknown, { message }: Publication) => { sent.push(String(message.payload)); return true } }
    } as unknown as Subscription
    const catchUp = subscription.terms!.catchUp = new CatchUp(subscription, position === null ? null : parsePosition(position), undefined, {
      maxBehind: 1000, counts: { delivered: 0, skipped: 0, waiting: 0 }, onEncodeError () {}, onUnencoded () {}, onSnapshotError () {}, onMissing () {}
    })
    members.push(subscription)
    source.recover(catchUp)
    return { catchUp, sent }
  }
  return { source, questions, got, world, clock, goLive, recover }
}

test('it is joining until the broker has told the head; what comes meanwhile waits, and follows it', async t => {
  const { source, questions, got, world } = setUp()
  source.take(entry(5))
  source.take(entry(6))
  t.strictSame([source.state, source.position, world.waitingBytes, questions.length], ['joining', null, 2, 0], 'nothing is asked before the subscription is there')
  source.subscribed()
  source.take(entry(7))
  t.strictSame(questions.map(({ since }) => since), [null])
  await questions[0]!.answer(head(6))
  t.strictSame(got, ['7'], 'the answer covers what waited when it was asked for')
  t.strictSame([source.state, source.position, world.waitingBytes], ['live', head(7), 0])
})

test('a message that follows is delivered, one that was seen is not, and nothing is asked', async t => {
  const { source, questions, got, goLive } = setUp()
  await goLive()
  for (const number of [1, 2, 2, 1, 3]) source.take(entry(number))
  t.strictSame([got, questions.length], [['1', '2', '3'], 1])
})

test('what does not follow makes it doubtful: a hole, a fork, a new epoch; proven, all is delivered in order', async t => {
  for (const [name, odd] of [
    ['a hole', entry(4)], ['a fork', entry(2, { tag: 'other' })], ['another predecessor', entry(3, { previousTag: 'other' })], ['an epoch', entry(1, { epoch: 'f' })]
  ] as const) {
    const { source, questions, got, world, goLive } = setUp()
    await goLive()
    source.take(entry(1))
    source.take(entry(2))
    source.take(odd)
    t.strictSame([source.state, source.position, world.doubts], ['doubtful', null, 1], name)
    source.take(entry(5))
    t.strictSame([got, questions.length, questions[1]!.since], [['1', '2'], 2, 2], name)
    await questions[1]!.answer(head(4), [entry(3), entry(4)])
    t.strictSame([got, source.state, questions.length], [['1', '2', '3', '4', '5'], 'live', 2], name)
  }
})

test('what cannot be proven is one gap, with its reason, and it goes on at the new head', async t => {
  for (const [answer, reason] of [[head(4), 'lost 1-4'], [head(3, 'f'), 'epoch 1-3'], [head(1, 'e', 'other'), 'lost 1-1']] as const) {
    const { source, questions, got, goLive } = setUp()
    await goLive()
    source.take(entry(1))
    source.take(entry(4))
    await questions[1]!.answer(answer)
    source.take(entry(answer.number + 1, { epoch: answer.epoch, previousTag: answer.tag }))
    t.strictSame(got, ['1', reason, String(answer.number + 1)])
  }
})

test('while the broker was away something may have been missed: it is asked when it is back', async t => {
  const { source, questions, got, world, goLive } = setUp()
  await goLive()
  source.take(entry(1))
  world.isUp = false
  source.interrupted()
  t.strictSame([source.state, world.doubts], ['doubtful', 1])
  world.isUp = true
  source.restored()
  source.take(entry(4))
  await questions[1]!.answer(head(3), [entry(2), entry(3)])
  t.strictSame(got, ['1', '2', '3', '4'])
  source.interrupted()
  source.restored()
  await questions[2]!.answer(head(9))
  source.interrupted()
  source.restored()
  await questions[3]!.answer(head(9))
  source.take(entry(12))
  await questions[4]!.answer(head(12))
  t.strictSame(got.slice(4), ['interrupted 4-9', 'lost 9-12'], 'the reason is that of this time')
})

test('an answer to a question of before the interruption counts for nothing', async t => {
  const { source, questions, got, goLive } = setUp()
  await goLive()
  source.take(entry(1))
  source.take(entry(3))
  source.interrupted()
  await questions[1]!.answer(head(3), [entry(2), entry(3)])
  t.strictSame([source.state, got], ['doubtful', ['1']])
  source.restored()
  await questions[2]!.answer(head(3), [entry(2), entry(3)])
  t.strictSame([source.state, got], ['live', ['1', '2', '3']])
})

test('an interruption before the subscription asks nothing, and one while joining joins anew', async t => {
  const { source, questions, world, got } = setUp()
  source.take(entry(1))
  source.interrupted()
  source.restored()
  t.strictSame([questions.length, world.waitingBytes, world.doubts], [0, 0, 0])
  source.subscribed()
  source.interrupted()
  source.restored()
  await questions[1]!.answer(head(1))
  source.take(entry(2))
  t.strictSame([source.state, got], ['live', ['2']])
})

test('an answer that was overtaken by deliveries takes nothing back', async t => {
  const { source, questions, got, goLive } = setUp()
  await goLive()
  source.check(head(1)) // on its way, or lost: it asks
  source.take(entry(1))
  await questions[1]!.answer(head(2), [entry(1), entry(2)])
  t.strictSame(got, ['1', '2'], 'it may be ahead')
  source.take(entry(2))
  source.check(head(4))
  source.take(entry(3))
  await questions[2]!.answer(head(2))
  source.take(entry(4))
  t.strictSame([got, source.state], [['1', '2', '3', '4'], 'live'])
})

test('no answer: it asks again, later and later, up to every five seconds', async t => {
  const { source, questions, clock, world, got } = setUp()
  source.subscribed()
  for (const delay of [100, 200, 400, 800, 1600, 3200, 5000, 5000]) {
    const { length } = questions
    await questions.at(-1)!.fail()
    clock.advance(delay - 1)
    t.equal(questions.length, length)
    clock.advance(1)
    t.equal(questions.length, length + 1, `after ${delay}`)
  }
  await questions.at(-1)!.answer(head(0))
  t.strictSame([source.state, world.errors, clock.pending], ['live', 8, 0])
  source.take(entry(2))
  await questions.at(-1)!.fail()
  clock.advance(100)
  await questions.at(-1)!.answer(head(2), [entry(1), entry(2)])
  t.strictSame(got, ['1', '2'], 'and after an answer soon again')
})

test('what is too much to keep is dropped and asked for: one MiB a topic, and what all may have together', async t => {
  for (const [room, length] of [[Infinity, 600 * 1024], [1000, 600]] as const) {
    const { source, questions, got, world, goLive } = setUp({ room })
    await goLive()
    source.take(entry(2, { length }))
    source.take(entry(3, { length }))
    t.equal(world.waitingBytes, 0)
    await questions[1]!.answer(head(2), [entry(1), entry(2)])
    t.strictSame([questions.length, source.state, got], [3, 'doubtful', ['1', '2']])
    await questions[2]!.answer(head(3), [entry(3)])
    t.strictSame([got, source.state, world.waitingBytes], [['1', '2', '3'], 'live', 0])
  }
})

test('a check finds that the newest message was lost, if at the next one it still has not come', async t => {
  const { source, questions, got, world, goLive } = setUp()
  await goLive()
  source.take(entry(1))
  source.check(head(1))
  t.equal(questions.length, 1, 'nothing to ask')
  source.check(head(3))
  await questions[1]!.answer(head(3))
  t.strictSame([source.state, got, world.doubts], ['live', ['1'], 0], 'they may be on their way')
  source.check(head(4))
  t.equal(world.doubts, 1)
  await questions[2]!.answer(head(4))
  t.strictSame([source.state, got], ['live', ['1', 'lost 1-4']])
})

test('a check finds that the broker has forgotten the topic, or has an older state', async t => {
  for (const [known, reason] of [[null, 'epoch 2-0'], [head(1), 'lost 2-1'], [head(2, 'e', 'other'), 'lost 2-2']] as const) {
    const { source, questions, got, goLive } = setUp()
    await goLive()
    source.take(entry(1))
    source.take(entry(2))
    source.check(known)
    await questions[1]!.answer(known ?? head(0, 'f'))
    t.strictSame(got, ['1', '2', reason])
  }
})

test('a quiet topic is read after a third of headTtl, so that the broker does not forget it', async t => {
  const { source, questions, clock, goLive } = setUp()
  await goLive()
  clock.advance(1000)
  source.check(head(0))
  t.equal(questions.length, 1)
  clock.advance(1)
  source.check(head(0))
  t.equal(questions.length, 2)
  await questions[1]!.answer(head(0))
  source.check(head(0))
  t.equal(questions.length, 2)
  clock.advance(900)
  source.take(entry(1))
  clock.advance(900)
  source.check(head(1))
  t.equal(questions.length, 2, 'a message renews it, too')
})

test('a message that is none is not delivered; its number counts', async t => {
  const { source, questions, got, goLive } = setUp()
  await goLive()
  source.take(entry(1, { tag: 'bad' }))
  source.take(entry(2, { previousTag: 'bad' }))
  t.strictSame([got, questions.length], [['2'], 1])
})

test('all who come in one turn are one question, from the oldest position', async t => {
  const { source, questions, world, goLive, recover } = setUp()
  await goLive(9)
  const [eight, six, foreign, none] = [recover('e.8.t8'), recover('e.6.t6'), recover('f.1.t1'), recover(null)]
  t.strictSame(await none.catchUp.promise, { recovered: false, position: 'e.9.t9' }, 'who was nowhere need not wait')
  await turn()
  t.strictSame(questions.slice(1).map(({ since }) => since), [6])
  await questions[1]!.answer(head(9), [entry(7), entry(8), entry(9)])
  t.strictSame(await eight.catchUp.promise, { recovered: true, position: 'e.9.t9' })
  t.strictSame(await six.catchUp.promise, { recovered: true, position: 'e.9.t9' })
  t.strictSame(await foreign.catchUp.promise, { recovered: false, position: 'e.9.t9' })
  t.strictSame([eight.sent, six.sent, foreign.sent], [['9'], ['7', '8', '9'], []])
  t.strictSame([source.state, world.opened], ['live', 3], 'each message is opened once for all')
})

test('a position is recovered only if everything since is proven', async t => {
  const entries = [entry(7), entry(8), entry(9)]
  for (const [position, kept, recovered] of [
    ['e.9.t9', [], true], ['e.9.other', [], false], ['e.7.t7', entries, true], ['e.7.other', entries, false], ['e.5.t5', entries, false],
    ['e.7.t7', [entries[0]!, entries[2]!], false], ['e.10.t10', entries, false], ['f.9.t9', entries, false]
  ] as const) {
    const { questions, goLive, recover } = setUp()
    await goLive(9)
    const { catchUp } = recover(position)
    await turn()
    await questions[1]!.answer(head(9), [...kept])
    t.match(await catchUp.promise, { recovered }, `${position} of ${kept.length}`)
  }
})

test('what was delivered while the broker was asked is sent once, behind what was missed', async t => {
  const { source, questions, goLive, recover } = setUp()
  await goLive(5)
  const { catchUp, sent } = recover('e.3.t3')
  await turn()
  source.take(entry(6))
  source.take(entry(7))
  await questions[1]!.answer(head(6), [entry(4), entry(5), entry(6)])
  t.match(await catchUp.promise, { recovered: true, position: 'e.6.t6' })
  await turn()
  t.strictSame(sent, ['4', '5', '6', '7'])
})

test('who comes while it is asked is decided by that answer, or asked for at once when it does not reach back to him', async t => {
  const { source, questions, clock, goLive, recover } = setUp()
  await goLive(5)
  const first = recover('e.5.t5')
  await turn()
  const [second, third] = [recover('e.4.t4'), recover('e.5.t5')]
  await turn()
  t.equal(questions.length, 2, 'one question at a time')
  await questions[1]!.answer(head(5))
  t.match(await Promise.all([first.catchUp.promise, third.catchUp.promise]), [{ recovered: true }, { recovered: true }])
  t.strictSame([questions.length, questions[2]?.since, clock.pending], [3, 4, 0])
  await questions[2]!.answer(head(5), [entry(5)])
  t.match(await second.catchUp.promise, { recovered: true })

  source.interrupted()
  const last = recover('e.3.t3')
  source.restored()
  t.equal(questions[3]?.since, 5, 'in doubt first what the source needs')
  await questions[3]!.answer(head(5))
  t.equal(questions[4]?.since, 3)
  await questions[4]!.answer(head(5), [entry(4), entry(5)])
  t.match(await last.catchUp.promise, { recovered: true })
})

test('whoever the answer is ahead of waits for the messages between, or for another answer', async t => {
  const { source, questions, clock, goLive, recover } = setUp()
  await goLive(5)
  const { catchUp, sent } = recover('e.3.t3')
  await turn()
  await questions[1]!.answer(head(20), [entry(20)])
  t.strictSame([catchUp.isDecided, questions.length, clock.pending], [false, 2, 1])
  for (let number = 6; number <= 20; number++) source.take(entry(number))
  clock.advance(100)
  await questions[2]!.answer(head(20), [entry(20)])
  t.match(await catchUp.promise, { recovered: false, position: 'e.20.t20' })
  t.strictSame(sent, [])
})

test('who waits when the broker goes away, or does not answer, is decided when it has answered', async t => {
  const { source, questions, clock, goLive, recover } = setUp()
  await goLive(5)
  const first = recover('e.5.t5')
  await turn()
  source.interrupted()
  source.restored()
  await questions[2]!.answer(head(5))
  t.match(await first.catchUp.promise, { recovered: true })

  const second = recover('e.5.t5')
  await turn()
  await questions[3]!.fail()
  source.check(head(6))
  await questions[4]!.answer(head(5))
  t.match(await second.catchUp.promise, { recovered: true })
  clock.advance(1000)
  t.equal(questions.length, 5, 'what was to be asked later has been asked')
})

test('who joins from nowhere while it is in doubt begins behind what is found then', async t => {
  const { source, questions, goLive, recover } = setUp()
  await goLive(5)
  source.interrupted()
  const { catchUp, sent } = recover(null)
  source.restored()
  source.take(entry(7))
  await questions[1]!.answer(head(6), [entry(6)])
  t.strictSame(await catchUp.promise, { recovered: false, position: 'e.6.t6' })
  await turn()
  t.strictSame(sent, ['7'])
})

test('what is acknowledged when the broker has just gone is asked for when it is back', async t => {
  const { source, questions, world } = setUp()
  world.isUp = false
  source.subscribed()
  t.equal(questions.length, 0)
  world.isUp = true
  source.restored()
  t.equal(questions.length, 1)
})

test('a topic without numbers delivers as it comes, asks nothing, recovers nobody, and tells of interruptions', async t => {
  const { source, questions, got, recover } = setUp({ rule: PLAIN })
  const waiting = recover('e.1.t1')
  source.subscribed()
  t.strictSame(await waiting.catchUp.promise, { recovered: false, position: null })
  const publication = new Publication('a', null, prepare('x'), null)
  source.takePlain(publication)
  source.interrupted()
  source.restored()
  source.takePlain(publication)
  source.check(head(5))
  t.strictSame(await recover('e.1.t1').catchUp.promise, { recovered: false, position: null })
  t.strictSame([got, questions.length, source.position], [['x', 'interrupted null-null', 'x'], 0, null])
})

test('one that the broker answers at once is live at once', async t => {
  const { source, questions, got } = setUp()
  source.joined({ head: head(3), entries: [] })
  source.take(entry(4))
  t.strictSame([source.state, got, questions.length], ['live', ['4'], 0])
})

test('nothing is asked or kept when nobody is left', async t => {
  const { source, questions, clock, world, got, goLive } = setUp()
  await goLive()
  source.take(entry(2))
  source.end()
  await questions[1]!.answer(head(2), [entry(1), entry(2)])
  t.strictSame([got, world.waitingBytes], [[], 0])
  source.restored()
  const other = setUp()
  other.source.subscribed()
  await other.questions[0]!.fail()
  other.source.end()
  t.strictSame([questions.length, other.clock.pending, clock.pending], [2, 0, 0])
})

test('it is up to date when what was accepted has come back, or belongs to another epoch', async t => {
  const { source, goLive } = setUp()
  t.ok(source.isUpToDate)
  source.accepted = head(1)
  t.notOk(source.isUpToDate)
  await goLive()
  t.notOk(source.isUpToDate)
  source.take(entry(1))
  t.ok(source.isUpToDate)
  source.accepted = head(9, 'f')
  t.ok(source.isUpToDate)
})
