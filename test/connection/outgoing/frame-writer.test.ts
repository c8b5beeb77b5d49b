import { once } from 'node:events'
import { connect, createServer, Socket, type AddressInfo } from 'node:net'
import { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { test, type Test } from 'tap'
import { FrameWriter, type FrameWriterOwner } from '../../../lib/connection/outgoing/frame-writer.ts'
import { prepare, type PreparedMessage } from '../../../lib/connection/prepared-message.ts'
import { FrameRun } from '../../../lib/framing/frame-run.ts'
import { WriteLoans } from '../../../lib/framing/write-loans.ts'
import { BINARY, PING, TEXT } from '../../../lib/protocol/opcode.ts'
import { SocketTransport } from '../../../lib/transport/socket-transport.ts'
import type { Transport } from '../../../lib/transport/transport.ts'
import { readFrames, serverFrame } from '../../helpers/frames.ts'
import { TestTransport } from '../../helpers/test-transport.ts'

interface Setup {
  writer: FrameWriter
  transport: TestTransport
  /** What the owner was told. */
  events: string[]
}

function setUp (t: Test, highWaterMark?: number, progress: { awaitsProgress?: boolean } = {}): Setup {
  const transport = new TestTransport(highWaterMark)
  const events: string[] = []
  const owner: FrameWriterOwner = {
    onWritten (callbacks) {
      events.push('written')
      for (const callback of callbacks) callback()
    }
  }
  const writer = new FrameWriter(transport, 'server', Object.assign(progress, owner))
  transport.stream.on('drain', () => { writer.flush() })
  t.teardown(() => { transport.stream.destroy() })
  return { writer, transport, events }
}

function sent (writer: FrameWriter, opcode: typeof TEXT | typeof BINARY, payload: string | Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    writer.add(opcode, true, payload, error => { if (error === undefined) resolve(); else reject(error) })
  })
}

test('nothing is written inside of add()', async t => {
  const { writer, transport } = setUp(t)
  const done = sent(writer, TEXT, 'hello')
  t.equal(transport.writes.length, 0)
  t.equal(writer.unsent, 7)
  await done
  t.strictSame(transport.frames, ['1 hello'])
  t.equal(writer.unsent, 0)
})

test('what is added in one tick leaves in one write, control frames too', async t => {
  const { writer, transport } = setUp(t)
  for (let i = 0; i < 50; i++) writer.add(TEXT, true, `${i}`)
  writer.add(PING, true, Buffer.from('p'))
  await sent(writer, BINARY, Buffer.from('last'))
  t.equal(transport.writes.length, 1)
  t.equal(transport.frames.length, 52)
  t.equal(transport.frames[50], '9 p')
})

test('between hold() and release() nothing is written, whatever ticks pass', async t => {
  const { writer, transport } = setUp(t)
  writer.hold()
  writer.add(TEXT, true, 'a')
  await new Promise(resolve => { setImmediate(resolve) })
  const done = sent(writer, TEXT, 'b')
  t.equal(transport.writes.length, 0)
  writer.release()
  t.equal(transport.writes.length, 1)
  await done
  t.strictSame(transport.frames, ['1 a', '1 b'])
})

test('a large payload and the header in front of it leave in one write', async t => {
  const { writer, transport } = setUp(t)
  await sent(writer, BINARY, Buffer.alloc(20_000))
  t.equal(transport.writes.length, 1)
  t.equal(transport.writes[0]!.length, 20_004)
})

test('the transport gets no more than it has room for; the rest waits and is counted', async t => {
  const { writer, transport, events } = setUp(t)
  transport.takes = false
  for (let i = 0; i < 10; i++) writer.add(BINARY, true, Buffer.alloc(100_000))
  writer.flush()
  const size = 10 * 100_010
  t.equal(writer.unsent, size)
  t.ok(transport.stream.writableLength <= 2 * 64 * 1024, `${transport.stream.writableLength} bytes are in the transport`)
  t.strictSame(events, [])

  let last = size
  while (writer.unsent > 0) {
    const drained = once(transport.stream, 'drain')
    transport.take()
    if (transport.stream.writableNeedDrain) await drained
    await new Promise(resolve => { setImmediate(resolve) })
    t.ok(writer.unsent < last)
    last = writer.unsent
  }
  t.equal(readFrames(Buffer.concat(transport.writes)).frames.length, 10)
})

