import { Duplex } from 'node:stream'
import { test, type Test } from 'tap'
import { MessageWriter, type MessageWriterOwner, type MessageWriterSettings } from '../../../lib/connection/outgoing/message-writer.ts'
import { prepare, type PreparedMessage } from '../../../lib/connection/prepared-message.ts'
import { ConnectionClosedError } from '../../../lib/errors.ts'
import { BINARY, PING, TEXT } from '../../../lib/protocol/opcode.ts'
import type { ReadyState, SendCallback } from '../../../types/connection.ts'
import { memoryTransport, SETTINGS } from '../../helpers/memory.ts'

const TICK = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

/** A writer over a stream that takes a write when it is told to. */
function start (settings: Partial<MessageWriterSettings> = {}) {
  const written: Buffer[] = []
  const waiting: Array<() => void> = []
  const calls: string[] = []
  const stream = new Duplex({
    read () {},
    write (chunk: Buffer, _encoding, callback) {
      written.push(Buffer.from(chunk))
      waiting.push(callback)
    }
  })
  const owner = {
    readyState: 1 as ReadyState,
    closedError: (message: string) => new ConnectionClosedError(message),
    call: (callback: SendCallback, error?: Error) => { callback(error) },
    onSlow: () => { calls.push('slow') },
    onAllOut: () => { calls.push('all out') },
    onMessageEnd: () => { calls.push('message end') },
    onWritten: (callbacks: SendCallback[]) => {
      for (const callback of callbacks) callback()
      writer.onWritten()
    },
    onUnsendable: (error: Error) => { throw error }
  } satisfies MessageWriterOwner
  const writer = new MessageWriter({ ...SETTINGS, highWaterMark: 100, maxBufferedAmount: 1000, ...settings }, owner)
  stream.on('drain', () => { writer.sender.flush() })
  return {
    writer,
    owner,
    calls,
    stream,
    open: () => writer.open(memoryTransport(stream), null),
    /** What was written since, as hexadecimal digits. */
    written: () => Buffer.concat(written.splice(0)).toString('hex'),
    /** Lets the stream take all. */
    take: async () => {
      for (let go = waiting.shift(); go !== undefined; go = waiting.shift()) {
        go()
        await TICK()
      }
    }
  }
}

type Line = ReturnType<typeof start>
const open = (settings?: Partial<MessageWriterSettings>): Line => {
  const line = start(settings)
  line.open()
  return line
}

test('a message before the connection is open is refused, and one after it told to its callback in a later turn', async t => {
  const { writer, owner } = start()
  owner.readyState = 0
  t.throws(() => writer.send('a', undefined, undefined), { message: /CONNECTING/ })
  t.throws(() => writer.begin(TEXT), { message: /CONNECTING/ })
  owner.readyState = 2
  const told: unknown[] = []
  t.equal(writer.send('a', undefined, error => { told.push(error) }), false)
  t.equal(writer.send('a', undefined, undefined), false)
  t.strictSame(told, [])
  await TICK()
  t.match(told, [ConnectionClosedError])
  t.strictSame(writer.counts, { messages: 0, bytes: 0 })
})

test('text and bytes have their opcodes, unless binary says otherwise', async t => {
  const { writer, written, take } = open()
  for (const [data, binary] of [['a', undefined], [Buffer.from('a'), undefined], ['a', true], [Buffer.from('a'), false]] as const) {
    writer.send(data, binary === undefined ? undefined : { binary }, undefined)
  }
  await TICK()
  t.equal(written(), '810161' + '820161' + '820161' + '810161')
  await take()
  t.strictSame(writer.counts, { messages: 4, bytes: 12 })
})

test('a message in pieces is one, and nothing whole stands between them', async t => {
  const { writer, written, calls, take } = open()
  writer.send('a', { fin: false }, undefined)
  t.equal(writer.isInMessage, true)
  t.throws(() => writer.send(prepare('x'), undefined, undefined), { message: /fin: false/ })
  t.throws(() => writer.begin(BINARY), { message: /fin: false/ })
  writer.sendControl(PING, 'p', undefined)
  writer.send('b', { fin: false }, undefined)
  writer.send('c', undefined, undefined)
  t.equal(writer.isInMessage, false)
  await TICK()
  t.equal(written(), '010161' + '890170' + '000162' + '800163')
  await take()
  t.strictSame(calls, ['message end'])
  t.equal(writer.counts.messages, 1)
})

