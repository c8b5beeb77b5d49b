import { once } from 'node:events'
import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect, createServer, Socket, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { test, type Test } from 'tap'
import { BINARY, CLOSE, CONTINUATION, PING, TEXT } from '../../../lib/protocol/opcode.ts'
import { FrameRun } from '../../../lib/framing/frame-run.ts'
import { WriteLoans } from '../../../lib/framing/write-loans.ts'
import { Sender, type SenderOwner } from '../../../lib/connection/outgoing/sender.ts'
import { SocketTransport } from '../../../lib/transport/socket-transport.ts'
import type { Transport } from '../../../lib/transport/transport.ts'
import type { SendCallback } from '../../../types/connection.ts'
import { prepare, type PreparedMessage } from '../../../lib/connection/prepared-message.ts'
import { readFrames, serverFrame } from '../../helpers/frames.ts'

type Taken = (error?: Error) => void

/** A transport that says what it was given, and takes it only when it is told to. */
class TestTransport implements Transport {
  readonly ownsChunks = true
  takesAtOnce = false
  readonly writes: Buffer[] = []
  readonly stream: Duplex
  finished = 0
  /** Whether what is written is taken of its own accord: in a later turn (true), or before write() returns, as the kernel does. */
  takes: boolean | 'at once' = true
  /** Of what is taken at once. */
  error: Error | undefined
  /** Bytes. */
  taken = 0
  #waiting: Taken[] = []

  constructor (highWaterMark = 64 * 1024) {
    const write = (chunks: Buffer[], callback: Taken): void => {
      const bytes = Buffer.concat(chunks)
      this.writes.push(bytes)
      const taken: Taken = error => {
        if (error === undefined) this.taken += bytes.length
        callback(error)
      }
      if (this.takes === 'at once') taken(this.error)
      else if (this.takes) setImmediate(taken)
      else this.#waiting.push(taken)
    }
    this.stream = new Duplex({
      highWaterMark,
      read () {},
      write (chunk: Buffer, _encoding, callback) { write([chunk], callback) },
      writev (chunks, callback) { write(chunks.map(({ chunk }: { chunk: Buffer }) => chunk), callback) }
    })
    this.stream.on('error', () => {})
  }

  tune (): void {}
  keepAlive (): void {}
  finish (): void {
    this.finished++
    this.stream.end()
  }

  abort (): void {
    this.stream.destroy()
  }

