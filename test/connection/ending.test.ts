import { test } from 'tap'
import { Ending, type EndingEvent, type Phase } from '../../lib/connection/ending.ts'
import { createClose, type Close } from '../../lib/protocol/close.ts'

const EVENTS: EndingEvent[] = ['open', 'farewell', 'close', 'answer', 'break', 'drop', 'lose', 'finish']

// By phase: how to get there, its readyState, and where each of EVENTS leads; '-' changes nothing.
const TABLE: Array<[Phase, EndingEvent[], number, string]> = [
  ['connecting', [], 0, 'open - - - - gone gone -'],
  ['open', ['open'], 1, '- leaving closing answered broken dropped gone -'],
  ['leaving', ['open', 'farewell'], 1, '- - closing answered broken dropped gone -'],
  ['closing', ['open', 'close'], 2, '- - - answered broken dropped gone -'],
  ['answered', ['open', 'answer'], 2, '- - - - broken dropped gone -'],
  ['broken', ['open', 'break'], 2, '- - - - - dropped gone -'],
  ['dropped', ['open', 'drop'], 2, '- - - - - - gone -'],
  ['gone', ['open', 'lose'], 2, '- - - - - - - closed'],
  ['closed', ['open', 'lose', 'finish'], 3, '- - - - - - - -']
]

for (const [phase, way, readyState, next] of TABLE) {
  test(`${phase}: readyState ${readyState}, and what each event makes of it`, async t => {
    for (const [i, event] of EVENTS.entries()) {
      const ending = new Ending()
      for (const step of way) t.equal(ending.move(step), true)
      t.strictSame([ending.phase, ending.readyState], [phase, readyState])
      const expected = next.split(' ')[i]!
      t.equal(ending.move(event), expected !== '-', event)
      t.equal(ending.phase, expected === '-' ? phase : expected, event)
    }
  })
}

test('nothing more comes from a peer that is done, and something may while our Close waits for its answer', async t => {
  const done = TABLE.filter(([, way]) => {
    const ending = new Ending()
    for (const step of way) ending.move(step)
    return ending.isPeerDone
  })
  t.strictSame(done.map(([phase]) => phase), ['answered', 'broken', 'dropped', 'gone', 'closed'])
})

const NOTHING = { code: 1005, reason: '' }
const closing = (code?: number, reason?: string): Close => createClose(code, reason)

// What was sent, what was received, in which order; what is said of it.
const INFOS: Array<[string, (ending: Ending) => void, object]> = [
  ['nothing', () => {}, { code: 1006, reason: '', wasClean: false, sent: null, cause: 'transport' }],
  ['ours alone', ending => { ending.send(closing(1000, 'bye')) }, { code: 1006, reason: '', wasClean: false, sent: { code: 1000, reason: 'bye' } }],
  ['theirs alone', ending => { ending.receive(closing(1001, 'away')) }, { code: 1001, reason: 'away', wasClean: false, sent: null }],
  ['ours, then theirs', ending => {
    ending.send(closing(1000, 'ours'))
    ending.receive(closing(3001, 'theirs'))
  }, { code: 3001, reason: 'theirs', wasClean: true, sent: { code: 1000, reason: 'ours' } }],
  ['both, but ours did not get out', ending => {
    ending.receive(closing(1000, 'theirs'))
    ending.send(closing(1000, 'theirs'))
    ending.cutOff()
  }, { code: 1000, reason: 'theirs', wasClean: false, sent: { code: 1000, reason: 'theirs' } }],
  ['theirs, then ours', ending => {
    ending.receive(closing(3001, 'theirs'))
    ending.send(closing(3001, 'theirs'))
  }, { code: 3001, reason: 'theirs', wasClean: true, sent: { code: 3001, reason: 'theirs' } }],
  ['neither with a code', ending => {
    ending.send(closing())
    ending.receive(closing())
  }, { ...NOTHING, wasClean: true, sent: NOTHING }],
  ['more than one of each', ending => {
    for (const code of [1000, 1011]) ending.send(closing(code))
    for (const code of [4000, 4001]) ending.receive(closing(code))
  }, { code: 4000, wasClean: true, sent: { code: 1000, reason: '' } }]
]

for (const [name, act, info] of INFOS) {
  test(`Close frames: ${name}`, async t => {
    const ending = new Ending()
    act(ending)
    t.match(ending.info, info)
  })
}

test('the first that is blamed for the end has begun it, and its close code counts until the peer has said its own', async t => {
  const ending = new Ending()
  t.strictSame([ending.hasBegun, ending.closeCode], [false, undefined])
  ending.blame('slow', 1013)
  ending.blame('transport', 1006)
  t.strictSame([ending.hasBegun, ending.closeCode, ending.info.cause], [true, 1013, 'slow'])
  ending.receive(closing(4000))
  t.equal(ending.closeCode, 4000)
})