test('more of a long message is written at once, up to 256 KiB, as long as the kernel takes it at once', async t => {
  const { writer, transport } = setUpPlain(t)
  const lengths = (): number[] => transport.writes.splice(0).map(({ length }) => length / 1024)
  const out = async (): Promise<void> => { while (writer.unsent > 0) await new Promise(resolve => { setImmediate(resolve) }) }
  for (let i = 0; i < 5; i++) { // which say nothing of how much it takes
    writer.add(TEXT, true, 'small')
    writer.flush()
  }
  transport.writes.length = 0
  writer.add(BINARY, true, Buffer.alloc(1024 * 1024 - 10))
  await out()
  t.strictSame(lengths().map(Math.ceil), [65, 128, 256, 256, 256, 64], 'the first with its header')
  writer.add(BINARY, true, Buffer.alloc(70_000))
  await out()
  t.equal(lengths().length, 1)
  transport.takes = true
  writer.add(BINARY, true, Buffer.alloc(1024 * 1024 - 10))
  await out()
  t.strictSame(lengths().slice(1).map(Math.ceil), Array(12).fill(64), 'it takes them later')
  transport.takes = 'at once'
  writer.add(BINARY, true, Buffer.alloc(1024 * 1024 - 10))
  await out()
  t.strictSame(lengths().slice(1, 3), [128, 256])
})

