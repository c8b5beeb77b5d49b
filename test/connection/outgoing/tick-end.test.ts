import { test } from 'tap'
import { tellAtTickEnd } from '../../../lib/connection/outgoing/tick-end.ts'

const nextTurn = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

test('listeners are told at the end of the tick, in order and once', async t => {
  const told: number[] = []
  for (let i = 0; i < 3; i++) tellAtTickEnd({ onTickEnd () { told.push(i) } })
  t.strictSame(told, [])
  await nextTurn()
  t.strictSame(told, [0, 1, 2])
})

test('who comes while others are told is told in a later tick', async t => {
  const told: string[] = []
  const again = { onTickEnd () { told.push('again') } }
  tellAtTickEnd({
    onTickEnd () {
      told.push('first')
      process.nextTick(() => { told.push('tick') })
      tellAtTickEnd(again)
    }
  })
  tellAtTickEnd({ onTickEnd () { told.push('second') } })
  await nextTurn()
  t.strictSame(told, ['first', 'second', 'tick', 'again'])
})

test('one that throws does not keep the others from being told', async t => {
  const told: number[] = []
  const thrown: unknown[] = []
  process.setUncaughtExceptionCaptureCallback(error => { thrown.push(error) })
  t.teardown(() => { process.setUncaughtExceptionCaptureCallback(null) })
  for (let i = 0; i < 5; i++) {
    tellAtTickEnd({
      onTickEnd () {
        if (i % 2 === 0) throw new Error(`${i}`)
        told.push(i)
      }
    })
  }
  await nextTurn()
  t.strictSame(told, [1, 3])
  t.strictSame(thrown.map(error => (error as Error).message), ['0', '2', '4'])
})
