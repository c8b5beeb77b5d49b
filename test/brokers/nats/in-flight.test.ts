// What has been sent to a stream of the test, which answers when it is told to, over sessions that end.
import type { MsgHdrs } from '@nats-io/transport-node'
import { test } from 'tap'
import { InFlight } from '../../../lib/brokers/nats/in-flight.ts'
import type { Stored, Stream } from '../../../lib/brokers/nats/stream.ts'
import { Refusal, Unanswered, Unavailable, type Session } from '../../../lib/brokers/nats/session.ts'
import { brokerAnswer } from '../../../lib/errors.ts'
import { NODE } from '../../../lib/topics/environment.ts'
import { turn } from '../../helpers/app.ts'
import { codeOf } from '../../helpers/topics.ts'

const TIMEOUT = 1000

interface Published {
  id: string
  tag: string
  accept: (number: number) => void
  refuse: (error: Error) => void
}

function setUp () {
  let now = 0
  let isOver = false
  const published: Published[] = []
  const failed: Session[] = []
  const stored: Stored[] = []
  const inFlight = new InFlight({
    environment: { ...NODE, clock: () => now },
    timeout: TIMEOUT,
    fail: session => { failed.push(session) },
    isOver: () => isOver
  })
  inFlight.node = 'node'
  const stream = {
    size: 10,
    epoch: 'e',
    known: 5,
    publish: (_session: Session, _token: string, _body: Buffer, headers: MsgHdrs) => new Promise((resolve, reject) => {
      published.push({ id: headers.get('Nats-Msg-Id'), tag: headers.get('Ws-Tag'), accept: resolve, refuse: reject })
    }),
    last: async () => stored.at(-1) ?? null,
    next: async (_session: Session, _token: string, from: number) => stored.find(({ number }) => number >= from) ?? null
  } as unknown as Stream
  const session = (serverId: string): Session => ({ serverId }) as Session
  const first = session('one')
  return {
    inFlight,
    stream,
    published,
    failed,
    session,
    first,
    send: (topic = 'a') => inFlight.send(first, topic, Buffer.from('x'), stream),
    /** The stream has a message. */
    store: (number: number, tag: string) => { stored.push({ number, tag, head: { number, tag }, isMarker: false, body: Buffer.alloc(0), time: 0 }) },
    pass: (milliseconds: number) => { now += milliseconds },
    end: () => { isOver = true }
  }
}

test('a message has an id of its own, and its head is the number it gets', async t => {
  const { send, published, inFlight } = setUp()
  const [one, two] = [send(), send('b')]
  t.strictSame(published.map(({ id }) => id), ['node:1', 'node:2'])
  published[1]!.accept(8)
  published[0]!.accept(7)
  t.strictSame([await one, await two], [{ epoch: 'e', number: 7, tag: published[0]!.tag }, { epoch: 'e', number: 8, tag: published[1]!.tag }])
  inFlight.giveUp(new Error('nobody is left'))
})

test('what the server says is final, but for the time being; what it does not say is uncertain', async t => {
  for (const [error, code, isFailed] of [
    [new Refusal('full', 10_023), undefined, false],
    [new Unavailable('nobody', 0), 'FST_WS_TOPICS_BROKER_DOWN', true],
    [new Unanswered('late'), 'FST_WS_TOPICS_UNCERTAIN', true],
    [brokerAnswer('a message'), 'FST_WS_TOPICS_UNCERTAIN', false]
  ] as const) {
    const { send, published, failed } = setUp()
    const sent = send()
    published[0]!.refuse(error)
    const rejected = await sent.catch((error: unknown) => error)
    if (code === undefined) t.equal(rejected, error)
    else t.match(rejected, { code })
    t.equal(failed.length, Number(isFailed), error.message)
  }
})

test('a message in flight when the connection is lost is repeated to the same server, with its id', async t => {
  const { send, published, failed, inFlight, session, first } = setUp()
  const sent = send()
  published[0]!.refuse(new Error('disconnected'))
  await turn()
  t.strictSame(failed, [first])
  const next = session('one')
  await inFlight.lookFor(next)
  inFlight.repeat(next)
  t.strictSame(published.map(({ id }) => id), ['node:1', 'node:1'])
  published[1]!.accept(9)
  t.match(await sent, { number: 9 })
})

test('a server that was started again is asked first: what it has is accepted, what it cannot have is repeated', async t => {
  const { send, published, inFlight, session, store } = setUp()
  const [had, lost] = [send(), send()]
  for (const { refuse } of published) refuse(new Error('disconnected'))
  await turn()
  store(4, 'older')
  store(6, published[0]!.tag)
  const next = session('two')
  await inFlight.lookFor(next)
  t.match(await had, { number: 6 })
  inFlight.repeat(next)
  t.strictSame(published.map(({ id }) => id), ['node:1', 'node:2', 'node:2'])
  published[2]!.accept(7)
  t.match(await lost, { number: 7 })
})

test('where older messages are dropped it may have been among them, and is uncertain', async t => {
  const { send, published, inFlight, session, store } = setUp()
  const sent = send()
  published[0]!.refuse(new Error('disconnected'))
  await turn()
  store(20, 'newer')
  const next = session('two')
  await inFlight.lookFor(next)
  inFlight.repeat(next)
  t.equal(await codeOf(sent), 'FST_WS_TOPICS_UNCERTAIN')
  t.equal(published.length, 1)
})

test('nothing is repeated after its time, to another stream, or when all is over', async t => {
  const late = setUp()
  const sent = late.send()
  late.published[0]!.refuse(new Error('disconnected'))
  await turn()
  late.pass(TIMEOUT)
  await late.inFlight.lookFor(late.first)
  late.inFlight.repeat(late.first)
  t.equal(await codeOf(sent), 'FST_WS_TOPICS_UNCERTAIN')

  const other = setUp()
  const toOther = other.send()
  other.published[0]!.refuse(new Error('disconnected'))
  await turn()
  Object.assign(other.stream, { epoch: 'f' })
  const next = other.session('two')
  await other.inFlight.lookFor(next)
  other.inFlight.repeat(next)
  t.equal(await codeOf(toOther), 'FST_WS_TOPICS_UNCERTAIN')

  const over = setUp()
  const [cut, given] = [over.send(), over.send()]
  over.end()
  over.published[0]!.refuse(new Error('disconnected'))
  t.equal(await codeOf(cut), 'FST_WS_TOPICS_UNCERTAIN')
  over.inFlight.giveUp(new Error('stopped'))
  t.equal(await codeOf(given), 'FST_WS_TOPICS_UNCERTAIN')
})
