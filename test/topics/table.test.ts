// Who gets what, in any order of what subscribers may do: what is counted is what has become of each message for each who was subscribed.
import { test } from 'tap'
import type { Subscriber } from '../../lib/connection/subscriber.ts'
import { Topics } from '../../lib/topics/topics.ts'
import type { ReadyState } from '../../types/connection.ts'
import { turn } from '../helpers/app.ts'
import { integer, random } from '../helpers/random.ts'

const MAX_BEHIND = 50

class Fake implements Subscriber {
  readonly connection = this
  subscriptions: Subscriber['subscriptions'] = null
  readyState: ReadyState = 1
  bufferedAmount = 0
  mustWait = false
  readonly got: string[] = []
  readonly #topics: Topics

  constructor (topics: Topics) {
    this.#topics = topics
  }

  sendPublished (message: Parameters<Subscriber['sendPublished']>[0], maxUnsent: number): boolean {
    if (this.readyState !== 1) throw new Error('not open')
    this.got.push(String(message.payload))
    const queued = this.bufferedAmount
    if (this.mustWait) this.bufferedAmount += message.length
    if (queued > 0 && this.bufferedAmount > maxUnsent) this.giveUpSlowPeer()
    return !this.mustWait
  }

  giveUpSlowPeer (): void {
    this.readyState = 2
    this.subscriptions?.leave(this.#topics.table)
  }

  drain (): void {
    this.bufferedAmount = 0
    this.mustWait = false
    if (this.readyState === 1) this.subscriptions?.onDrain(this.#topics.table)
  }

  tellGap (): void {}
  close (): void { this.giveUpSlowPeer() }
}

test('for each message delivered, skipped and waiting are together those who were subscribed, and nobody gets one twice or out of order', async t => {
  for (let seed = 1; seed <= 60; seed++) {
    const next = random(seed)
    const pick = <Item>(items: readonly Item[]): Item => items[integer(next, 0, items.length - 1)]!
    const topics = new Topics({ maxBehind: MAX_BEHIND })
    const { table } = topics
    const all: Fake[] = []
    const encode = (payload: Buffer): string => `e${payload}`
    let waiting: Array<() => void> = []
    let due = 0
    for (let step = 0; step < 200; step++) {
      const open = all.filter(({ readyState }) => readyState === 1)
      const lot = next()
      if (open.length < 3 || lot < 0.1) {
        all.push(new Fake(topics))
      } else if (lot < 0.25) {
        const subscriber = pick(open)
        const snapshot = (): Promise<string> | null => next() < 0.3 ? null : new Promise(resolve => { waiting.push(() => { resolve('snapshot') }) })
        void table.subscribe(subscriber, pick(['a', 'b']), pick([
          undefined, { slow: 'skip' as const }, { slow: 'latest' as const }, { encode }, { snapshot }, { snapshot, slow: 'latest' as const }, { snapshot, slow: 'skip' as const, encode }
        ]))
      } else if (lot < 0.65) {
        const topic = pick(['a', 'b'])
        const except = pick([null, pick(open)])
        due += topics.subscribers(topic) - (except?.subscriptions?.names.has(topic) === true ? 1 : 0)
        void topics.table.publish(topic, `${topic}${String(step).padStart(3, '0')}`, {}, except)
      } else if (lot < 0.75) {
        pick(open).mustWait = true
      } else if (lot < 0.85) {
        pick(open).drain()
      } else if (lot < 0.9) {
        table.unsubscribe(pick(open), pick(['a', 'b']))
      } else if (lot < 0.92) {
        pick(open).close()
      } else {
        for (const give of waiting) give()
        waiting = []
        await turn()
      }
      const { delivered, skipped, waiting: held } = topics.stats()
      if (delivered + skipped + held !== due) t.fail(`seed ${seed}, step ${step}: ${delivered} + ${skipped} + ${held} of ${due}`)
    }
    for (const { got } of all) {
      for (const topic of ['a', 'b']) {
        const numbers = got.map(text => text.replace(/^e/, '')).filter(text => text.startsWith(topic))
        if (numbers.some((text, i) => i > 0 && text <= numbers[i - 1]!)) t.fail(`seed ${seed}: ${numbers.join(' ')}`)
      }
    }
    for (const subscriber of all) subscriber.close()
    t.match(topics.stats(), { topics: 0, subscriptions: 0, waiting: 0 })
  }
})
