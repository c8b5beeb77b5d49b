import { test } from 'tap'
import { AnsweringAudience } from '../../../lib/connection/incoming/answering-audience.ts'
import type { Verdict } from '../../../lib/connection/incoming/audience.ts'
import { MessageReader } from '../../../lib/connection/incoming/message-reader.ts'

const waiting = (): MessageReader => {
  const reader = new MessageReader({ onWait () {}, onRelease () {} })
  reader.next().catch(() => {})
  return reader
}

test('while an answer is made nobody takes a message, and the Close waits where it waits for anybody', async t => {
  const table: Array<[Partial<AnsweringAudience>, Verdict, boolean]> = [
    [{ hasListeners: true }, 'hold', true],
    [{ reader: waiting() }, 'hold', true],
    [{ expectsConsumer: false }, 'hold', true],
    [{ hasListeners: true, waitsForReader: false }, 'hold', false],
    [{ hasListeners: true, discards: true }, 'discard', false],
    [{ hasListeners: true, isPaused: true }, 'hold', true]
  ]
  for (const [state, verdict, mayAnswer] of table) {
    const audience = Object.assign(new AnsweringAudience(Infinity), state, { isAnswering: true })
    t.strictSame([audience.verdict, audience.mayAnswer], [verdict, mayAnswer], JSON.stringify(state))
  }
})

test('otherwise it is an audience like any other', async t => {
  const audience = Object.assign(new AnsweringAudience(1), { hasListeners: true })
  t.strictSame([audience.verdict, audience.mayAnswer], ['deliver', false])
  audience.unsettled = 1
  t.strictSame([audience.verdict, audience.mayAnswer], ['hold', true])
})
