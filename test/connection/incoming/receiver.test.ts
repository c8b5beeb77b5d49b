// Bytes in, calls of the owner out.
import { Duplex } from 'node:stream'
import { test } from 'tap'
import { MessageReader } from '../../../lib/connection/incoming/message-reader.ts'
import { Receiver, type ReceiverOwner, type ReceiverSettings } from '../../../lib/connection/incoming/receiver.ts'
import { ConnectionClosedError } from '../../../lib/errors.ts'
import { MessageDecoder } from '../../../lib/messages/message-decoder.ts'
import type { Transport } from '../../../lib/transport/transport.ts'
import { turn } from '../../helpers/app.ts'
import { clientFrame, closePayload } from '../../helpers/frames.ts'
import { close, numbered, ping, text } from '../../helpers/raw-client.ts'

const SETTINGS: ReceiverSettings = {
  role: 'server', maxPayload: 1000, highWaterMark: 64 * 1024, messageConcurrency: Infinity, holdTimeout: Infinity, perMessageDeflate: false
}
const pong = (payload: string): Buffer => clientFrame({ opcode: 10, payload })
const UNMASKED = clientFrame({ opcode: 1, payload: 'x', mask: null })
const FIRST = clientFrame({ opcode: 1, payload: 'a', fin: false })

/** A Receiver that is asked as a Connection asks; `calls` are what its owner is told. */
function setUp (settings: Partial<ReceiverSettings> = {}, { begins = true } = {}) {
  const calls: string[] = []
  const state = { wanted: 0, mayRead: true, onMessage: (_text: string): Promise<unknown> | null => null, onInvalidMessage: (): Promise<unknown> | boolean => false, onPing: () => {} }
  const word = (said: unknown): string => said === null ? 'end' : said instanceof Error ? String((said as Error & { code: string }).code) : String((said as { code: number }).code)
  const owner: ReceiverOwner = {
    mayRead: () => state.mayRead,
    onReady () {
      state.wanted++
      if (!receiver.isReading) receiver.read()
    },
    onMessage ({ data }) {
      calls.push(String(data))
      return state.onMessage(String(data))
    },
    onInvalidMessage (error) {
      calls.push(`invalid ${word(error)}`)
      return state.onInvalidMessage()
    },
    onPing (payload) {
      calls.push(`ping ${payload}`)
      state.onPing()
    },
    onPong (payload) { calls.push(`pong ${payload}`) },
    onFarewell (said) { calls.push(`farewell ${word(said)}`) },
    onTakenOn () { calls.push('taken on') },
    onClose (said) { calls.push(`close ${word(said)}`) },
    onEnd () { calls.push('end') },
    onFailure (error) { calls.push(`failure ${word(error)}`) },
    onInternalError (error) { calls.push(`internal ${String(error)}`) },
    closedError: message => new ConnectionClosedError(message),
    onNobody () { calls.push('nobody') }
  }
  const stream = new Duplex({ read () {} })
  const receiver = new Receiver({ ...SETTINGS, ...settings }, owner)
  receiver.open({ stream, ownsChunks: true } as unknown as Transport, null)
  if (begins) receiver.begin()
  return {
    calls,
    state,
    stream,
    receiver,
    /** All frames in one chunk. */
    receive: (...frames: Buffer[]): void => {
      receiver.feed(Buffer.concat(frames))
      receiver.read()
    },
    /** What the owner was told since the last call. */
    since: (): string[] => calls.splice(0)
  }
}

function readerOf (receiver: Receiver): MessageReader {
  return receiver.delivery.claim(owner => new MessageReader(owner))
}

test('messages go to listeners in the order of their bytes, however those are cut', async t => {
  const { calls, receiver } = setUp()
  receiver.delivery.onListeners(true)
  const bytes = Buffer.concat([text('a'), FIRST, ping('p'), clientFrame({ opcode: 0, payload: 'b' }), text('')])
  for (const byte of bytes) {
    receiver.feed(Buffer.from([byte]))
    receiver.read()
  }
  t.strictSame(calls, ['a', 'ping p', 'ab', ''])
  t.strictSame(receiver.counts, { messages: 3, bytes: bytes.length, held: 0 })
})

test('who wants messages before begin() causes no reading of its own, and afterwards one for many calls', async t => {
  const { state, receiver } = setUp({}, { begins: false })
  receiver.delivery.onListeners(true)
  await turn()
  t.equal(state.wanted, 0)
  receiver.begin()
  for (let i = 0; i < 2; i++) receiver.delivery.onListeners(true)
  await turn()
  t.equal(state.wanted, 1)
})

test('a Ping and a Pong are told at once, before messages that wait for somebody', async t => {
  const { since, receiver, receive } = setUp()
  receive(text('a'), ping('1'), text('b'), pong('2'))
  t.strictSame(since(), ['ping 1', 'pong 2'])
  t.strictSame([receiver.isHolding, receiver.isDone], [true, false])
  receiver.delivery.onListeners(true)
  t.strictSame(since(), [], 'not inside of the call that attaches a listener')
  await turn()
  t.strictSame(since(), ['a', 'b'])
  t.strictSame([receiver.isHolding, receiver.isDone], [false, true])
})