test('whoever sends is told to wait at the high-water mark, and that all is out', async t => {
  const { writer, calls, take } = open()
  t.equal(writer.send(Buffer.alloc(50), undefined, undefined), true)
  t.equal(await writer.drained(), true)
  t.equal(writer.send(Buffer.alloc(50), undefined, undefined), false)
  t.equal(writer.mustWait, true)
  t.strictSame(calls, [])
  let hasDrained: unknown
  void writer.drained().then(mayGoOn => { hasDrained = mayGoOn })
  await TICK()
  t.equal(hasDrained, undefined)
  await take()
  t.strictSame(calls, ['all out'])
  t.equal(writer.mustWait, false)
  writer.tell(true)
  await TICK()
  t.equal(hasDrained, true)
})

test('more than may be unsent tells that the peer is slow, but for one large message', async t => {
  const { writer, calls } = open()
  writer.send(Buffer.alloc(2000), undefined, undefined)
  t.strictSame(calls, [])
  writer.send('a', undefined, undefined)
  t.strictSame(calls, ['slow'])
})

test('what is published has a limit of its own', async t => {
  const { writer, calls } = open()
  const message = prepare(Buffer.alloc(100)) as PreparedMessage
  writer.sendPublished(message, 150)
  t.strictSame(calls, [])
  t.equal(writer.sendPublished(message, 150), false)
  t.strictSame(calls, ['slow'])
})

test('where more waits than whoever obeys has sent, the last Ping alone is answered, once that is out', async t => {
  const { writer, written, take, owner } = open()
  writer.answerPing(Buffer.from('0'))
  await TICK()
  t.equal(written(), '8a0130')
  await take()
  for (let i = 0; i < 3; i++) writer.send(Buffer.alloc(90), undefined, undefined)
  await TICK()
  t.equal(writer.isBacklogged, true)
  written()
  const payload = Buffer.from('1')
  writer.answerPing(payload)
  writer.answerPing(Buffer.from('2'))
  payload.fill('x')
  await TICK()
  t.equal(written(), '')
  await take()
  t.match(written(), /8a0132$/)
  owner.readyState = 2
  writer.answerPing(Buffer.from('3'))
  await TICK()
  t.equal(written(), '')
})

test('progress is awaited by who was told to wait, and by a Ping without an answer', async t => {
  const { writer, take } = open()
  t.equal(writer.awaitsProgress, false)
  writer.send(Buffer.alloc(100), undefined, undefined)
  t.equal(writer.awaitsProgress, true)
  await TICK()
  await take()
  t.equal(writer.awaitsProgress, false)
  for (let i = 0; i < 4; i++) writer.ping(Buffer.alloc(125))
  t.equal(writer.awaitsProgress, false)
  writer.answerPing(Buffer.from('1'))
  t.equal(writer.awaitsProgress, true)
  t.equal(writer.mustWait, false)
  await TICK()
  await take()
  t.equal(writer.awaitsProgress, false)
})

test('Ping and Pong take what a message may be, up to 125 bytes', t => {
  const { writer } = open()
  t.throws(() => { writer.sendControl(PING, Buffer.alloc(126), undefined) }, RangeError)
  writer.sendControl(PING, Buffer.alloc(125), undefined)
  t.equal(writer.bufferedAmount, 127)
  t.end()
})

test('a place for a message that comes in pieces is cut once the connection ends', async t => {
  const { writer, owner } = open()
  const slot = writer.begin(TEXT)
  writer.onSlotSent()
  t.equal(writer.counts.messages, 1)
  owner.readyState = 2
  const cut = writer.begin(TEXT)
  const isCut = (one: typeof slot): boolean => {
    let told = false
    one.whenCut(() => { told = true })
    return told
  }
  await TICK()
  t.equal(isCut(slot), false)
  cut.whenCut(() => { t.pass('told') })
  await TICK()
})

test('a value that a schema describes is sent as that says', async (t: Test) => {
  const encoder = { encode: (data: unknown) => JSON.stringify(data) } as unknown as NonNullable<MessageWriterSettings['encoder']>
  const { writer, written } = open({ encoder })
  t.equal(writer.encodes, true)
  writer.send({ a: 1 } as never, undefined, undefined)
  await TICK()
  t.equal(written(), '8107' + Buffer.from('{"a":1}').toString('hex'))
  t.equal(String((writer.prepare([1] as never) as PreparedMessage).payload), '[1]')
  t.equal(open().writer.encodes, false)
})
