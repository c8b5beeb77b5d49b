import { channel } from 'node:diagnostics_channel'
import { test, type Test } from 'tap'
import { prepare, type PreparedMessage } from '../../lib/connection/prepared-message.ts'
import type { Subscriber } from '../../lib/connection/subscriber.ts'
import { Publication } from '../../lib/topics/publication.ts'
import { Subscription, Terms, type Service } from '../../lib/topics/subscription.ts'
import { Topic } from '../../lib/topics/topic.ts'
import type { SubscribeOptions } from '../../types/topics.ts'

const publication = (text: string, except: Subscriber | null = null): Publication => new Publication('a', null, prepare(text) as PreparedMessage, except)

/** A subscription of one subscriber, and what came of it. */
function start (t: Test, options: SubscribeOptions | null = null) {
  const got: string[] = []
  const told: object[] = []
  const listener = (message: unknown): void => { told.push(message as object) }
  channel('fastify-websocket-stream:skip').subscribe(listener)
  t.teardown(() => { channel('fastify-websocket-stream:skip').unsubscribe(listener) })
  const connection = {}
  const subscriber = { connection, mustWait: false, sendPublished (message: PreparedMessage) { got.push(String(message.payload)); return true } }
  const counts = { delivered: 0, skipped: 0, waiting: 0 }
  const service: Service = {
    maxBehind: 100,
    counts,
    onEncodeError: error => { got.push(`error: ${(error as Error).message}`) },
    onUnencoded: () => { got.push('unencoded') }
  }
  const subscription = new Subscription(new Topic('a'), subscriber as unknown as Subscriber, null)
  subscription.at = 0
  if (options !== null) subscription.terms = new Terms(options, 'close')
  const deliver = (...texts: string[]): void => { for (const text of texts) subscription.deliver(publication(text), service) }
  return { got, told, connection, subscriber, counts, service, subscription, deliver }
}

test('a message goes to whoever is subscribed, but for one that is left out or has ended', t => {
  const { got, counts, service, subscription, deliver, subscriber } = start(t)
  deliver('1')
  subscription.deliver(publication('not to him', subscriber as unknown as Subscriber), service)
  subscription.at = -1
  deliver('too late')
  t.strictSame(got, ['1'])
  t.equal(counts.delivered, 1)
  t.end()
})

test('with skip a subscriber that must wait misses messages, and a channel tells of a run of them with the connection', t => {
  const { got, told, connection, subscriber, counts, deliver } = start(t, { slow: 'skip' })
  deliver('1')
  subscriber.mustWait = true
  deliver('2', '3')
  subscriber.mustWait = false
  deliver('4')
  t.strictSame(got, ['1', '4'])
  t.match(counts, { delivered: 2, skipped: 2, waiting: 0 })
  t.strictSame(told, [{ connection, topic: 'a' }, { connection, topic: 'a', count: 2 }])
  t.equal((told[0] as { connection: unknown }).connection, connection)
  t.end()
})

test('with latest the newest message waits, and goes out once all that was sent is out', t => {
  const { got, told, subscriber, counts, service, subscription, deliver } = start(t, { slow: 'latest' })
  subscriber.mustWait = true
  deliver('1', '2', '3')
  t.match(counts, { skipped: 2, waiting: 1 })
  subscriber.mustWait = false
  subscription.terms!.onDrain(subscription, service)
  subscription.terms!.onDrain(subscription, service)
  t.strictSame(got, ['3'])
  t.match(counts, { delivered: 1, skipped: 2, waiting: 0 })
  t.equal(told.length, 2)
  t.end()
})

test('what waits when a subscription ends counts as skipped', t => {
  const { told, subscriber, counts, service, subscription, deliver } = start(t, { slow: 'latest' })
  subscriber.mustWait = true
  deliver('1')
  subscription.terms!.end(subscription, service)
  t.match(counts, { skipped: 1, waiting: 0 })
  t.match(told, [{}, { count: 1 }])
  t.end()
})

test('an encode function that throws leaves one subscriber without the message, and may end its subscription', t => {
  const { got, service, subscription } = start(t, { encode: payload => { throw new Error(String(payload)) } })
  t.equal(subscription.terms!.send(subscription, publication('1'), 100, service), true)
  t.strictSame(got, ['error: 1', 'unencoded'])
  const ending = start(t, { encode: () => { ending.subscription.at = -1; return 'x' } })
  t.equal(ending.subscription.terms!.send(ending.subscription, publication('1'), 100, ending.service), false)
  t.strictSame(ending.got, [])
  t.end()
})

test('terms that say nothing else are the usual ones', t => {
  t.equal(new Terms({}, 'close').isUsual, true)
  for (const terms of [new Terms({}, 'skip'), new Terms({ slow: 'latest' }, 'close'), new Terms({ encode: () => '' }, 'close')]) t.equal(terms.isUsual, false)
  t.end()
})
