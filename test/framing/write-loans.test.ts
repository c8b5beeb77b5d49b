import { test } from 'tap'
import { WriteLoans } from '../../lib/framing/write-loans.ts'

test('memory that has come back is lent again, the last first', async t => {
  const loans = new WriteLoans()
  const [first, second] = [loans.lend()!, loans.lend()!]
  t.equal(first.length, 64 * 1024)
  t.not(second.buffer, first.buffer)
  loans.takeBack(first)
  loans.takeBack(second)
  t.equal(loans.lend(), second)
  t.equal(loans.lend(), first)
})

test('4 MiB are lent at a time, and memory that somebody still uses is replaced', async t => {
  const loans = new WriteLoans()
  const lent = Array.from({ length: 64 }, () => loans.lend()!)
  t.equal(loans.lend(), null)
  loans.takeBack(lent[0]!, false)
  const other = loans.lend()!
  t.notOk(lent.includes(other))
  t.equal(loans.lend(), null)
})

test('memory that runs out counts as nobody\'s', async t => {
  const loans = new WriteLoans()
  const failing = t.intercept(Buffer, 'allocUnsafeSlow', { value () { throw new RangeError('Array buffer allocation failed') } })
  for (let i = 0; i < 100; i++) t.throws(() => { loans.lend() }, RangeError)
  failing.restore()
  t.not(loans.lend(), null)
})
