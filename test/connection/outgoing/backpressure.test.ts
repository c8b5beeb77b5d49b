import { test } from 'tap'
import { Backpressure } from '../../../lib/connection/outgoing/backpressure.ts'
import { turn } from '../../helpers/app.ts'

test('a sender is told to wait from highWaterMark on, until all is out', async t => {
  const backpressure = new Backpressure(10)
  t.equal(backpressure.sent(9), true)
  t.equal(backpressure.sent(10), false)
  t.equal(backpressure.sent(5), false, 'less than that is not enough')
  t.equal(backpressure.mustWait, true)
  const resolved: unknown[] = []
  for (let i = 0; i < 2; i++) void backpressure.wait().then(mayGoOn => { resolved.push(i, mayGoOn) })
  await turn()
  t.strictSame(resolved, [])
  backpressure.drained()
  backpressure.tell(true)
  await turn()
  t.strictSame(resolved, [0, true, 1, true])
  void backpressure.wait().then(mayGoOn => { resolved.push(mayGoOn) })
  backpressure.tell(false)
  await turn()
  t.equal(resolved.at(-1), false, 'it will never be out')
  t.equal(backpressure.sent(9), true)
})

test('exceeded is what no sender has unsent that waits when it is told to', async t => {
  const backpressure = new Backpressure(10)
  backpressure.sent(9)
  t.strictSame([20, 21].map(unsent => backpressure.isExceededBy(unsent)), [false, true])
  backpressure.sent(1000)
  t.strictSame([1000, 1001].map(unsent => backpressure.isExceededBy(unsent)), [false, true], 'one large message')
  backpressure.sent(1500)
  t.equal(backpressure.isExceededBy(1500), true, 'which it should not have sent')
  backpressure.drained()
  t.strictSame([20, 21].map(unsent => backpressure.isExceededBy(unsent)), [false, true], 'once that is out it counts no more')
})
