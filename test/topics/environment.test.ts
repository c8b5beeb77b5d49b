import { test } from 'tap'
import { NODE, parseTime, randomTag, wallClock } from '../../lib/topics/environment.ts'

test('a tag has eight letters and digits, as the numbers say', t => {
  t.equal(randomTag(() => 0), '00000000')
  t.equal(randomTag(() => 0.999_999), 'zzzzzzzz')
  t.match(randomTag(NODE.random), /^[0-9a-z]{8}$/)
  t.end()
})

test('time goes on, and what is scheduled comes unless it is cancelled', async t => {
  const before = NODE.clock()
  let isCalled = false
  const cancel = NODE.schedule(() => { isCalled = true }, 0)
  cancel()
  await new Promise<void>(resolve => { NODE.schedule(resolve, 1, true) })
  t.equal(isCalled, false)
  t.ok(NODE.clock() > before)
})

test('times of others are compared with ours', t => {
  t.equal(parseTime('1970-01-01T00:00:01.500000001Z'), 1_500)
  t.ok(wallClock() > parseTime('2026-01-01T00:00:00Z'))
  t.end()
})
