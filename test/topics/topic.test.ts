import { test } from 'tap'
import type { Subscription } from '../../lib/topics/subscription.ts'
import { Topic } from '../../lib/topics/topic.ts'

const create = (): Subscription => ({ at: -1 }) as Subscription

test('subscriptions come and go, and each knows its place', t => {
  const topic = new Topic('a')
  t.strictSame([topic.size, topic.list()], [0, []])
  const [a, b, c] = [create(), create(), create()]
  const d = create()
  topic.add(a)
  t.equal(topic.subscribers, a, 'a single one needs no list')
  topic.add(b)
  topic.add(c)
  topic.add(d)
  t.strictSame([topic.size, a.at, b.at, c.at, d.at], [4, 0, 1, 2, 3])
  topic.remove(b)
  t.strictSame([a.at, b.at, c.at, d.at], [0, -1, 2, 1])
  topic.remove(d)
  topic.add(b)
  t.strictSame([a.at, b.at, c.at], [0, 2, 1])
  topic.remove(a)
  t.strictSame([topic.size, a.at, b.at, c.at], [2, -1, 0, 1])
  topic.remove(b)
  t.equal(topic.subscribers, c)
  topic.remove(c)
  t.strictSame([topic.size, topic.subscribers, c.at], [0, null, -1])
  t.end()
})

test('a loop from the end sees all others once, whichever is removed on the way', t => {
  for (let removed = 0; removed < 5; removed++) {
    const topic = new Topic('a')
    const all = Array.from({ length: 5 }, create)
    for (const one of all) topic.add(one)
    const seen: Subscription[] = []
    const subscribers = topic.subscribers as Subscription[]
    for (let i = subscribers.length - 1; i >= 0; i--) {
      const one = subscribers[i]!
      seen.push(one)
      if (one === all[removed]) topic.remove(one)
    }
    t.strictSame(new Set(seen), new Set(all))
    t.equal(seen.length, 5)
  }
  t.end()
})

test('a list is a copy', t => {
  const topic = new Topic('a')
  const all = [create(), create(), create()]
  for (const one of all) topic.add(one)
  const list = topic.list()
  topic.remove(all[0]!)
  t.equal(list.length, 3)
  t.end()
})
