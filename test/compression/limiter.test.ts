import { test } from 'tap'
import { Limiter } from '../../lib/compression/limiter.ts'
import { gate, turn } from '../helpers/app.ts'

test('so many jobs run at a time, in order, also when one fails', async t => {
  const limiter = new Limiter(2)
  const gates = Array.from({ length: 5 }, () => gate())
  const started: number[] = []
  const jobs = gates.map(async ({ opened }, i) => limiter.run(async () => {
    started.push(i)
    await opened
    if (i === 1) throw new Error('failed')
    return i
  }))
  const failed = t.rejects(jobs[1]!, { message: 'failed' })
  await turn()
  t.strictSame(started, [0, 1])
  gates[1]!.open()
  await failed
  await turn()
  t.strictSame(started, [0, 1, 2])
  for (const { open } of gates) open()
  t.strictSame(await Promise.all(jobs.filter((_, i) => i !== 1)), [0, 2, 3, 4])
  t.equal(await limiter.run(async () => 'again'), 'again')
})

test('after a wave of jobs there is room for as many as before, and no more', async t => {
  const limiter = new Limiter(2)
  for (let wave = 1; wave <= 3; wave++) {
    const gates = Array.from({ length: 5 }, () => gate())
    const started: number[] = []
    const jobs = gates.map(({ opened }, i) => limiter.run(() => {
      started.push(i)
      return opened
    }))
    for (let i = 0; i < gates.length; i++) {
      await turn()
      t.strictSame(started, [0, 1, 2, 3, 4].slice(0, i + 2), `wave ${wave}`)
      gates[i]!.open()
    }
    await Promise.all(jobs)
  }
})

test('all who want the same limit for the same jobs share it', async t => {
  t.equal(Limiter.of('a', 3), Limiter.of('a', 3))
  t.not(Limiter.of('a', 3), Limiter.of('a', 4))
  t.not(Limiter.of('a', 3), Limiter.of('b', 3))
})
