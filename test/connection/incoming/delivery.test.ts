// Messages in, calls of the owner out: who takes what, and what waits.
import { test } from 'tap'
import { Delivery, type DeliveryOwner, type DeliverySettings } from '../../../lib/connection/incoming/delivery.ts'
import { MessageReader } from '../../../lib/connection/incoming/message-reader.ts'
import { ConnectionClosedError, MessageError, type ProtocolError } from '../../../lib/errors.ts'
import type { Message } from '../../../lib/framing/message-assembler.ts'
import { type MessageDecoder, Undecodable } from '../../../lib/messages/message-decoder.ts'
import { gate, turn, type Gate } from '../../helpers/app.ts'

const message = (text: string): Message => ({ data: Buffer.from(text), isBinary: false })
const CLOSE = { type: 'close', close: { code: 1000, reason: Buffer.alloc(0) } } as const

function setUp (settings: Partial<DeliverySettings> = {}) {
  const calls: string[] = []
  const state = { onMessage: (_text: string): Promise<unknown> | null => null, onInvalidMessage: (): Promise<unknown> | boolean => false }
  const owner: DeliveryOwner = {
    onMessage ({ data }) {
      calls.push(String(data))
      return state.onMessage(String(data))
    },
    onInvalidMessage (error) {
      calls.push(`invalid ${error.code}`)
      return state.onInvalidMessage()
    },
    onTakenOn () { calls.push('taken on') },
    onClose ({ code }) { calls.push(`close ${code}`) },
    onEnd () { calls.push('end') },
    onFailure (error) { calls.push(`failure ${error.code}`) },
    onInternalError (error) { calls.push(`internal ${String(error)}`) },
    closedError: text => new ConnectionClosedError(text),
    onNobody () { calls.push('nobody') }
  }
  const delivery: Delivery = new Delivery({ messageConcurrency: Infinity, holdTimeout: Infinity, ...settings }, owner, {
    onWanted () { delivery.deliverHeld() },
    onReader () { calls.push('reader') },
    fail (error: ProtocolError) { calls.push(`fail ${error.code}`) }
  })
  return { delivery, state, since: (): string[] => calls.splice(0) }
}

test('what comes before anybody takes it is held, in its order, and the Close behind it', async t => {
  const { delivery, since } = setUp()
  delivery.take(message('a'))
  delivery.take(message('b'))
  delivery.takeWord(CLOSE)
  delivery.deliverHeld()
  t.strictSame(since(), [])
  t.equal(delivery.isEmpty, false)
  t.ok(delivery.heldBytes > 2)
  delivery.onListeners(true)
  t.strictSame(since(), ['a', 'b', 'close 1000'])
  t.equal(delivery.isEmpty, true)
  t.equal(delivery.heldBytes, 0)
})

test('pause() holds what comes, resume() lets it go, and expects nobody', async t => {
  const { delivery, since } = setUp()
  delivery.onListeners(true)
  delivery.pause()
  t.equal(delivery.isPaused, true)
  delivery.take(message('a'))
  t.strictSame(since(), [])
  delivery.resume()
  t.strictSame(since(), ['a'])
  delivery.onListeners(false)
  t.equal(delivery.verdict, 'discard')
  delivery.take(message('b'))
  t.strictSame(since(), [])
})

test('a reader is given one message for each time that it asks; there is one at a time, and its release makes room', async t => {
  const { delivery, since } = setUp()
  delivery.take(message('a'))
  const reader = delivery.claim(owner => new MessageReader(owner))
  t.throws(() => delivery.claim(owner => new MessageReader(owner)), { code: 'WS_ERR_READER_BUSY' })
  t.match(await reader.next(), message('a'))
  delivery.take(message('b'))
  t.equal(delivery.verdict, 'hold')
  reader.release()
  reader.release()
  t.strictSame(since(), ['reader', 'reader'], 'its release counts once')
  t.equal(delivery.reader, null)
  delivery.onListeners(true)
  t.strictSame(since(), ['b'])
})

test('with messageConcurrency the next message waits for the listeners of the one before, and so does the Close', async t => {
  const { delivery, state, since } = setUp({ messageConcurrency: 1 })
  const gates: Array<Gate<void>> = []
  state.onMessage = () => {
    gates.push(gate())
    return gates.at(-1)!.opened
  }
  delivery.onListeners(true)
  delivery.take(message('a'))
  delivery.take(message('b'))
  delivery.takeWord(CLOSE)
  delivery.hasFarewell = true
  t.strictSame(since(), ['a'])
  gates[0]!.open()
  await turn()
  t.strictSame(since(), ['taken on', 'b'])
  gates[1]!.open()
  await turn()
  t.strictSame(since(), ['close 1000'])
})

test('of whom nothing is seen is waited for during holdTimeout', async t => {
  const { delivery, since } = setUp({ holdTimeout: 5 })
  delivery.take(message('a'))
  delivery.deliverHeld()
  while (!delivery.isEmpty) await turn()
  t.strictSame(since(), ['nobody'])
})

test('once the handler is done nothing waits for it; discard() and clear() drop what waits', async t => {
  for (const end of ['handlerSettled', 'discard', 'clear'] as const) {
    const { delivery, since } = setUp()
    delivery.take(message('a'))
    delivery[end]()
    t.equal(delivery.isEmpty, true, end)
    t.strictSame(since(), [])
  }
})

test('a reader that must get all or an error gets an error for what it missed', async t => {
  const { delivery } = setUp()
  const reader = delivery.claim(owner => new MessageReader(owner))
  reader.keepsMessages = true
  delivery.discard()
  delivery.take(message('a'))
  await t.rejects(reader.next(), { name: 'ConnectionClosedError' })
})

test('the end of the stream and a failure have their turn behind messages too', async t => {
  const { delivery, since } = setUp()
  delivery.take(message('a'))
  delivery.takeWord({ type: 'end' })
  delivery.takeWord({ type: 'failure', error: new MessageError('FST_WS_JSON', 1007, 'no', Buffer.alloc(0)) })
  delivery.onListeners(true)
  t.strictSame(since(), ['a', 'end', 'failure FST_WS_JSON'])
})

test('what the decoder does not allow fails the connection, unless somebody takes it up; what is behind it waits for that', async t => {
  const decoder = {
    decode (given: Message) {
      const text = String(given.data)
      if (text === 'good') return given
      return new Undecodable(text === 'broken' ? new TypeError(text) : new MessageError('FST_WS_JSON', 1007, 'no', given.data))
    }
  } as unknown as MessageDecoder
  const { delivery, state, since } = setUp({ decoder })
  delivery.onListeners(true)
  delivery.take(message('broken'))
  t.strictSame(since(), ['internal TypeError: broken'])
  state.onInvalidMessage = () => true
  delivery.take(message('bad'))
  delivery.take(message('good'))
  t.strictSame(since(), ['invalid FST_WS_JSON', 'good'])
  const answer = gate<void>()
  state.onInvalidMessage = () => answer.opened
  delivery.take(message('bad'))
  delivery.take(message('good'))
  t.strictSame(since(), ['invalid FST_WS_JSON'])
  answer.open()
  await turn()
  t.strictSame(since(), ['good'])
  state.onInvalidMessage = () => false
  delivery.take(message('bad'))
  t.strictSame(since(), ['invalid FST_WS_JSON', 'fail FST_WS_JSON'])
})
