import { test } from 'tap'
import { prepare, type PreparedMessage } from '../../lib/connection/prepared-message.ts'
import type { Subscriber } from '../../lib/connection/subscriber.ts'
import { ConnectionSubscriptions } from '../../lib/topics/connection-subscriptions.ts'
import { Subscription } from '../../lib/topics/subscription.ts'
import { Topic } from '../../lib/topics/topic.ts'

function start (...names: string[]): ConnectionSubscriptions {
  const subscriptions = new ConnectionSubscriptions()
  for (const name of names) subscriptions.first = new Subscription(new Topic(name), null as never, subscriptions.first)
  return subscriptions
}

test('subscriptions are found by name, and counted where there is none of it', t => {
  const subscriptions = start('a', 'b', 'c')
  t.strictSame([...subscriptions.names], ['a', 'b', 'c'])
  t.equal(subscriptions.countUnless('d'), 3)
  t.equal((subscriptions.countUnless('b') as Subscription).topic.name, 'b')
  t.end()
})

test('a subscription is taken out wherever it is in the list', t => {
  for (const [name, left] of [['a', ['b', 'c']], ['b', ['a', 'c']], ['c', ['a', 'b']], ['d', ['a', 'b', 'c']]] as const) {
    const subscriptions = start('a', 'b', 'c')
    t.equal(subscriptions.takeOut(name)?.topic.name, name === 'd' ? undefined : name)
    t.strictSame([...subscriptions.names], left)
  }
  t.end()
})

test('what is published inside a message in pieces waits for its end, and counts against the limit', t => {
  const subscriptions = start('a')
  const calls: string[] = []
  const subscriber = {
    readyState: 1,
    bufferedAmount: 5,
    sendPublished: ({ payload }: PreparedMessage, maxUnsent: number) => { calls.push(`${payload} of ${maxUnsent}`) },
    giveUpSlowPeer: () => { calls.push('slow') }
  }
  const hold = (text: string, maxUnsent: number): void => {
    subscriptions.hold(subscriber as unknown as Subscriber, prepare(text) as PreparedMessage, maxUnsent)
  }
  hold('12345', 10)
  t.strictSame(calls, [])
  hold('6', 10)
  t.strictSame(calls.splice(0), ['slow'])
  subscriptions.release(subscriber as unknown as Subscriber)
  t.strictSame(calls.splice(0), ['12345 of 10', '6 of 10'])
  hold('7', 100)
  subscriber.readyState = 2
  subscriptions.release(subscriber as unknown as Subscriber)
  subscriptions.release(subscriber as unknown as Subscriber)
  t.strictSame(calls, [])
  t.end()
})

test('who leaves ends all its subscriptions', t => {
  const ended: string[] = []
  start('a', 'b').leave({ end: ({ topic }: Subscription) => { ended.push(topic.name) } } as never)
  t.strictSame(ended, ['b', 'a'])
  t.end()
})
