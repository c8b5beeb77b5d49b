import { channel } from 'node:diagnostics_channel'
import { test } from 'tap'
import { Reporter } from '../../lib/topics/reporter.ts'

const withCode = (code: string): Error => Object.assign(new Error(code), { code })

test('every error is counted and told on the channel, and one of a kind in ten seconds is logged', t => {
  let now = 0
  const topics = {}
  const told: unknown[] = []
  const listener = (message: unknown): void => { told.push(message) }
  channel('fastify-websocket-stream:topics-error').subscribe(listener)
  t.teardown(() => { channel('fastify-websocket-stream:topics-error').unsubscribe(listener) })
  const logged: object[] = []
  const reporter = new Reporter(topics, () => now)
  reporter.report(withCode('A')) // before there is a log
  reporter.log = { error: fields => { logged.push(fields) } }
  const errors = [withCode('B'), withCode('B'), withCode('C'), new TypeError('x'), 'text', 'other text', null]
  for (const error of errors) reporter.report(error)
  t.strictSame(logged, [{ err: errors[0], errors: 2 }, { err: errors[2], errors: 4 }, { err: errors[3], errors: 5 }, { err: 'text', errors: 6 }, { err: null, errors: 8 }])
  now = 9999
  reporter.report(withCode('B'))
  t.equal(logged.length, 5)
  now = 10_000
  reporter.report(withCode('B'))
  t.equal(logged.length, 6)
  t.equal(reporter.errors, 10)
  t.equal(told.length, 10)
  t.match(told[1], { topics, error: errors[0] })
  t.end()
})

test('a log that throws is no further error', t => {
  const reporter = new Reporter({}, () => 0)
  reporter.log = { error: () => { throw new Error('of the log') } }
  reporter.report(new Error('x'))
  t.equal(reporter.errors, 1)
  t.end()
})