// the peer's last word, what is told at once, and what in its turn
const FAREWELLS: Array<[title: string, say: (setUp: { receiver: Receiver, receive: (...frames: Buffer[]) => void }) => void, atOnce: string, inTurn: string]> = [
  ['a Close', ({ receive }) => { receive(text('b'), close(1000)) }, 'farewell 1000', 'close 1000'],
  ['a Close that tells of a failure', ({ receive }) => { receive(text('b'), close(1011)) }, 'farewell 1011', 'close 1011'],
  ['a frame that breaks the protocol', ({ receive }) => { receive(text('b'), UNMASKED) }, 'farewell WS_ERR_EXPECTED_MASK', 'failure WS_ERR_EXPECTED_MASK'],
  ['a Close frame that is wrong', ({ receive }) => { receive(text('b'), clientFrame({ opcode: 8, payload: closePayload(1005) })) }, 'farewell WS_ERR_INVALID_CLOSE_CODE', 'failure WS_ERR_INVALID_CLOSE_CODE'],
  ['the end of the stream', ({ receiver, receive }) => {
    receive(text('b'))
    receiver.end()
    receiver.read()
  }, 'farewell end', 'end']
]
for (const [title, say, atOnce, inTurn] of FAREWELLS) {
  test(`${title} is told at once, and has its turn behind the messages before it`, async t => {
    const the = setUp()
    the.receive(text('a'))
    say(the)
    t.strictSame(the.since(), [atOnce])
    the.receiver.delivery.onListeners(true)
    await turn()
    t.strictSame(the.since(), ['taken on', 'a', 'taken on', 'b', inTurn])
  })
}

test('what comes behind a frame that breaks the protocol is ignored', async t => {
  const { calls, receiver, receive } = setUp()
  receiver.delivery.onListeners(true)
  receive(text('a'), FIRST, UNMASKED, text('b'), ping())
  receive(text('c'))
  receiver.end()
  t.strictSame(calls, ['a', 'farewell WS_ERR_EXPECTED_MASK', 'failure WS_ERR_EXPECTED_MASK'])
})

test('ignoreInput() reads on and drops what comes; what waits has its turn', async t => {
  const { since, receiver, receive, stream } = setUp({ highWaterMark: 1 })
  receive(text('a'))
  t.equal(stream.isPaused(), true)
  receiver.ignoreInput()
  t.equal(stream.isPaused(), false, 'a socket that is closed with unread bytes drops what is on its way')
  receive(text('b'), ping())
  receiver.delivery.onListeners(true)
  await turn()
  t.strictSame(since(), ['a'])
})

test('pause() in the middle of a chunk keeps the rest, up to highWaterMark in messages and then as bytes', async t => {
  const { since, state, stream, receiver, receive } = setUp({ highWaterMark: 600 })
  receiver.delivery.onListeners(true)
  state.onMessage = text => {
    if (text === 'a') receiver.delivery.pause()
    return null
  }
  receive(text('a'), ping('1'), ...numbered('held ', 3).map(text), ping('2'), text('z'))
  t.strictSame(since(), ['a', 'ping 1'], 'with what they cost beside, three messages are more than 600 bytes')
  t.strictSame([receiver.delivery.isPaused, stream.isPaused()], [true, true])
  receiver.delivery.resume()
  t.strictSame(since(), [])
  await turn()
  t.strictSame(since(), ['held 0', 'held 1', 'held 2', 'ping 2', 'z'])
  t.strictSame([receiver.delivery.isPaused, stream.isPaused()], [false, false])
})

test('nothing is read while there is no room for the answers', async t => {
  const { since, state, stream, receiver, receive } = setUp()
  receiver.delivery.onListeners(true)
  state.mayRead = false
  receive(ping('1'), text('a'))
  t.strictSame([since(), stream.isPaused()], [[], true])
  state.mayRead = true
  receiver.read()
  t.strictSame([since(), stream.isPaused()], [['ping 1', 'a'], false])
})

test('who has used up a turn of the event loop goes on in the next', async t => {
  const { calls, state, receiver, receive } = setUp()
  let frames = 0
  state.onPing = () => {
    if (++frames !== 100) return
    const end = performance.now() + 5
    while (performance.now() < end);
  }
  receive(...numbered('', 200).map(ping))
  t.equal(calls.length, 128, 'the clock is looked at once in 64 frames')
  t.equal(receiver.isDone, false)
  await turn()
  t.strictSame(calls, numbered('ping ', 200))
  t.equal(receiver.isDone, true)
})

test('a reader gets what is held, one message for each time that it asks, and the Close waits while it is busy', async t => {
  const { since, receiver, receive } = setUp()
  receive(text('a'), text('b'), close(1000))
  const reader = readerOf(receiver)
  t.throws(() => readerOf(receiver), { code: 'WS_ERR_READER_BUSY' })
  since()
  t.match(await reader.next(), { data: Buffer.from('a'), isBinary: false })
  t.match(await reader.next(), { data: Buffer.from('b') })
  await turn()
  t.strictSame(since(), ['taken on', 'taken on'])
  const last = reader.next()
  await turn()
  t.strictSame(since(), ['close 1000'])
  reader.end(null)
  t.equal(await last, null)
})

