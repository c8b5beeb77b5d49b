import { test } from 'tap'
import { WriteSlab } from '../../lib/framing/write-slab.ts'

const KIB = 1024

test('a slab is lent to one at a time', async t => {
  const slab = new WriteSlab()
  t.not(slab.lend(), null)
  t.equal(slab.lend(), null)
  slab.takeBack(0)
  t.not(slab.lend(), null)
})

test('the same memory is lent again, without what somebody still refers to', async t => {
  const slab = new WriteSlab()
  const first = slab.lend()!
  slab.takeBack(0)
  t.equal(slab.lend(), first)
  slab.takeBack(100)
  const second = slab.lend()!
  t.equal(second.buffer, first.buffer)
  t.equal(second.byteOffset - first.byteOffset, 100)
  t.equal(second.length, first.length - 100)
  slab.takeBack(50)
  t.equal(slab.lend()!.byteOffset - first.byteOffset, 150)
})

test('there is room for 32 KiB at least: what is used up is left to those who refer to it', async t => {
  const slab = new WriteSlab()
  const memories = new Set<unknown>()
  for (let i = 0; i < 20; i++) {
    const lent = slab.lend()!
    memories.add(lent.buffer)
    t.ok(lent.length >= 32 * KIB)
    slab.takeBack(30 * KIB)
  }
  t.equal(memories.size, 10)
})

test('memory that runs out leaves nobody as the one who has it', async t => {
  const slab = new WriteSlab()
  const failing = t.intercept(Buffer, 'allocUnsafeSlow', { value () { throw new RangeError('Array buffer allocation failed') } })
  t.throws(() => { slab.lend() }, RangeError)
  failing.restore()
  t.not(slab.lend(), null)
})
