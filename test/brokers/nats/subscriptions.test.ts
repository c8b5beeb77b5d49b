// Topics and what the server has acknowledged of them, by a connection of the test.
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { test } from 'tap'
import { Subscriptions } from '../../../lib/brokers/nats/subscriptions.ts'
import { turn } from '../../helpers/app.ts'

interface Made {
  readonly subject: string
  readonly callback: (error: Error | null, message: Msg) => void
  isClosed: boolean
}

function start (): { subscriptions: Subscriptions, made: Made[], got: string[], refused: string[], connection: { isClosed: boolean } } {
  const [made, got, refused]: [Made[], string[], string[]] = [[], [], []]
  const connection = {
    isClosed: false,
    subscribe: (subject: string, { callback }: Made) => {
      if (connection.isClosed) throw new Error('closed')
      const one: Made = { subject, callback, isClosed: false }
      made.push(one)
      return {
        isClosed: () => one.isClosed,
        unsubscribe: () => {
          if (connection.isClosed) throw new Error('closed')
          one.isClosed = true
        }
      }
    }
  }
  const subscriptions = new Subscriptions({
    connection: connection as unknown as NatsConnection,
    subjectOf: ({ token }) => `live.${token}`,
    message: ({ name }) => { got.push(name) },
    refused: ({ name }) => { refused.push(name) }
  })
  return { subscriptions, made, got, refused, connection }
}

const topic = (name: string): { name: string, token: string, rule: null } => ({ name, token: name, rule: null })
const none = {} as Msg

test('a topic is subscribed to once, and added when that is acknowledged', async t => {
  const { subscriptions, made, got } = start()
  let added = 0
  const adding = [['a', 'b'], ['a']].map(names => subscriptions.add(names.map(topic)).then(() => { added++ }))
  await turn()
  t.strictSame([made.map(({ subject }) => subject), added], [['live.a', 'live.b'], 0])
  await subscriptions.acknowledge(async () => {})
  await Promise.all(adding)
  await subscriptions.add([topic('a')])
  made[0]!.callback(null, none)
  subscriptions.remove(['a', 'unknown'])
  made[0]!.callback(null, none)
  t.strictSame([got, made.map(({ isClosed }) => isClosed)], [['a'], [true, false]])
})

test('what left before it was acknowledged, or came while the server was asked, is not acknowledged by that', async t => {
  const { subscriptions } = start()
  let added = ''
  const add = (name: string): void => { subscriptions.add([topic(name)]).then(() => { added += name }, () => {}) }
  add('a')
  add('b')
  await subscriptions.acknowledge(async () => {
    subscriptions.remove(['a'])
    add('c')
  })
  await turn()
  t.equal(added, 'b')
  await t.rejects(subscriptions.acknowledge(async () => { throw new Error('cut') }), { message: 'cut' })
  await subscriptions.acknowledge(async () => {})
  await turn()
  t.equal(added, 'bc')
})

test('what the server refuses rejects, or if it was acknowledged before is told, and tried again', async t => {
  const { subscriptions, made, refused } = start()
  const rejected = subscriptions.add([topic('a')])
  made[0]!.callback(new Error('no'), none)
  await t.rejects(rejected, { message: 'no' })
  const added = subscriptions.add([topic('b')])
  await subscriptions.acknowledge(async () => {})
  await added
  for (const isForgotten of [false, true]) {
    if (isForgotten) subscriptions.forget()
    const { length } = made
    made.at(-1)!.isClosed = true
    made.at(-1)!.callback(new Error('no more'), none)
    if (isForgotten) await subscriptions.acknowledge(async () => {})
    else subscriptions.renew()
    t.equal(made.length, length + 1)
  }
  subscriptions.renew()
  t.strictSame([refused, made.length], [['b', 'b'], 4])
})

test('a connection that is closed is in the way of nothing', async t => {
  const { subscriptions, connection } = start()
  const waiting = subscriptions.add([topic('a')])
  connection.isClosed = true
  const later = subscriptions.add([topic('b')])
  subscriptions.renew()
  subscriptions.clear(new Error('stopped'))
  for (const promise of [waiting, later]) await t.rejects(promise, { message: 'stopped' })
})
