// What waits for a subscriber until it has what comes first.
import { test } from 'tap'
import { prepare } from '../../lib/connection/prepared-message.ts'
import type { Subscriber } from '../../lib/connection/subscriber.ts'
import { CatchUp, Missing } from '../../lib/topics/catch-up.ts'
import { Publication } from '../../lib/topics/publication.ts'
import type { Subscription } from '../../lib/topics/subscription.ts'
import type { SlowPolicy } from '../../types/topics.ts'

const publication = (length: number): Publication => new Publication('a', null, prepare('x'.repeat(length)), null)

function setUp ({ slow, onMissing = () => {} }: { slow: SlowPolicy, onMissing?: (subscription: Subscription) => void }) {
  const counts = { delivered: 0, skipped: 0, waiting: 0 }
  const calls: string[] = []
  const subscriber = { mustWait: false, giveUpSlowPeer () { calls.push('given up') } } as unknown as Subscriber
  const subscription = { topic: { name: 'a' }, subscriber, at: 0, terms: { slow } } as unknown as Subscription
  const catchUp = new CatchUp(subscription, null, undefined, {
    counts,
    maxBehind: 100,
    onEncodeError () {},
    onUnencoded () {},
    onSnapshotError () {},
    onMissing (subscription) {
      calls.push('missing')
      onMissing(subscription)
    }
  })
  return { catchUp, counts, calls }
}

test('with slow: latest the newest waits; what is dropped for it is skipped, and a hole among that is told', async t => {
  const { catchUp, counts, calls } = setUp({ slow: 'latest' })
  catchUp.miss(new Missing('lost', null, null))
  catchUp.take(publication(60))
  t.strictSame([counts, calls], [{ delivered: 0, skipped: 0, waiting: 1 }, []])
  catchUp.take(publication(60))
  t.strictSame([counts, calls], [{ delivered: 0, skipped: 1, waiting: 1 }, ['missing']])
  t.strictSame([...catchUp.live].length, 1)
})

test('who ends because of the hole that he is told waits for nothing more', async t => {
  const { catchUp, counts, calls } = setUp({ slow: 'latest', onMissing: subscription => { subscription.at = -1 } })
  catchUp.miss(new Missing('lost', null, null))
  catchUp.miss(new Missing('epoch', null, null))
  catchUp.take(publication(60))
  catchUp.take(publication(60))
  t.strictSame([counts, calls], [{ delivered: 0, skipped: 2, waiting: 0 }, ['missing']], 'the second hole is nobody\'s any more')
  t.strictSame([...catchUp.live], [])
})

test('with slow: skip what is too much is skipped, with close the connection is given up', async t => {
  for (const [slow, counted, called] of [
    ['skip', { delivered: 0, skipped: 1, waiting: 1 }, []], ['close', { delivered: 1, skipped: 0, waiting: 1 }, ['given up']]
  ] as const) {
    const { catchUp, counts, calls } = setUp({ slow })
    catchUp.take(publication(60))
    catchUp.take(publication(60))
    t.strictSame([counts, calls], [counted, called], slow)
  }
})
