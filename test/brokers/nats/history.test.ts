// What is read of a topic, from a stream in memory in which other things happen between two questions.
import { test } from 'tap'
import { readHistory, storedAfter, type Shelf } from '../../../lib/brokers/nats/history.ts'
import type { Place } from '../../../lib/brokers/nats/layout.ts'
import type { Stored } from '../../../lib/brokers/nats/stream.ts'
import { Proof } from '../../../lib/topics/proof.ts'
import { turn } from '../../helpers/app.ts'
import { integer, random } from '../../helpers/random.ts'

const RULE = { size: 5, ttl: 1_000, headTtl: 10_000, plain: false }

class Memory implements Shelf {
  readonly epoch = 'e'
  stored: Stored[] = []
  newest = 0
  questions = 0
  renewed: number[] = []
  /** Called before each answer. */
  meanwhile: () => void = () => {}

  publish (by = 1, head?: Place | null, time = 0): Place {
    const number = this.newest += by
    const place = { number, tag: `t${number}` }
    this.stored.push({ ...place, head: head ?? place, isMarker: head !== undefined, time, body: Buffer.from(String(number)) })
    if (this.stored.length > RULE.size + 2) this.stored.shift()
    return place
  }

  async last (): Promise<Stored | null> { return await this.#answer(() => this.stored.at(-1) ?? null) }
  async next (from: number): Promise<Stored | null> { return await this.#answer(() => this.stored.find(({ number }) => number >= from) ?? null) }
  async mark (newest: number, head: Place | null): Promise<void> {
    await this.#answer(() => { if ((this.stored.at(-1)?.number ?? 0) === newest) this.publish(1, head) })
  }

  async renew ({ number }: Stored): Promise<void> { this.renewed.push(number) }

  async #answer<Result> (answer: () => Result): Promise<Result> {
    this.questions++
    await turn()
    this.meanwhile()
    return answer()
  }
}

const read = async (shelf: Shelf, since: Place | null, now = 0, rule = RULE): Promise<{ head: Place, numbers: number[], proven: number[] | null }> => {
  const position = since === null ? null : { epoch: 'e', ...since }
  const { head, entries } = await readHistory(shelf, position, rule, now)
  const proven = position === null ? null : new Proof(head, entries).since(position)
  return { head: { number: head.number, tag: head.tag }, numbers: entries.map(({ head }) => head.number), proven: proven?.map(({ head }) => head.number) ?? null }
}

test('a topic of which nothing is there gets a marker, by one of those who ask', async t => {
  const shelf = new Memory()
  const answers = await Promise.all([read(shelf, null), read(shelf, null), read(shelf, null)])
  t.strictSame(answers.map(({ head }) => head), Array(3).fill({ number: 1, tag: 't1' }))
  t.equal(shelf.stored.length, 1)
  shelf.publish(3)
  t.strictSame((await read(shelf, answers[0]!.head)).proven, [4])
})

test('several markers, made at the same time where nothing was, are one, unless there is something between', async t => {
  const shelf = new Memory()
  const [first] = [shelf.publish(1, null), shelf.publish(2, null), shelf.publish(3, null)]
  t.strictSame(await read(shelf, first), { head: first, numbers: [], proven: [] })
  shelf.publish()
  t.strictSame((await read(shelf, first)).proven, [7])
  const newest = shelf.publish(1, null)
  t.strictSame((await read(shelf, null)).head, newest)
})

test('a topic that loses its marker again and again is given up', async t => {
  const shelf = new Memory()
  shelf.mark = async () => {}
  await t.rejects(read(shelf, null), { code: 'FST_WS_TOPICS_BROKER_ANSWER' })
})

test('what was published since is proven as long as what was before it is there', async t => {
  const shelf = new Memory()
  const places = Array.from({ length: 6 }, () => shelf.publish(2))
  for (const [i, place] of places.entries()) t.strictSame((await read(shelf, place)).proven, places.slice(i + 1).map(({ number }) => number))
  places.push(...Array.from({ length: 4 }, () => shelf.publish(2)))
  t.equal((await read(shelf, places[2]!)).proven, null)
  t.strictSame((await read(shelf, places[2]!)).numbers, [8, 10, 12, 14, 16, 18, 20], 'what there is of it')
  t.strictSame((await read(shelf, places[3]!)).proven, [10, 12, 14, 16, 18, 20])
  t.equal((await read(shelf, { ...places[3]!, tag: 'other' })).proven, null)
  t.strictSame((await read(shelf, { number: 99, tag: 'x' })).numbers, [])
  t.strictSame((await readHistory(shelf, { epoch: 'other', ...places[4]! }, RULE, 0)).entries, [])
  t.strictSame((await read(shelf, places[3]!, 0, { ...RULE, size: 0 })).numbers, [])
  t.strictSame((await read(shelf, places[3]!, RULE.ttl + 1)).numbers, [], 'older than ttl')
})

test('a marker stands for the message before it, and is not one', async t => {
  const shelf = new Memory()
  const [first, second] = [shelf.publish(), shelf.publish()]
  shelf.publish(1, second)
  t.strictSame(await read(shelf, second), { head: second, numbers: [], proven: [] })
  t.strictSame((await read(shelf, first)).proven, [2])
  const third = shelf.publish()
  t.strictSame((await read(shelf, first)).proven, [2, 4])
  shelf.stored.splice(0, 2) // they have expired
  t.strictSame((await read(shelf, second)).proven, [4])
  t.equal((await read(shelf, first)).proven, null)
  shelf.stored.length = 0
  t.strictSame((await read(shelf, third)).proven, null)
})

test('the head of a quiet topic is renewed after half of its time', async t => {
  const shelf = new Memory()
  shelf.publish()
  await read(shelf, null, RULE.headTtl / 2)
  t.strictSame(shelf.renewed, [])
  await read(shelf, null, RULE.headTtl / 2 + 1)
  t.strictSame(shelf.renewed, [1])
})

test('what is dropped while it is read proves nothing that is not so', async t => {
  let [proven, unproven] = [0, 0]
  for (let seed = 1; seed <= 500; seed++) {
    const chance = random(seed)
    const shelf = new Memory()
    const all = Array.from({ length: 7 }, () => shelf.publish(integer(chance, 1, 4)))
    const since = all[integer(chance, 0, 3)]!
    shelf.meanwhile = () => {
      if (chance() < 0.3) all.push(shelf.publish(integer(chance, 1, 4)))
      if (chance() < 0.02) shelf.stored.length = 0
    }
    const answer = await read(shelf, since)
    if (answer.proven === null) {
      unproven++
      continue
    }
    proven++
    const truth = all.filter(({ number }) => number > since.number && number <= answer.head.number).map(({ number }) => number)
    if (JSON.stringify(answer.proven) !== JSON.stringify(truth)) t.strictSame(answer.proven, truth, `seed ${seed}`)
  }
  t.ok(proven > 20 && unproven > 20, `${proven} proven, ${unproven} not`)
})

test('what is stored behind a number is all there was, if something up to it is still there', async t => {
  const shelf = new Memory()
  t.strictSame(await storedAfter(shelf, 0), { stored: [], isAll: true })
  for (let i = 0; i < 7; i++) shelf.publish(2)
  const after = async (number: number): Promise<unknown> => {
    const { stored, isAll } = await storedAfter(shelf, number)
    return [stored.map(({ number }) => number), isAll]
  }
  t.strictSame(await after(14), [[], true])
  t.strictSame(await after(9), [[10, 12, 14], true])
  t.strictSame(await after(2), [[4, 6, 8, 10, 12, 14], true])
  t.strictSame(await after(1), [[2, 4, 6, 8, 10, 12, 14], false])
})

test('a long history is read in parts, each at the same time', async t => {
  const shelf = new Memory()
  shelf.stored = Array.from({ length: 1_000 }, (_, i) => ({ number: i + 1, tag: 't', head: { number: i + 1, tag: 't' }, isMarker: false, time: 0, body: Buffer.alloc(0) }))
  let [answered, together] = [0, 0]
  shelf.meanwhile = () => { together = Math.max(together, shelf.questions - answered++) }
  t.equal((await read(shelf, { number: 1, tag: 't' }, 0, { ...RULE, size: 1_000 })).proven?.length, 999)
  t.equal(together, 8)
})
