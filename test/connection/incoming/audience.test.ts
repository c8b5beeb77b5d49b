import { test } from 'tap'
import { Audience, type Verdict } from '../../../lib/connection/incoming/audience.ts'
import { MessageReader } from '../../../lib/connection/incoming/message-reader.ts'

type ReaderState = 'none' | 'waits' | 'busy' | 'ended' | 'unread stream'

interface State {
  discards?: boolean
  isPaused?: boolean
  reader?: ReaderState
  wantsPieces?: boolean
  hasListeners?: boolean
  unsettled?: number
  expectsConsumer?: boolean
  expectsReceive?: boolean
  waitsForReader?: boolean
}

function readerIn (state: ReaderState, wantsPieces: boolean): MessageReader | null {
  if (state === 'none') return null
  const reader = Object.assign(new MessageReader({ onWait () {}, onRelease () {} }), { wantsPieces })
  if (state !== 'unread stream') reader.next().catch(() => {})
  else reader.keepsMessages = true
  if (state === 'busy') reader.deliver({ data: Buffer.alloc(0), isBinary: true })
  if (state === 'ended') reader.end(null)
  return reader
}

function audienceIn ({ reader = 'none', wantsPieces = false, ...state }: State): Audience {
  return Object.assign(new Audience(2), { expectsConsumer: false }, state, { reader: readerIn(reader, wantsPieces) })
}

// who there is, the verdict, and whether the peer's Close waits for an answer
const TABLE: Array<[State, Verdict, mayAnswer: boolean]> = [
  [{ discards: true, isPaused: true, reader: 'waits', hasListeners: true, expectsConsumer: true, unsettled: 1 }, 'discard', false],
  [{ isPaused: true }, 'hold', false],
  [{ isPaused: true, reader: 'waits', hasListeners: true }, 'hold', false],
  [{ reader: 'waits' }, 'deliver', false],
  [{ reader: 'waits', hasListeners: true, wantsPieces: true }, 'deliver', false],
  [{ reader: 'busy' }, 'hold', true],
  [{ reader: 'busy', hasListeners: true }, 'hold', true],
  [{ reader: 'busy', waitsForReader: false }, 'discard', false],
  [{ reader: 'busy', waitsForReader: false, hasListeners: true }, 'deliver', false],
  [{ reader: 'busy', waitsForReader: false, hasListeners: true, wantsPieces: true }, 'discard', false],
  [{ reader: 'unread stream' }, 'hold', false],
  [{ reader: 'ended' }, 'discard', false],
  [{ reader: 'ended', hasListeners: true }, 'deliver', false],
  [{ reader: 'ended', expectsConsumer: true }, 'hold', false],
  [{ hasListeners: true }, 'deliver', false],
  [{ hasListeners: true, unsettled: 1 }, 'deliver', true],
  [{ hasListeners: true, unsettled: 2 }, 'hold', true],
  [{ hasListeners: true, unsettled: 2, waitsForReader: false }, 'hold', false],
  [{ hasListeners: true, unsettled: 2, reader: 'ended' }, 'deliver', false],
  [{ hasListeners: true, expectsReceive: true }, 'hold', true],
  [{ expectsReceive: true }, 'hold', true],
  [{ expectsReceive: true, waitsForReader: false }, 'discard', false],
  [{ expectsConsumer: true }, 'hold', false],
  [{}, 'discard', false]
]

for (const [state, verdict, mayAnswer] of TABLE) {
  test(`${JSON.stringify(state)}: ${verdict}${mayAnswer ? ', and an answer may come' : ''}`, async t => {
    const audience = audienceIn(state)
    t.equal(audience.verdict, verdict)
    t.equal(audience.mayAnswer, mayAnswer)
  })
}

test('who is missing is a consumer that was expected, and of whom nothing has been seen', async t => {
  t.equal(audienceIn({ expectsConsumer: true }).isMissing, true)
  const others: State[] = [{}, { isPaused: true }, { discards: true }, { hasListeners: true }, { reader: 'busy' }, { expectsReceive: true }]
  for (const state of others) t.equal(audienceIn({ expectsConsumer: true, ...state, ...(Object.keys(state).length === 0 ? { expectsConsumer: false } : {}) }).isMissing, false)
})
