import { test } from 'tap'
import { Fifo } from '../../lib/framing/fifo.ts'
import { integer, random } from '../helpers/random.ts'

test('what goes in first comes out first, whatever comes and goes in between', async t => {
  const next = random(7)
  const fifo = new Fifo<number>()
  const expected: number[] = []
  for (let i = 0; i < 20_000; i++) {
    if (next() < 0.55) {
      fifo.push(i)
      expected.push(i)
    } else if (next() < 0.98) {
      t.equal(fifo.peek(), expected[0])
      if (fifo.shift() !== expected.shift()) t.fail(`at ${i}`)
    } else {
      const from = integer(next, 0, expected.length)
      if (String(fifo.cut(from)) !== String(expected.splice(from))) t.fail(`at ${i}, from ${from}`)
    }
    if (fifo.length !== expected.length || fifo.isEmpty !== (expected.length === 0)) t.fail(`length at ${i}`)
  }
  t.strictSame([...fifo], expected)
  t.strictSame(fifo.cut(), expected)
  t.strictSame([fifo.isEmpty, fifo.peek(), fifo.shift()], [true, undefined, undefined])
})
