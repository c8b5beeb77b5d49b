// What topics promise, in all that may go wrong with a broker. For a long run: SEEDS=10000 node test/topics/simulation.test.ts
import tap, { test } from 'tap'
import { Topics } from '../../lib/topics/topics.ts'
import { importMutant, type Mutation } from '../helpers/mutants.ts'
import { shorten, simulate, type Course } from '../helpers/topics-simulation.ts'
import type { Faults } from '../helpers/virtual-broker.ts'

type Weather = Course['weather']

// for the whole file: a long run takes as long as it takes
tap.setTimeout(3_600_000)

const STEPS = 300
const SEEDS: Readonly<Record<Weather, number>> = process.env.SEEDS === undefined
  ? { storm: 150, cuts: 100, calm: 60 }
  : { storm: Number(process.env.SEEDS), cuts: Number(process.env.SEEDS), calm: Number(process.env.SEEDS) }

for (const [weather, title] of Object.entries({
  storm: 'whatever is lost, at the broker or on the way: nothing is missing that was not told, nothing comes twice between two gaps, and all comes to an end',
  cuts: 'where connections are cut and the broker keeps all, nothing is told to be missing',
  calm: 'where nothing goes wrong nothing is told to be missing, whatever is kept'
}) as Array<[Weather, string]>) {
  test(title, { timeout: 3_600_000 }, async t => {
    let [delivered, recovered] = [0, 0]
    for (let seed = 1; seed <= SEEDS[weather]; seed++) {
      const course = { weather, steps: STEPS, Topics }
      const result = await simulate(seed, course)
      delivered += result.delivered
      recovered += result.recovered
      if (result.wrong === null) continue
      const steps = await shorten(seed, course)
      t.fail(`seed ${seed}, after ${steps} steps: ${(await simulate(seed, { ...course, steps })).wrong}`)
      break
    }
    t.ok(delivered > 10 * SEEDS[weather] && recovered > SEEDS[weather], `${delivered} delivered, ${recovered} recovered`)
  })
}

test('nothing is wrong either where messages of this process wait for answers to others', { timeout: 3_600_000 }, async t => {
  const { Topics } = await importMutant<{ Topics: Course['Topics'] }>(t, 'topics/topics.ts', [['topics/link.ts', 'MAX_UNANSWERED = 1024', 'MAX_UNANSWERED = 2']])
  for (const weather of ['storm', 'cuts'] as const) {
    for (let seed = 1; seed <= SEEDS[weather] / 2; seed++) {
      const { wrong } = await simulate(seed, { weather, steps: STEPS, Topics })
      if (wrong !== null) return t.fail(`${weather}, seed ${seed}: ${wrong}`)
    }
  }
})

/** What must be found, in which weather. A simulation that does not find it proves nothing. */
const MUTANTS: Array<[name: string, weather: Weather, mutations: Mutation[], faults?: Faults]> = [
  ['tags are not looked at', 'storm', [
    ['topics/position.ts', 'a.number === b.number && a.tag === b.tag && a.epoch === b.epoch', 'a.number === b.number && a.epoch === b.epoch'],
    ['topics/proof.ts', ' && (previousTag === null || previousTag === head.tag)', ''],
    ['topics/source.ts', ' || (head.number === last.number && head.tag !== last.tag)', '']
  ]],
  ['the tag of the one before is not looked at', 'storm', [['topics/proof.ts', ' && (previousTag === null || previousTag === head.tag)', '']]],
  ['after a reconnect it is not asked what is missing', 'storm', [['topics/source.ts', `    if (!this.#isPlain) {
      this.#ask()
      return
    }
    if (this.#wasInterrupted)`, `    if (!this.#isPlain && this.#last !== null) this.#state = 'live'
    if (!this.#isPlain) return
    if (this.#wasInterrupted)`]]],
  ['an answer counts though something was delivered since', 'cuts', [['topics/source.ts', 'if (this.#last === question.last) {', 'if (true) {']]],
  ['what waited before the question is not dropped after the answer', 'storm', [['topics/source.ts', 'covered: this.#waiting.length', 'covered: 0']]],
  ['head and messages are read one after the other', 'cuts', [], { apart: true }],
  ['what got no answer is sent once more after a reconnect', 'cuts', [], { resend: true }],
  ['who has unsubscribed stays in the list', 'calm', [['topics/table.ts', '    topic.remove(subscription)\n', '    subscription.at = subscription.at\n']]],
  ['what a subscriber was sent is not dropped from what waits for it', 'cuts', [['topics/source.ts', '        catchUp.drop(covered)\n', '']]],
  ['a gap is told before what comes before it is sent', 'cuts', [['topics/table.ts', 'else if (catchUp.isDecided) catchUp.miss(missing)', 'else if (catchUp.isDecided) this.onMissing(subscription, missing)']]],
  ['who has published it gets it', 'calm', [['topics/subscription.ts', 'publication.except === this.subscriber || ', '']]]
]

for (const [name, weather, mutations, faults] of MUTANTS) {
  test(`it is found out when ${name}`, { timeout: 600_000 }, async t => {
    const { Topics } = await importMutant<{ Topics: Course['Topics'] }>(t, 'topics/topics.ts', mutations)
    let seed = 1
    while (seed <= 1000 && (await simulate(seed, { weather, steps: STEPS, Topics, ...(faults === undefined ? {} : { faults }) })).wrong === null) seed++
    t.ok(seed <= 1000, `by seed ${seed}`)
  })
}
