import { test } from 'tap'
import { MessageSlot } from '../../../lib/connection/outgoing/message-slot.ts'
import { BINARY, CONTINUATION, TEXT } from '../../../lib/protocol/opcode.ts'

function setUp () {
  const sent: unknown[] = []
  const slot = new MessageSlot(TEXT, (opcode, fin, payload) => { sent.push([opcode, fin, String(payload)]) })
  return { sent, slot }
}

/** Whether a promise is settled already. */
async function isSettled (promise: Promise<unknown>): Promise<boolean> {
  return await Promise.race([promise.then(() => true), new Promise<false>(resolve => { setImmediate(resolve, false) })])
}

test('a message has its turn when the queue runs it, and what is behind waits until its last fragment', async t => {
  const { sent, slot } = setUp()
  t.equal(await isSettled(slot.turn), false)
  const done = slot.run()
  t.equal(await isSettled(slot.turn), true)
  slot.send(Buffer.from('a'), false, () => {})
  slot.send(Buffer.from('b'), false, () => {})
  t.strictSame([slot.isHalf, await isSettled(done)], [true, false])
  slot.send(Buffer.from('c'), true, () => {})
  t.strictSame([slot.isHalf, await isSettled(done)], [false, true])
  t.strictSame(sent, [[TEXT, false, 'a'], [CONTINUATION, false, 'b'], [CONTINUATION, true, 'c']])
})

test('a message in one piece is a frame of its own', async t => {
  const { sent, slot } = setUp()
  void slot.run()
  slot.send(Buffer.from('a'), true, () => {})
  t.strictSame([sent, slot.isHalf], [[[TEXT, true, 'a']], false])
})

test('who leaves its place lets go what waits behind it', async t => {
  const { sent, slot } = setUp()
  const done = slot.run()
  slot.leave()
  await done
  t.strictSame([sent, slot.isHalf], [[], false])
})

test('a place that is cut has no turn to wait for, and tells so at once; one that was cut before, in a later tick', async t => {
  const calls: string[] = []
  const { slot } = setUp()
  slot.whenCut(() => { calls.push('cut') })
  slot.onCut()
  t.strictSame(calls, ['cut'])
  await Promise.all([slot.turn, slot.run()])

  const gone = MessageSlot.cut(BINARY)
  const told = new Promise<void>(resolve => {
    gone.whenCut(() => {
      calls.push('later')
      resolve()
    })
  })
  t.strictSame(calls, ['cut'])
  await Promise.all([told, gone.turn])
})
