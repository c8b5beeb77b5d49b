// A stream that is not as it should be, by answers of the test. What a real one does is in jetstream-broker.test.ts.
import { headers } from '@nats-io/transport-node'
import { test } from 'tap'
import { Layout } from '../../../lib/brokers/nats/layout.ts'
import { NO_STREAM, Refusal, Unavailable, type Session } from '../../../lib/brokers/nats/session.ts'
import { Stream } from '../../../lib/brokers/nats/stream.ts'

type Answers = Record<string, (question: Record<string, unknown>) => unknown>

const CREATED = '2026-11-29T06:52:22.043977274Z'

function start (answers: Answers, headTtl = 1_000): { stream: Stream, session: Session } {
  const ask = async (subject: string, question: object): Promise<unknown> => answers[subject.slice('$JS.API.STREAM.'.length).split('.ws1')[0]!]!(question as Record<string, unknown>)
  const session = { ask, send: async () => answers['send']!({}) } as unknown as Session
  return { session, stream: new Stream({ layout: new Layout('ws1'), size: 5, headTtl, storage: 'file', replicas: 1 }) }
}

const missing = (): never => { throw new Unavailable('stream not found', NO_STREAM) }

test('a stream that another has made meanwhile is looked at again; any other refusal is one', async t => {
  let asked = 0
  let config: Record<string, unknown> = {}
  const { stream, session } = start({
    INFO: () => asked++ === 0 ? missing() : { created: CREATED, config: { ...config, storage: 'memory' } },
    CREATE: question => {
      config = question
      throw new Refusal('name in use', 10_058)
    }
  })
  await stream.open(session)
  t.match([stream.epoch, asked], [/^\w+$/, 2])
  const gone = start({ INFO: missing, CREATE: () => { throw new Refusal('name in use', 10_058) } })
  await t.rejects(gone.stream.open(gone.session), { message: 'name in use' })
  const refused = start({ INFO: missing, CREATE: () => { throw new Refusal('no', 10_023) } })
  await t.rejects(refused.stream.open(refused.session), { message: 'no' })
  const away = start({ INFO: () => { throw new Unavailable('for now', 10_008) } })
  await t.rejects(away.stream.open(away.session), { code: 10_008 })
})

test('a stream that another is making is waited for', async t => {
  let asked = 0
  const answer = (): unknown => ({ created: ++asked === 1 ? '0001-01-01T00:00:00Z' : CREATED, config })
  let config: unknown = null
  const { stream, session } = start({ INFO: () => config === null ? missing() : answer(), CREATE: question => { config = question; return answer() } })
  await stream.open(session)
  const made = stream.epoch
  await stream.open(session)
  t.match([made, asked], [stream.epoch, 3])
  const never = start({ INFO: () => ({ created: '0001-01-01T00:00:00Z' }) })
  await t.rejects(never.stream.open(never.session), { message: 'the stream ws1-5 is being made' })
})

test('a head that lasts for ever has ten years', async t => {
  let config: Record<string, unknown> = {}
  const create = (question: Record<string, unknown>): object => {
    config = question
    return { created: CREATED, config }
  }
  const { stream, session } = start({ INFO: missing, CREATE: create }, Number.MAX_SAFE_INTEGER)
  await stream.open(session)
  t.match(config, { max_age: 10 * 365 * 86_400e9, duplicate_window: 120e9 })
})

test('an answer that is none is an error', async t => {
  const message = (given: object): Answers => ({ 'MSG.GET': () => ({ message: given }) })
  for (const answers of [{ INFO: () => ({}) }, { INFO: () => ({ created: CREATED }) }, { INFO: () => ({ created: 1, config: {} }) }]) {
    const { stream, session } = start(answers)
    await t.rejects(stream.open(session), { code: 'FST_WS_TOPICS_BROKER_ANSWER' })
  }
  for (const answers of [{ 'MSG.GET': () => ({}) }, message({ seq: 0 }), message({ seq: '' })]) {
    const { stream, session } = start(answers)
    await t.rejects(stream.last(session, 'a'), { code: 'FST_WS_TOPICS_BROKER_ANSWER' })
  }
  for (const seq of [0, undefined, 1.5]) {
    const { stream, session } = start({ send: () => ({ seq }) })
    await t.rejects(stream.publish(session, 'a', Buffer.alloc(0), headers()), { code: 'FST_WS_TOPICS_BROKER_ANSWER' })
  }
})

test('a message is read with or without header fields and a payload', async t => {
  const read = async (given: object): Promise<unknown> => {
    const { stream, session } = start({ 'MSG.GET': () => ({ message: { seq: 7, time: '1970-01-01T00:00:01.5Z', ...given } }) })
    return await stream.next(session, 'a', 7)
  }
  const fields = (lines: string[]): string => Buffer.from(['NATS/1.0', ...lines, '', ''].join('\r\n')).toString('base64')
  t.match(await read({ hdrs: fields(['Ws-Tag: abc', 'Other: x']), data: 'YQ==' }), { number: 7, tag: 'abc', time: 1_500, body: Buffer.from('a'), isMarker: false })
  t.match(await read({ hdrs: fields(['Other: x', 'Ws-Tag:abc', 'Ws-Head: 3.def']) }), { tag: 'abc', head: { number: 3, tag: 'def' }, isMarker: true, body: Buffer.alloc(0) })
  t.match(await read({ data: 'YQ==' }), { tag: /^\w+$/, isMarker: false })
  const { stream, session } = start({ 'MSG.GET': () => { throw new Refusal('no', 1) } })
  await t.rejects(stream.last(session, 'a'), { message: 'no' })
})

test('a stream is the same if it was made then, and has what has come', async t => {
  let info: Record<string, unknown> | null = null
  const { stream, session } = start({ INFO: () => info ?? missing(), CREATE: config => ({ created: CREATED, config }) })
  await stream.open(session)
  stream.take({ number: 5, tag: 'a' })
  t.equal(await stream.isSame(session), false)
  for (const [created, last, isSame] of [[CREATED, 5, true], [CREATED, 9, true], [CREATED, 4, false], ['2026-11-29T06:52:23Z', 5, false], [CREATED, undefined, false]] as const) {
    info = { created, state: { last_seq: last } }
    t.equal(await stream.isSame(session), isSame)
  }
})

test('numbers that go back, and another message of the same number, are none of one stream; the same once more is', t => {
  const { stream } = start({})
  const take = (number: number, tag: string): boolean => stream.take({ number, tag })
  t.strictSame([take(2, 'a'), take(2, 'a'), take(5, 'b'), take(2, 'a'), take(5, 'c'), take(6, 'd')], [true, true, true, false, false, true])
  t.end()
})
