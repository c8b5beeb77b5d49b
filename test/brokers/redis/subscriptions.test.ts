// Topics and their partitions, by a session that acknowledges when a test says so.
import { ReplyError } from 'ioredis'
import { test } from 'tap'
import { Layout, partitionOf } from '../../../lib/brokers/redis/layout.ts'
import type { Session } from '../../../lib/brokers/redis/session.ts'
import { Subscriptions } from '../../../lib/brokers/redis/subscriptions.ts'

const layout = new Layout('ws1')
const channelOf = (topic: string): string => layout.channel(partitionOf(topic))

function fakeSession (refused: readonly string[] = []): { session: Session, sent: string[] } {
  const sent: string[] = []
  const session = {
    subscribe: async (channels: string[]) => {
      sent.push(`+${channels.join()}`)
      if (channels.some(channel => refused.includes(channel))) throw new ReplyError('NOPERM')
    },
    unsubscribe: async (channels: string[]) => { sent.push(`-${channels.join()}`) }
  }
  return { session: session as unknown as Session, sent }
}

/** Another name in the same partition. */
function beside (topic: string): string {
  for (let i = 0; ; i++) if (partitionOf(`${i}`) === partitionOf(topic)) return `${i}`
}

test('topics of one partition are one subscription, which is left when none of them is wanted', async t => {
  const subscriptions = new Subscriptions(layout)
  const { session, sent } = fakeSession()
  const added = subscriptions.add(['a', beside('a'), 'a'])
  await Promise.all([added, subscriptions.update(session)])
  await subscriptions.add([beside('a')]) // acknowledged already
  subscriptions.remove(['a', 'never'])
  await subscriptions.leave(session)
  t.strictSame([subscriptions.has('a'), subscriptions.has(beside('a')), sent], [false, true, [`+${channelOf('a')}`]])
  subscriptions.remove([beside('a')])
  await subscriptions.leave(session)
  t.strictSame(sent, [`+${channelOf('a')}`, `-${channelOf('a')}`])
})

test('of several that are refused together each is asked for alone: the good are acknowledged, the bad reject', async t => {
  const subscriptions = new Subscriptions(layout)
  const { session, sent } = fakeSession([channelOf('bad')])
  const [good, bad] = [subscriptions.add(['good']), subscriptions.add(['bad'])]
  await Promise.all([t.rejects(subscriptions.update(session), /NOPERM/), good, t.rejects(bad, /NOPERM/)])
  t.equal(sent.length, 3)
})

test('another session is subscribed to all that is wanted; what waits is told when there will be none', async t => {
  const subscriptions = new Subscriptions(layout)
  const first = fakeSession()
  await Promise.all([subscriptions.add(['a']), subscriptions.update(first.session)])
  subscriptions.forget()
  const { session, sent } = fakeSession()
  await subscriptions.update(session)
  t.strictSame(sent, [`+${channelOf('a')}`])
  const waiting = subscriptions.add(['b'])
  subscriptions.clear(new Error('stopped'))
  await t.rejects(waiting, /stopped/)
  t.equal(subscriptions.has('a'), false)
})
