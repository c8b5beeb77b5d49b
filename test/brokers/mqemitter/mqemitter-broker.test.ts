// mqemitter, and what the others of its kind may make of a message. What all brokers do is in test/contract/broker.ts.
import mqemitter from 'mqemitter'
import { test } from 'tap'
import { mqemitterBroker, type Emitter, type MqemitterBrokerOptions } from '../../../lib/brokers/mqemitter/index.ts'
import { bodyOf, PLAIN, Recorder, RULE, started } from '../../contract/broker.ts'
import { startTopics, take } from '../../helpers/topics.ts'

test('options that are wrong are named', t => {
  const wrong = (options: unknown, message: RegExp): void => {
    t.throws(() => mqemitterBroker(options as MqemitterBrokerOptions), { name: 'TypeError', code: 'FST_WS_TOPICS_OPTION', message })
  }
  wrong(null, /emitter of mqemitterBroker\(\) must be an mqemitter/)
  wrong({ emitter: {} }, /not object/)
  wrong({ emitter: mqemitter(), prefix: 'a/b' }, /prefix .* not "a\/b"/)
  t.end()
})

test('the topics of an app travel by it: not numbered, so nothing is recovered', async t => {
  const emitter = mqemitter()
  const [a, b] = [await startTopics(t, { broker: mqemitterBroker({ emitter }) }), await startTopics(t, { broker: mqemitterBroker({ emitter }) })]
  const [one, other] = [await a.enter(), await b.enter()]
  t.strictSame(await one.connection.subscribe('room', { since: 'epoch.1.tag' }), { recovered: false, position: null })
  await other.connection.subscribe('room')
  await one.connection.publish('room', 'of one')
  t.strictSame(await b.topics.publish('room', 'of b'), { position: null })
  t.strictSame(await take(one.client, 1), ['of b'])
  t.strictSame(await take(other.client, 2), ['of one', 'of b'])
})

test('a message is known again as MessagePack, BSON or JSON leave it; anything else is dropped', async t => {
  const emitter = mqemitter()
  const broker = mqemitterBroker({ emitter, prefix: 'own' })
  const host = await started(t, broker, 'a')
  await broker.subscribe(['a'])
  const topic = `own/${Buffer.from('a').toString('base64url')}`
  const body = bodyOf('a', 'x')
  const bytes = new Uint8Array([0, ...body, 0]).subarray(1, -1)
  for (const form of [null, undefined, 'x', {}, { type: 'Buffer' }, bytes, { buffer: bytes }, { buffer: body }, JSON.parse(JSON.stringify(body)) as unknown, body]) {
    emitter.emit({ topic, body: form })
  }
  t.strictSame(host.delivered.map(([, , payload]) => payload), ['x', 'x', 'x', 'x', 'x'])
})

test('what an emitter says no to rejects; what a host throws does not get to it', async t => {
  const refused = new Error('refused')
  const listeners: Array<(message: unknown, done: () => void) => void> = []
  let refuse = true
  const emitter: Emitter = {
    on: (_topic: string, listener: (message: never, done: () => void) => void, done?: (error?: Error) => void) => {
      listeners.push(listener as never)
      done?.(refuse ? refused : undefined)
    },
    removeListener: (_topic: string, _listener: unknown, done?: (error?: Error) => void) => { done?.(refused) },
    emit: (_message: never, done?: (error?: Error) => void) => { done?.(refuse ? refused : undefined) }
  }
  const broker = mqemitterBroker({ emitter })
  const host = Object.assign(new Recorder(), { deliver: () => { throw refused } })
  await broker.start(host, 'a')
  await t.rejects(broker.publish('a', bodyOf('a', ''), PLAIN), refused)
  await t.rejects(broker.subscribe(['a']), refused)
  broker.unsubscribe(['a'])
  refuse = false
  t.equal(await broker.publish('a', bodyOf('a', ''), RULE), null)
  await broker.subscribe(['a'])
  await broker.subscribe(['a'])
  t.equal(listeners.length, 2)
  let isDone = 0
  for (const listener of listeners) listener({ body: bodyOf('a', '') }, () => { isDone++ })
  t.equal(isDone, 2)
  t.strictSame(host.errors, [refused])
  broker.unsubscribe(['a'])
  await host.until(() => host.errors.length === 2)
  await broker.stop()
})
