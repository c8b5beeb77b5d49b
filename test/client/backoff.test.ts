import { test } from 'tap'
import { Backoff } from '../../lib/client/backoff.ts'
import { random } from '../helpers/random.ts'

const SETTINGS = { min: 1_000, max: 30_000, factor: 2 }

test('a delay is chance times the limit, which grows by the factor up to max', t => {
  const chance = random(1)
  const backoff = new Backoff(SETTINGS, random(1))
  for (const limit of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    t.equal(backoff.next(null), Math.round(chance() * limit))
  }
  backoff.reset()
  t.equal(backoff.next(null), Math.round(chance() * 1_000))
  t.end()
})

test('a limit that has become Infinity is max', t => {
  const backoff = new Backoff({ ...SETTINGS, factor: 1e200 }, () => 0.5)
  t.strictSame([1, 2, 3, 4].map(() => backoff.next(null)), [500, 15_000, 15_000, 15_000])
  t.end()
})

test('what a server asks for is the least, and chance comes on top: up to half of it, or the limit where that is more', t => {
  t.equal(new Backoff(SETTINGS, () => 0).next(20_000), 20_000)
  t.equal(new Backoff(SETTINGS, () => 0.5).next(20_000), 25_000)
  t.equal(new Backoff(SETTINGS, () => 0.5).next(0), 500, 'never less than the backoff')
  t.equal(new Backoff(SETTINGS, () => 0.5).next(1_000), 1_500)
  t.end()
})