  take (error?: Error): void {
    for (const callback of this.#waiting.splice(0)) callback(error)
  }

  get frames (): string[] {
    return readFrames(Buffer.concat(this.writes)).frames.map(({ opcode, fin, payload }) =>
      `${opcode}${fin ? '' : '...'} ${payload.length > 20 ? payload.length : payload}`.trimEnd())
  }
}

interface Setup {
  sender: Sender
  transport: TestTransport
  /** What the owner was told. */
  events: string[]
  unreadable: Promise<Error>
}

function setUp (t: Test, highWaterMark?: number, progress: { awaitsProgress?: boolean } = {}): Setup {
  const transport = new TestTransport(highWaterMark)
  const events: string[] = []
  let fail: (error: Error) => void
  const unreadable = new Promise<Error>(resolve => { fail = resolve })
  const owner: SenderOwner = {
    onWritten (callbacks) {
      events.push('written')
      for (const callback of callbacks) callback()
    },
    onUnsendable (error) { fail(error) }
  }
  const sender = new Sender(transport, 'server', null, Object.assign(progress, owner))
  transport.stream.on('drain', () => { sender.flush() })
  t.teardown(() => { transport.stream.destroy() })
  return { sender, transport, events, unreadable }
}

function sent (sender: Sender, opcode: typeof TEXT | typeof BINARY, payload: string | Buffer | Blob): Promise<void> {
  return new Promise((resolve, reject) => {
    sender.add(opcode, true, payload, error => { if (error === undefined) resolve(); else reject(error) })
  })
}

test('nothing is written inside of add()', async t => {
  const { sender, transport } = setUp(t)
  const done = sent(sender, TEXT, 'hello')
  t.equal(transport.writes.length, 0)
  t.equal(sender.bufferedAmount, 7)
  await done
  t.strictSame(transport.frames, ['1 hello'])
  t.equal(sender.bufferedAmount, 0)
})

test('what is added in one tick leaves in one write, control frames too', async t => {
  const { sender, transport } = setUp(t)
  for (let i = 0; i < 50; i++) sender.add(TEXT, true, `${i}`)
  sender.addControl(PING, Buffer.from('p'))
  await sent(sender, BINARY, Buffer.from('last'))
  t.equal(transport.writes.length, 1)
  t.equal(transport.frames.length, 52)
  t.equal(transport.frames[50], '9 p')
})

test('between hold() and release() nothing is written, whatever ticks pass', async t => {
  const { sender, transport } = setUp(t)
  sender.hold()
  sender.add(TEXT, true, 'a')
  await new Promise(resolve => { setImmediate(resolve) })
  const done = sent(sender, TEXT, 'b')
  t.equal(transport.writes.length, 0)
  sender.release()
  t.equal(transport.writes.length, 1)
  await done
  t.strictSame(transport.frames, ['1 a', '1 b'])
})

test('a large payload and the header in front of it leave in one write', async t => {
  const { sender, transport } = setUp(t)
  await sent(sender, BINARY, Buffer.alloc(20_000))
  t.equal(transport.writes.length, 1)
  t.equal(transport.writes[0]!.length, 20_004)
})

test('the transport gets no more than it has room for; the rest waits and is counted', async t => {
  const { sender, transport, events } = setUp(t)
  transport.takes = false
  for (let i = 0; i < 10; i++) sender.add(BINARY, true, Buffer.alloc(100_000))
  sender.flush()
  const size = 10 * 100_010
  t.equal(sender.bufferedAmount, size)
  t.ok(transport.stream.writableLength <= 2 * 64 * 1024, `${transport.stream.writableLength} bytes are in the transport`)
  t.strictSame(events, [])

  let last = size
  while (sender.bufferedAmount > 0) {
    const drained = once(transport.stream, 'drain')
    transport.take()
    if (transport.stream.writableNeedDrain) await drained
    await new Promise(resolve => { setImmediate(resolve) })
    t.ok(sender.bufferedAmount < last)
    last = sender.bufferedAmount
  }
  t.equal(readFrames(Buffer.concat(transport.writes)).frames.length, 10)
})

test('each callback is called when its frame is out and not before, in the order of the frames', async t => {
  const { sender, transport } = setUp(t, 1)
  transport.takes = false
  const called: Array<[string, number]> = []
  const note = (name: string) => () => { called.push([name, transport.taken]) }
  sender.add(BINARY, true, Buffer.alloc(70_000), note('a'))
  sender.add(BINARY, true, Buffer.alloc(70_000), note('b'))
  sender.add(TEXT, true, 'without a callback')
  sender.addControl(PING, Buffer.alloc(0), note('ping'))
  sender.flush()
  t.strictSame(called, [])
  for (let turns = 0; called.length < 3 && turns < 20; turns++) {
    transport.take()
    await new Promise(resolve => { setImmediate(resolve) })
  }
  const ends = [70_010, 2 * 70_010, 2 * 70_010 + 20 + 2]
  t.strictSame(called.map(([name]) => name), ['a', 'b', 'ping'])
  for (const [i, [name, taken]] of called.entries()) t.ok(taken >= ends[i]!, `${name} at ${taken}`)
  t.ok(called[0]![1] < ends[1]!, 'the first did not wait for the second')
})

test('end() ends the transport behind everything that was added before', async t => {
  const { sender, transport } = setUp(t)
  sender.add(TEXT, true, 'a')
  sender.add(CLOSE, true, Buffer.alloc(0))
  sender.end()
  t.equal(transport.finished, 1)
  sender.end()
  t.equal(transport.finished, 1, 'once')
  await once(transport.stream, 'finish')
  t.strictSame(transport.frames, ['1 a', '8'])
})

test('end() waits for a transport without room', async t => {
  const { sender, transport } = setUp(t)
  transport.takes = false
  sender.add(BINARY, true, Buffer.alloc(300_000))
  sender.flush()
  sender.end()
  t.equal(transport.finished, 0)
  transport.takes = true
  transport.take()
  await once(transport.stream, 'finish')
  t.equal(transport.finished, 1)
  t.strictSame(transport.frames, ['2 300000'])
})

test('frames behind a Blob keep their order, a Ping may overtake it', async t => {
  const { sender, transport } = setUp(t)
  sender.add(TEXT, true, 'before')
  sender.add(BINARY, true, new Blob(['blob 1']))
  sender.add(TEXT, false, 'between')
  sender.add(CONTINUATION, true, new Blob(['blob 2']))
  sender.addControl(PING, Buffer.from('overtakes'))
  t.ok(sender.bufferedAmount >= 'beforeblob 1betweenblob 2overtakes'.length)
  const last = sent(sender, BINARY, Buffer.from('last'))
  sender.add(CLOSE, true, Buffer.alloc(0))
  sender.end()
  t.equal(transport.finished, 0)
  await last
  if (!transport.stream.writableFinished) await once(transport.stream, 'finish')
  t.strictSame(transport.frames, ['1 before', '9 overtakes', '2 blob 1', '1... between', '0 blob 2', '2 last', '8'])
  t.equal(sender.bufferedAmount, 0)
  t.equal(transport.finished, 1)
})

test('after a Blob is out, what is added is not deferred', async t => {
  const { sender, transport } = setUp(t)
  await sent(sender, BINARY, new Blob(['blob']))
  sender.add(TEXT, true, 'next')
  sender.flush()
  t.strictSame(transport.frames, ['2 blob', '1 next'])
})

test('destroy() gives back the callbacks of everything that was not sent, in order, and counts nothing any more', async t => {
  const { sender, transport } = setUp(t)
  transport.takes = false
  const called: string[] = []
  const note = (name: string): SendCallback => error => { called.push(`${name} ${error?.message}`) }
  sender.add(BINARY, true, Buffer.alloc(300_000), note('in part'))
  sender.add(TEXT, true, 'a', note('a'))
  sender.add(TEXT, true, 'no callback')
  sender.add(BINARY, true, new Blob(['b']), note('blob'))
  sender.add(TEXT, true, 'no callback')
  sender.add(TEXT, true, 'c', note('c'))
  sender.flush()
  t.ok(sender.bufferedAmount > 300_000)
  const callbacks = sender.destroy()
  t.equal(sender.bufferedAmount, 0)
  t.strictSame(called, [], 'the owner calls them')
  for (const callback of callbacks) callback(new Error('gone'))
  t.strictSame(called, ['in part gone', 'a gone', 'blob gone', 'c gone'])
})

test('after destroy() nothing is written and no callback comes twice', async t => {
  const { sender, transport, events } = setUp(t)
  transport.takes = false
  let calls = 0
  sender.add(TEXT, true, 'a', () => { calls++ })
  sender.flush()
  sender.add(BINARY, true, new Blob(['b']))
  sender.destroy()
  transport.take()
  sender.flush()
  sender.end()
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(calls, 0)
  t.strictSame(events, [])
  t.strictSame(transport.frames, ['1 a'])
  t.equal(transport.finished, 0)
})

test('what is added after destroy() is not counted as waiting', async t => {
  const { sender } = setUp(t)
  sender.destroy()
  sender.add(CLOSE, true, Buffer.alloc(2))
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(sender.bufferedAmount, 0)
})

interface Plain extends Setup {
  /** By write: whether it was given a callback. */
  callbacks: boolean[]
  /** What was written, as it was given. */
  given: unknown[]
  owner: { awaitsProgress: boolean }
}

/** A transport that says when it has taken everything. */
function setUpPlain (t: Test): Plain {
  const owner = { awaitsProgress: false }
  const setup = setUp(t, 64 * 1024, owner)
  const { transport } = setup
  transport.takes = 'at once'
  transport.takesAtOnce = true
  const { stream } = transport
  const write = stream.write.bind(stream) as (...given: unknown[]) => boolean
  const callbacks: boolean[] = []
  const given: unknown[] = []
  stream.write = (...args: unknown[]) => {
    given.push(args[0])
    callbacks.push(args.some(argument => typeof argument === 'function'))
    return write(...args)
  }
  return { ...setup, callbacks, given, owner }
}

const nextTick = (): Promise<void> => new Promise(resolve => { process.nextTick(resolve) })

test('what is taken at once is out when write() returns, and nobody is told who does not wait for it', async t => {
  const { sender, transport, callbacks, events } = setUpPlain(t)
  sender.add(TEXT, true, 'hello')
  t.equal(sender.bufferedAmount, 7)
  sender.flush()
  t.equal(sender.bufferedAmount, 0)
  t.equal(sender.bytesWritten, 7)
  t.equal(sender.hasUnsentBytes, false)
  await nextTick()
  sender.add(TEXT, true, 'again')
  await nextTick()
  t.equal(sender.bytesHandedOver, 14)
  t.strictSame(callbacks, [false, false])
  t.strictSame(events, [])
  t.strictSame(transport.frames, ['1 hello', '1 again'])
})

test('who waits for what is taken at once is told in a later tick, but not of what is gone by then', async t => {
  const { sender, callbacks, events, owner } = setUpPlain(t)
  owner.awaitsProgress = true
  sender.add(TEXT, true, 'hello')
  sender.flush()
  t.strictSame(events, [])
  await nextTick()
  t.strictSame(events, ['written'])
  sender.add(TEXT, true, 'again')
  sender.flush()
  sender.destroy()
  await nextTick()
  t.strictSame(events, ['written'])
  t.strictSame(callbacks, [false, false])
})

test('a callback is called in a later tick, and so are those of what was added meanwhile', async t => {
  const { sender, callbacks } = setUpPlain(t)
  const called: string[] = []
  sender.add(TEXT, true, 'a', () => { called.push('a') })
  sender.flush()
  sender.add(TEXT, true, 'b')
  sender.add(TEXT, true, 'c', () => { called.push('c') })
  sender.flush()
  t.strictSame(called, [])
  await sent(sender, TEXT, 'd')
  t.strictSame(called, ['a', 'c'])
  t.strictSame(callbacks, [true, true, true])
})

test('what is not taken at once is unsent until it is taken, and what is behind it too', async t => {
  const { sender, transport, events, callbacks } = setUpPlain(t)
  transport.takes = false
  sender.add(TEXT, true, 'a')
  sender.flush()
  sender.add(TEXT, true, 'bb')
  sender.flush()
  t.equal(sender.bufferedAmount, 7)
  t.strictSame(events, [])
  transport.takes = true
  transport.take()
  while (sender.bufferedAmount > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(sender.bytesWritten, 7)
  t.strictSame(transport.frames, ['1 a', '1 bb'])
  t.strictSame(events, ['written', 'written'])
  t.strictSame(callbacks, [false, true, true]) // the second write is empty
  transport.takes = 'at once'
  sender.add(TEXT, true, 'c')
  sender.flush()
  t.equal(sender.bufferedAmount, 0)
})

test('more than one piece leaves in one write, also where it is taken at once', async t => {
  const { sender, transport, callbacks } = setUpPlain(t)
  sender.add(BINARY, true, Buffer.alloc(20_000))
  sender.flush()
  t.equal(transport.writes.length, 1)
  t.strictSame(callbacks, [true, true])
  t.equal(transport.frames.length, 1)
  await nextTick()
  t.equal(sender.bufferedAmount, 0)
})

/** A message for many connections. */
const shared = (data: string | Buffer): PreparedMessage => prepare(data) as PreparedMessage

test('what many connections get goes out as it is where it is taken at once', async t => {
  const { sender, given, callbacks } = setUpPlain(t)
  for (const message of [shared('small'), shared(Buffer.alloc(20_000))]) {
    sender.addPrepared(message)
    t.equal(sender.bufferedAmount, message.frame.length)
    await nextTick()
    t.equal(sender.bufferedAmount, 0)
    t.equal(given.pop(), message.frame.bytes)
  }
  t.strictSame(callbacks, [false, false])
})

const a = shared('a')
const b = shared('b')
const large = shared(Buffer.alloc(16_000))
const huge = shared(Buffer.alloc(70_000))
for (const [title, messages, frames, writes] of [
  ['another', [a, b, a], ['1 a', '1 b', '1 a'], 1],
  ['one of its own', ['x', a, 'y'], ['1 x', '1 a', '1 y'], 1],
  ['one of its own behind it', [a, b, 'x', b], ['1 a', '1 b', '1 x', '1 b'], 1],
  ['more than one write takes', Array(5).fill(large), Array(5).fill('2 16000'), 1],
  ['one that is larger than a write', [a, huge, b], ['1 a', '2 70000', '1 b'], 2],
  ['one that is larger than a write in front', [huge, a], ['2 70000', '1 a'], 2],
  ['none, and is larger than a write', [huge], ['2 70000'], 2]
] as const) {
  test(`what many connections get keeps its order with ${title}`, async t => {
    const { sender, transport, given } = setUpPlain(t)
    for (const message of messages as ReadonlyArray<string | PreparedMessage>) {
      if (typeof message === 'string') sender.add(TEXT, true, message)
      else sender.addPrepared(message)
    }
    while (sender.bufferedAmount > 0) await new Promise(resolve => { setImmediate(resolve) })
    t.strictSame(transport.frames, frames)
    t.equal(transport.writes.length, writes)
    t.ok(given.every(chunk => (chunk as Buffer).length <= 64 * 1024))
  })
}

test('a large message that many connections get is not copied behind others', async t => {
  const { sender, given } = setUpPlain(t)
  const message = shared(Buffer.alloc(20_000))
  sender.addPrepared(a)
  sender.addPrepared(message)
  await nextTick()
  t.equal(given.at(-1), message.frame.bytes)
})

test('what many connections get goes out in pieces where no more may be in flight', async t => {
  const { sender, transport } = setUp(t)
  Object.assign(transport, { maxInFlight: 10 })
  sender.addPrepared(shared('x'.repeat(20)))
  while (sender.bufferedAmount > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.strictSame(transport.writes.map(({ length }) => length), [10, 10, 2])
})

test('what many connections get waits for room, or is dropped, like any other message', async t => {
  const { sender, transport, owner } = setUpPlain(t)
  owner.awaitsProgress = true
  transport.takes = false
  const { followedBy } = FrameRun.prototype
  let joined = 0
  t.intercept(FrameRun.prototype, 'followedBy', {
    value (this: FrameRun, frame: FrameRun) {
      joined++
      return Reflect.apply(followedBy, this, [frame])
    }
  })
  const called: string[] = []
  sender.addPrepared(shared(Buffer.alloc(64 * 1024 - 4)), () => { called.push('large') })
  await nextTick()
  t.equal(transport.stream.writableNeedDrain, true)
  for (let i = 0; i < 3; i++) {
    sender.addPrepared(a, () => { called.push('a') })
    sender.addPrepared(b)
    await nextTick()
  }
  t.equal(sender.bufferedAmount, 64 * 1024 + 18)
  t.equal(transport.frames.length, 1)
  t.equal(joined, 1, 'what waits is in one buffer, not in an object for each message')
  transport.takes = 'at once'
  transport.take()
  while (sender.bufferedAmount > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.strictSame(transport.frames.slice(1), ['1 a', '1 b', '1 a', '1 b', '1 a', '1 b'])
  t.strictSame(called, ['large', 'a', 'a', 'a'])
  sender.addPrepared(a, () => { called.push('dropped') })
  t.equal(sender.destroy().length, 1)
  sender.addPrepared(b)
  await nextTick()
  t.equal(transport.frames.length, 7)
  t.equal(called.length, 4)
})

for (const [title, fail] of [
  ['fails at once', (transport: TestTransport) => { transport.error = new Error('EPIPE') }],
  ['meets a stream that was destroyed', (transport: TestTransport) => { transport.stream.destroy() }]
] as const) {
  test(`a write that ${title} is not counted as sent`, async t => {
    const { sender, transport, events, owner } = setUpPlain(t)
    owner.awaitsProgress = true
    fail(transport)
    sender.add(TEXT, true, 'hello')
    sender.flush()
    t.equal(sender.bufferedAmount, 7)
    if (!transport.stream.closed) await new Promise(resolve => { transport.stream.on('close', resolve) })
    t.equal(sender.bufferedAmount, 7)
    t.equal(sender.bytesWritten, 0)
    t.strictSame(events, [])
  })
}

test('a write that fails leaves its callbacks to destroy()', async t => {
  const { sender, transport, events } = setUp(t)
  transport.takes = false
  const called: string[] = []
  sender.add(TEXT, true, 'a', error => { called.push(String(error?.message)) })
  sender.flush()
  const closed = new Promise(resolve => { transport.stream.on('close', resolve) })
  transport.take(new Error('EPIPE'))
  await closed
  t.strictSame(called, [])
  t.strictSame(events, [])
  for (const callback of sender.destroy()) callback(new Error('gone'))
  t.strictSame(called, ['gone'])
})

test('a Blob that cannot be read is reported', async t => {
  const { sender, unreadable } = setUp(t)
  const path = join(t.testdir({ file: 'abc' }), 'file')
  const blob = await openAsBlob(path)
  await writeFile(path, 'changed since')
  sender.add(BINARY, true, blob)
  t.match(await unreadable, { name: 'NotReadableError' })
})

test('a Blob that cannot be read does not hold up the end', async t => {
  const { sender, transport, unreadable } = setUp(t)
  const path = join(t.testdir({ file: 'before' }), 'file')
  const blob = await openAsBlob(path)
  await writeFile(path, 'changed, and longer')
  const closed = new Promise(resolve => { transport.stream.on('finish', resolve) })
  sender.add(BINARY, true, blob)
  sender.end()
  t.equal(transport.finished, 0)
  await unreadable
  await closed
  t.equal(transport.finished, 1)
})

test('a stream that is answered before write() returns gets everything in order, and nothing of another\'s', async t => {
  const names = ['a', 'b']
  const received = names.map(() => '')
  const ends: Sender[] = names.map((name, k) => {
    let answers = 0
    const stream = new Duplex({
      read () {},
      write (chunk: Buffer, _encoding, callback) {
        received[k] += readFrames(chunk).frames.map(({ payload }) => `${payload}`).join(' ') + ' '
        for (const [i, sender] of ends.entries()) {
          if (++answers > 8) break
          sender.hold()
          sender.add(TEXT, true, `${names[i]}${name}${answers}`)
          sender.release()
        }
        callback()
      }
    })
    const transport: Transport = { stream, ownsChunks: false, tune () {}, keepAlive () {}, finish () {}, abort () {} }
    const sender = new Sender(transport, 'server', null, { onWritten () {}, onUnsendable () {} })
    stream.on('drain', () => { sender.flush() })
    return sender
  })
  ends[0]!.add(TEXT, true, 'a-first')
  ends[0]!.flush()
  await new Promise(resolve => { setImmediate(resolve) })
  for (const [k, name] of names.entries()) ends[k]!.add(TEXT, true, `${name}-last`)
  await new Promise(resolve => { setImmediate(resolve) })
  for (const [k, name] of names.entries()) {
    const texts = received[k]!.trim().split(' ')
    t.strictSame(texts.filter(text => !text.startsWith(name)), [])
    for (const from of names) {
      const numbers = texts.filter(text => text[1] === from).map(text => Number(text.slice(2)))
      t.strictSame(numbers, numbers.toSorted((a, b) => a - b), `in order: ${received[k]}`)
    }
  }
  t.equal(received.join('').trim().split(' ').length, 19)
})

test('a message that waits and then cannot be serialized does not hold up what is behind it, nor the end', async t => {
  const { sender, transport, unreadable } = setUp(t)
  const allocate = Buffer.allocUnsafe.bind(Buffer)
  const failing = t.intercept(Buffer, 'allocUnsafe', {
    value (size: number) {
      if (size > 100_000) throw new RangeError('Array buffer allocation failed')
      return allocate(size)
    }
  })
  const finished = once(transport.stream, 'finish')
  sender.add(BINARY, true, new Blob(['blob']))
  sender.add(TEXT, true, 'a'.repeat(100_000))
  sender.end()
  t.equal((await unreadable).name, 'RangeError')
  await finished
  failing.restore()
  t.strictSame(transport.frames, ['2 blob'])
  t.equal(sender.bufferedAmount, 0)
})

test('what is sent while a write is under way leaves behind it, and before the end', async t => {
  const received: Buffer[] = []
  let finished = 0
  const take = (chunks: Buffer[], callback: () => void): void => {
    received.push(...chunks)
    if (received.length === chunks.length) { // the first time: somebody answers at once, and ends
      sender.add(TEXT, true, 'answer')
      sender.end()
    }
    callback()
  }
  const stream = new Duplex({
    highWaterMark: 64 * 1024,
    read () {},
    write (chunk: Buffer, _encoding, callback) { take([chunk], callback) },
    writev (chunks, callback) { take(chunks.map(({ chunk }: { chunk: Buffer }) => chunk), callback) }
  })
  const finish = (): void => { finished = received.length }
  const transport: Transport = { stream, ownsChunks: false, tune () {}, keepAlive () {}, finish, abort () {} }
  const sender = new Sender(transport, 'server', null, { onWritten () {}, onUnsendable () {} })
  sender.add(TEXT, true, 'before')
  sender.add(BINARY, true, Buffer.alloc(20_000))
  sender.flush()
  t.strictSame(readFrames(Buffer.concat(received)).frames.map(({ payload }) => payload.length), [6, 20_000, 6])
  t.equal(finished, received.length)
})

test('a message that cannot be serialized does not keep the memory of all others', async t => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = await once(server, 'connection') as [Socket]
  t.teardown(() => { client.destroy() })
  const transport = new SocketTransport(socket)
  const sender = new Sender(transport, 'server', null, { onWritten () {}, onUnsendable () {} })
  const failing = t.intercept(Buffer, 'allocUnsafe', { value () { throw new RangeError('Array buffer allocation failed') } })
  t.throws(() => { sender.add(TEXT, true, 'a'.repeat(100_000)) }, RangeError)
  failing.restore()
  await new Promise(resolve => { setImmediate(resolve) })
  t.not(transport.slab!.lend(), null)
  transport.slab!.takeBack(0)
  sender.add(TEXT, true, 'next')
  const [chunk] = await once(client, 'data') as [Buffer]
  t.strictSame(readFrames(chunk).frames.map(({ payload }) => `${payload}`), ['next'])
})

test('lent memory is lent again once the stream has called back, but not after an error or the end of the stream', async t => {
  for (const [title, finish, isReused] of [
    ['written', (transport: TestTransport) => { transport.take() }, true],
    ['failed', (transport: TestTransport) => { transport.take(new Error('broken')) }, false],
    ['destroyed', (transport: TestTransport) => {
      transport.stream.destroy()
      transport.take()
    }, false]
  ] as const) {
    const loans = new WriteLoans()
    const transport = Object.assign(new TestTransport(), { loans, takes: false })
    const sender = new Sender(transport, 'server', null, { onWritten () {}, onUnsendable () {} })
    const lend = t.capture(loans, 'lend', loans.lend.bind(loans)) as unknown as () => Array<{ returned: Buffer }>
    for (let i = 0; i < 16; i++) sender.add(BINARY, true, Buffer.alloc(1000, i))
    sender.flush()
    const memory = lend()[0]!.returned
    t.not(loans.lend(), memory, `${title}: not while it is being written`)
    finish(transport)
    await new Promise(resolve => { setImmediate(resolve) })
    t.equal(loans.lend() === memory, isReused, title)
  }
})

test('bytes that the kernel has not taken stay as they are, whoever writes next', async t => {
  const server = createServer({ noDelay: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const pairs: Array<{ client: Socket, socket: Socket, sender: Sender }> = []
  for (let i = 0; i < 2; i++) {
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [socket] = await once(server, 'connection') as [Socket]
    t.teardown(() => { socket.destroy() })
    const owner: SenderOwner = { onWritten () {}, onUnsendable (error) { throw error } }
    const sender = new Sender(new SocketTransport(socket), 'server', null, owner)
    socket.on('drain', () => { sender.flush() })
    pairs.push({ client, socket, sender })
  }
  const { slab } = new SocketTransport(pairs[0]!.socket)
  const expected = pairs.map((): Buffer[] => [])
  let isSlow = false
  for (let i = 0; !isSlow; i++) {
    for (const [k, { socket, sender }] of pairs.entries()) {
      sender.hold()
      for (const length of [10, 200, 3000, i % 64 === 0 ? 50_000 : 15_000]) {
        const payload = Buffer.alloc(length, i + k)
        expected[k]!.push(serverFrame({ opcode: 0x2, payload }))
        sender.add(BINARY, true, payload)
      }
      sender.release()
      slab!.lend()!.fill(0xdd) // as the next sender would
      slab!.takeBack(0)
      isSlow ||= socket.writableLength > 0 && sender.bufferedAmount > 200_000
    }
    await new Promise(resolve => { setImmediate(resolve) })
  }
  for (const [k, { client, sender }] of pairs.entries()) {
    const received: Buffer[] = []
    client.on('data', (chunk: Buffer) => { received.push(chunk) })
    sender.end()
    await once(client, 'end')
    t.ok(Buffer.concat(received).equals(Buffer.concat(expected[k]!)))
  }
})

test('only plain TCP sockets lend memory: others may keep what they were given', async t => {
  const socket = new Socket()
  const transport = new SocketTransport(socket)
  t.not(transport.slab, undefined)
  t.equal(transport.takesAtOnce, true)
  socket.write = () => true // one that waits, perhaps
  t.equal(transport.slab, undefined)
  t.equal(transport.takesAtOnce, false)
  t.equal(new SocketTransport(new class extends Socket {}()).slab, undefined)
  t.equal(new SocketTransport(new TLSSocket(socket)).slab, undefined)
  t.equal(new SocketTransport(new Duplex() as SocketTransport['stream']).slab, undefined)
})
