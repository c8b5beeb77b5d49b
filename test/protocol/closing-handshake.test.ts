import { test } from 'tap'
import { createClose, type Close } from '../../lib/protocol/close-payload.ts'
import { ClosingHandshake } from '../../lib/protocol/closing-handshake.ts'

const NOTHING: Close = { code: 1005, reason: Buffer.alloc(0) }

test('before any Close frame the handshake has not started, and the connection would end with 1006', async t => {
  const handshake = new ClosingHandshake()
  t.equal(handshake.sent, null)
  t.equal(handshake.received, null)
  t.equal(handshake.started, false)
  t.equal(handshake.complete, false)
  t.strictSame(handshake.outcome, { code: 1006, reason: Buffer.alloc(0), wasClean: false })
})

test('a Close frame sent and never answered ends the connection with 1006', async t => {
  const handshake = new ClosingHandshake()
  handshake.send(createClose(1000, 'bye'))
  t.strictSame(handshake.sent, { code: 1000, reason: Buffer.from('bye') })
  t.equal(handshake.received, null)
  t.equal(handshake.started, true)
  t.equal(handshake.complete, false)
  t.strictSame(handshake.outcome, { code: 1006, reason: Buffer.alloc(0), wasClean: false })
})

test('a Close frame received and not answered gives its code and reason, but was not clean', async t => {
  const handshake = new ClosingHandshake()
  handshake.receive(createClose(1001, 'away'))
  t.equal(handshake.sent, null)
  t.strictSame(handshake.received, { code: 1001, reason: Buffer.from('away') })
  t.equal(handshake.started, true)
  t.equal(handshake.complete, false)
  t.strictSame(handshake.outcome, { code: 1001, reason: Buffer.from('away'), wasClean: false })
})

test('the outcome is what the peer said, whoever began', async t => {
  const ours = createClose(1000, 'ours')
  const theirs = createClose(3001, 'theirs')
  const outcome = { code: 3001, reason: Buffer.from('theirs'), wasClean: true }

  const begunByUs = new ClosingHandshake()
  begunByUs.send(ours)
  begunByUs.receive(theirs)
  t.equal(begunByUs.complete, true)
  t.strictSame(begunByUs.outcome, outcome)

  const begunByThem = new ClosingHandshake()
  begunByThem.receive(theirs)
  begunByThem.send(ours)
  t.equal(begunByThem.complete, true)
  t.strictSame(begunByThem.outcome, outcome)
})

test('a Close frame without a code ends the connection cleanly with 1005', async t => {
  const handshake = new ClosingHandshake()
  handshake.send(createClose(1000))
  handshake.receive(NOTHING)
  t.strictSame(handshake.outcome, { code: 1005, reason: Buffer.alloc(0), wasClean: true })
})

test('only the first Close frame of each side counts', async t => {
  const handshake = new ClosingHandshake()
  handshake.send(createClose(1000, 'first'))
  handshake.send(createClose(1011, 'second'))
  handshake.receive(NOTHING)
  handshake.receive(createClose(1002, 'late'))
  t.strictSame(handshake.sent, { code: 1000, reason: Buffer.from('first') })
  t.strictSame(handshake.received, NOTHING)
  t.strictSame(handshake.outcome, { code: 1005, reason: Buffer.alloc(0), wasClean: true })
})