test('once the handler is done, a message that nobody takes is discarded, and the Close has its turn', async t => {
  const { since, receiver, receive } = setUp()
  receive(text('a'), close(1000))
  since()
  receiver.delivery.handlerSettled()
  await turn()
  t.strictSame(since(), ['close 1000'])
})

test('a handler of whom nothing is seen is waited for during holdTimeout', async t => {
  const { calls, receiver, receive } = setUp({ holdTimeout: 5 })
  receive(text('a'), close(1000))
  while (receiver.isHolding) await turn()
  t.strictSame(calls, ['farewell 1000', 'nobody', 'close 1000'])
})

test('a message over maxPayload fails the connection for a listener, and waits for whoever may yet want it as a stream', async t => {
  const large = text('x'.repeat(1001))
  const listening = setUp()
  listening.receiver.delivery.onListeners(true)
  listening.receive(large)
  t.strictSame(listening.calls, ['farewell WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', 'failure WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'])
  const undecided = setUp()
  undecided.receive(large)
  t.strictSame([undecided.calls, undecided.stream.isPaused()], [[], true])
  undecided.receiver.delivery.handlerSettled()
  await turn()
  t.strictSame(undecided.calls, listening.calls)
})

test('after discardMessages() frames are read and messages are nobody\'s', async t => {
  const { since, receiver, receive } = setUp()
  receiver.delivery.onListeners(true)
  receiver.delivery.pause()
  receive(text('a'))
  receiver.discardMessages()
  receive(text('b'), ping('1'), close(1000))
  t.strictSame(since(), ['ping 1', 'farewell 1000', 'close 1000'])
})

test('after clear() nothing that waits or comes is told', async t => {
  const { since, receiver, receive } = setUp()
  receive(text('a'), close(1000))
  since()
  receiver.clear()
  receive(ping('1'), text('b'))
  receiver.end()
  receiver.delivery.onListeners(true)
  await turn()
  t.strictSame(since(), [])
})

test('an error that is not the peer\'s is told as that', async t => {
  const { calls, state, receiver, receive } = setUp()
  state.onPing = () => { throw new RangeError('out of memory') }
  receive(ping('1'))
  t.strictSame(calls, ['ping 1', 'internal RangeError: out of memory'])
  t.equal(receiver.isReading, false)
})

// Messages that have a decoder

const decoder = new MessageDecoder(JSON.parse, value => {
  if (value === 'oops') throw new TypeError('oops')
  return value
})

/** `calls` beside what a reader was given. */
function setUpDecoding (onInvalidMessage: () => Promise<unknown> | boolean) {
  const all = setUp({ decoder })
  all.state.onInvalidMessage = onInvalidMessage
  all.receiver.delivery.onListeners(true)
  return all
}

test('a message is decoded when it is delivered, and what fails has its turn as what breaks the protocol', async t => {
  const { calls, receive } = setUpDecoding(() => false)
  receive(text('1'), text('nope'), text('2'), close(1000))
  t.strictSame(calls, ['1', 'invalid FST_WS_JSON', 'farewell FST_WS_JSON', 'failure FST_WS_JSON'])
})

test('after an answer that is made at once the next message has its turn', async t => {
  const { calls, receive } = setUpDecoding(() => true)
  receive(text('1'), text('nope'), text('2'))
  t.strictSame(calls, ['1', 'invalid FST_WS_JSON', '2'])
})

test('while an answer is made messages and the Close wait', async t => {
  let settle!: () => void
  const { calls, receive } = setUpDecoding(() => new Promise<void>(resolve => { settle = resolve }))
  receive(text('nope'), text('2'), close(1000))
  t.strictSame(calls, ['invalid FST_WS_JSON', 'farewell 1000'])
  settle()
  await turn()
  t.strictSame(calls.slice(2), ['taken on', '2', 'close 1000'])
})

test('what a validator throws is no fault of the peer', async t => {
  const { calls, receive } = setUpDecoding(() => false)
  receive(text('"oops"'), text('2'))
  t.strictSame(calls, ['internal TypeError: oops', '2'], 'its owner ends the connection')
})

test('a reader that asks is given what is held and can be decoded at once; what cannot is told in a later turn', async t => {
  const { calls, receiver, receive, state } = setUp({ decoder })
  state.onInvalidMessage = () => true
  receive(text('1'), text('2'), text('nope'), text('3'))
  const reader = readerOf(receiver)
  t.match(await reader.next(), { data: 1 })
  const second = reader.next()
  t.match(await second, { data: 2 })
  const third = reader.next()
  t.strictSame(calls, [])
  t.match(await third, { data: 3 })
  t.strictSame(calls, ['invalid FST_WS_JSON'])
})