test('each callback is called when its frame is out and not before, in the order of the frames', async t => {
  const { writer, transport } = setUp(t, 1)
  transport.takes = false
  const called: Array<[string, number]> = []
  const note = (name: string) => () => { called.push([name, transport.taken]) }
  writer.add(BINARY, true, Buffer.alloc(70_000), note('a'))
  writer.add(BINARY, true, Buffer.alloc(70_000), note('b'))
  writer.add(TEXT, true, 'without a callback')
  writer.add(PING, true, Buffer.alloc(0), note('ping'))
  writer.flush()
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

test('end() waits for a transport without room', async t => {
  const { writer, transport } = setUp(t)
  transport.takes = false
  writer.add(BINARY, true, Buffer.alloc(300_000))
  writer.flush()
  writer.end(true)
  t.equal(transport.finished, 0)
  transport.takes = true
  transport.take()
  await once(transport.stream, 'finish')
  t.equal(transport.finished, 1)
  t.strictSame(transport.frames, ['2 300000'])
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
  const { writer, transport, callbacks, events } = setUpPlain(t)
  writer.add(TEXT, true, 'hello')
  t.equal(writer.unsent, 7)
  writer.flush()
  t.equal(writer.unsent, 0)
  t.equal(writer.bytesWritten, 7)
  await nextTick()
  writer.add(TEXT, true, 'again')
  await nextTick()
  t.equal(writer.bytesHandedOver, 14)
  t.strictSame(callbacks, [false, false])
  t.strictSame(events, [])
  t.strictSame(transport.frames, ['1 hello', '1 again'])
})

test('who waits for what is taken at once is told in a later tick, but not of what is gone by then', async t => {
  const { writer, callbacks, events, owner } = setUpPlain(t)
  owner.awaitsProgress = true
  writer.add(TEXT, true, 'hello')
  writer.flush()
  t.strictSame(events, [])
  await nextTick()
  t.strictSame(events, ['written'])
  writer.add(TEXT, true, 'again')
  writer.flush()
  writer.destroy()
  await nextTick()
  t.strictSame(events, ['written'])
  t.strictSame(callbacks, [false, false])
})

test('a callback is called in a later tick, and so are those of what was added meanwhile', async t => {
  const { writer, callbacks } = setUpPlain(t)
  const called: string[] = []
  writer.add(TEXT, true, 'a', () => { called.push('a') })
  writer.flush()
  writer.add(TEXT, true, 'b')
  writer.add(TEXT, true, 'c', () => { called.push('c') })
  writer.flush()
  t.strictSame(called, [])
  await sent(writer, TEXT, 'd')
  t.strictSame(called, ['a', 'c'])
  t.strictSame(callbacks, [true, true, true])
})

test('what is not taken at once is unsent until it is taken, and what is behind it too', async t => {
  const { writer, transport, events, callbacks } = setUpPlain(t)
  transport.takes = false
  writer.add(TEXT, true, 'a')
  writer.flush()
  writer.add(TEXT, true, 'bb')
  writer.flush()
  t.equal(writer.unsent, 7)
  t.strictSame(events, [])
  transport.takes = true
  transport.take()
  while (writer.unsent > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(writer.bytesWritten, 7)
  t.strictSame(transport.frames, ['1 a', '1 bb'])
  t.strictSame(events, ['written', 'written'])
  t.strictSame(callbacks, [false, true, true]) // the second write is empty
  transport.takes = 'at once'
  writer.add(TEXT, true, 'c')
  writer.flush()
  t.equal(writer.unsent, 0)
})

test('more than one piece leaves in one write, also where it is taken at once', async t => {
  const { writer, transport, callbacks } = setUpPlain(t)
  writer.add(BINARY, true, Buffer.alloc(20_000))
  writer.flush()
  t.equal(transport.writes.length, 1)
  t.strictSame(callbacks, [true, true])
  t.equal(transport.frames.length, 1)
  await nextTick()
  t.equal(writer.unsent, 0)
})

/** A message for many connections. */
const shared = (data: string | Buffer): FrameRun => (prepare(data) as PreparedMessage).frame

test('what many connections get goes out as it is where it is taken at once', async t => {
  const { writer, given, callbacks } = setUpPlain(t)
  for (const message of [shared('small'), shared(Buffer.alloc(20_000))]) {
    writer.addRun(message)
    t.equal(writer.unsent, message.length)
    await nextTick()
    t.equal(writer.unsent, 0)
    t.equal(given.pop(), message.bytes)
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
    const { writer, transport, given } = setUpPlain(t)
    for (const message of messages as ReadonlyArray<string | FrameRun>) {
      if (typeof message === 'string') writer.add(TEXT, true, message)
      else writer.addRun(message)
    }
    while (writer.unsent > 0) await new Promise(resolve => { setImmediate(resolve) })
    t.strictSame(transport.frames, frames)
    t.equal(transport.writes.length, writes)
    t.ok(given.every(chunk => (chunk as Buffer).length <= 64 * 1024))
  })
}

test('a large message that many connections get is not copied behind others', async t => {
  const { writer, given } = setUpPlain(t)
  const message = shared(Buffer.alloc(20_000))
  writer.addRun(a)
  writer.addRun(message)
  await nextTick()
  t.equal(given.at(-1), message.bytes)
})

test('what many connections get goes out in pieces where no more may be in flight', async t => {
  const { writer, transport } = setUp(t)
  Object.assign(transport, { maxInFlight: 10 })
  writer.addRun(shared('x'.repeat(20)))
  while (writer.unsent > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.strictSame(transport.writes.map(({ length }) => length), [10, 10, 2])
})

test('what many connections get waits for room, or is dropped, like any other message', async t => {
  const { writer, transport, owner } = setUpPlain(t)
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
  writer.addRun(shared(Buffer.alloc(64 * 1024 - 4)), () => { called.push('large') })
  await nextTick()
  t.equal(transport.stream.writableNeedDrain, true)
  for (let i = 0; i < 3; i++) {
    writer.addRun(a, () => { called.push('a') })
    writer.addRun(b)
    await nextTick()
  }
  t.equal(writer.unsent, 64 * 1024 + 18)
  t.equal(transport.frames.length, 1)
  t.equal(joined, 1, 'what waits is in one buffer, not in an object for each message')
  transport.takes = 'at once'
  transport.take()
  while (writer.unsent > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.strictSame(transport.frames.slice(1), ['1 a', '1 b', '1 a', '1 b', '1 a', '1 b'])
  t.strictSame(called, ['large', 'a', 'a', 'a'])
  writer.addRun(a, () => { called.push('dropped') })
  t.equal(writer.destroy().length, 1)
  writer.addRun(b)
  await nextTick()
  t.equal(transport.frames.length, 7)
  t.equal(called.length, 4)
})

for (const [title, fail] of [
  ['fails at once', (transport: TestTransport) => { transport.error = new Error('EPIPE') }],
  ['meets a stream that was destroyed', (transport: TestTransport) => { transport.stream.destroy() }]
] as const) {
  test(`a write that ${title} is not counted as sent`, async t => {
    const { writer, transport, events, owner } = setUpPlain(t)
    owner.awaitsProgress = true
    fail(transport)
    writer.add(TEXT, true, 'hello')
    writer.flush()
    t.equal(writer.unsent, 7)
    if (!transport.stream.closed) await new Promise(resolve => { transport.stream.on('close', resolve) })
    t.equal(writer.unsent, 7)
    t.equal(writer.bytesWritten, 0)
    t.strictSame(events, [])
  })
}

test('a write that fails leaves its callbacks to destroy()', async t => {
  const { writer, transport, events } = setUp(t)
  transport.takes = false
  const called: string[] = []
  writer.add(TEXT, true, 'a', error => { called.push(String(error?.message)) })
  writer.flush()
  const closed = new Promise(resolve => { transport.stream.on('close', resolve) })
  transport.take(new Error('EPIPE'))
  await closed
  t.strictSame(called, [])
  t.strictSame(events, [])
  for (const callback of writer.destroy()) callback(new Error('gone'))
  t.strictSame(called, ['gone'])
})

test('a stream that is answered before write() returns gets everything in order, and nothing of another\'s', async t => {
  const names = ['a', 'b']
  const received = names.map(() => '')
  const ends: FrameWriter[] = names.map((name, k) => {
    let answers = 0
    const stream = new Duplex({
      read () {},
      write (chunk: Buffer, _encoding, callback) {
        received[k] += readFrames(chunk).frames.map(({ payload }) => `${payload}`).join(' ') + ' '
        for (const [i, writer] of ends.entries()) {
          if (++answers > 8) break
          writer.hold()
          writer.add(TEXT, true, `${names[i]}${name}${answers}`)
          writer.release()
        }
        callback()
      }
    })
    const transport: Transport = { stream, ownsChunks: false, tune () {}, keepAlive () {}, finish () {}, abort () {} }
    const writer = new FrameWriter(transport, 'server', { onWritten () {} })
    stream.on('drain', () => { writer.flush() })
    return writer
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

test('what is sent while a write is under way leaves behind it, and before the end', async t => {
  const received: Buffer[] = []
  let finished = 0
  const take = (chunks: Buffer[], callback: () => void): void => {
    received.push(...chunks)
    if (received.length === chunks.length) { // the first time: somebody answers at once, and ends
      writer.add(TEXT, true, 'answer')
      writer.end(true)
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
  const writer = new FrameWriter(transport, 'server', { onWritten () {} })
  writer.add(TEXT, true, 'before')
  writer.add(BINARY, true, Buffer.alloc(20_000))
  writer.flush()
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
  const writer = new FrameWriter(transport, 'server', { onWritten () {} })
  const failing = t.intercept(Buffer, 'allocUnsafe', { value () { throw new RangeError('Array buffer allocation failed') } })
  t.throws(() => { writer.add(TEXT, true, 'a'.repeat(100_000)) }, RangeError)
  failing.restore()
  await new Promise(resolve => { setImmediate(resolve) })
  t.not(transport.slab!.lend(), null)
  transport.slab!.takeBack(0)
  writer.add(TEXT, true, 'next')
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
    const writer = new FrameWriter(transport, 'server', { onWritten () {} })
    const lend = t.capture(loans, 'lend', loans.lend.bind(loans)) as unknown as () => Array<{ returned: Buffer }>
    for (let i = 0; i < 16; i++) writer.add(BINARY, true, Buffer.alloc(1000, i))
    writer.flush()
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
  const pairs: Array<{ client: Socket, socket: Socket, writer: FrameWriter }> = []
  for (let i = 0; i < 2; i++) {
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [socket] = await once(server, 'connection') as [Socket]
    t.teardown(() => { socket.destroy() })
    const writer = new FrameWriter(new SocketTransport(socket), 'server', { onWritten () {} })
    socket.on('drain', () => { writer.flush() })
    pairs.push({ client, socket, writer })
  }
  const { slab } = new SocketTransport(pairs[0]!.socket)
  const expected = pairs.map((): Buffer[] => [])
  let isSlow = false
  for (let i = 0; !isSlow; i++) {
    for (const [k, { socket, writer }] of pairs.entries()) {
      writer.hold()
      for (const length of [10, 200, 3000, i % 64 === 0 ? 50_000 : 15_000]) {
        const payload = Buffer.alloc(length, i + k)
        expected[k]!.push(serverFrame({ opcode: 0x2, payload }))
        writer.add(BINARY, true, payload)
      }
      writer.release()
      slab!.lend()!.fill(0xdd) // as the next writer would
      slab!.takeBack(0)
      isSlow ||= socket.writableLength > 0 && writer.unsent > 200_000
    }
    await new Promise(resolve => { setImmediate(resolve) })
  }
  for (const [k, { client, writer }] of pairs.entries()) {
    const received: Buffer[] = []
    client.on('data', (chunk: Buffer) => { received.push(chunk) })
    writer.end(true)
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
