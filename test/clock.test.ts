import { test } from 'tap'
import { CLOCK } from '../lib/clock.ts'
import { ManualClock } from './helpers/manual-clock.ts'

test('the clock goes on, calls back in time, and not what was taken back', async t => {
  const begin = CLOCK.now()
  CLOCK.after(1, () => { t.fail('it was taken back') })()
  await new Promise<void>(resolve => { CLOCK.after(5, resolve) })
  t.ok(CLOCK.now() > begin)
})

test('the clock of tests calls back in order, and goes on by hand alone', t => {
  const clock = new ManualClock()
  const calls: unknown[] = []
  clock.after(20, () => { calls.push(['b', clock.now()]) })
  clock.after(10, () => {
    calls.push(['a', clock.now()])
    clock.after(5, () => { calls.push(['c', clock.now()]) })
  })
  const takeBack = clock.after(15, () => { t.fail('it was taken back') })
  takeBack()
  clock.advance(100)
  t.strictSame(calls, [['a', 10], ['c', 15], ['b', 20]])
  t.equal(clock.now(), 100)
  t.end()
})
