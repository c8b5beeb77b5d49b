import { once } from 'node:events'
import { Writable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { test } from 'tap'
import { FrameParser } from '../../lib/framing/frame-parser.ts'
import type { Role } from '../../lib/protocol/role.ts'
import { FrameRun } from '../../lib/framing/frame-run.ts'
import { FrameSerializer, type OutgoingFrame } from '../../lib/framing/frame-serializer.ts'
import type { Opcode } from '../../lib/protocol/opcode.ts'
import { WriteLoans } from '../../lib/framing/write-loans.ts'
import { WriteSlab } from '../../lib/framing/write-slab.ts'
import { corpus, describe, frameLabel } from '../helpers/corpus.ts'
import { readFrames, serverFrame, show } from '../helpers/frames.ts'
import { integer, random } from '../helpers/random.ts'

const KIB = 1024
const MAX_PIECE = 64 * KIB

/** Everything that is ready, in the pieces in which it comes. */
function takeAll (serializer: FrameSerializer): Buffer[] {
  const pieces: Buffer[] = []
  for (let piece = serializer.next(); piece !== null; piece = serializer.next()) pieces.push(piece)
  return pieces
}

/** The bytes of these frames, fed all at once. */
function serialize (role: Role, ...frames: OutgoingFrame[]): Buffer {
  const serializer = new FrameSerializer({ role })
  for (const frame of frames) serializer.feed(frame)
  return Buffer.concat(takeAll(serializer))
}

/** The same through write() and the readable side. */
async function serializeAsStream (role: Role, ...frames: OutgoingFrame[]): Promise<Buffer> {
  const serializer = new FrameSerializer({ role })
  for (const frame of frames) serializer.write(frame)
  serializer.end()
  return Buffer.concat(await serializer.toArray())
}

const PATTERN = Buffer.from(Array.from({ length: 1024 * KIB }, (_, i) => (i * 31 + (i >> 8)) & 0xff))

/** A payload of its own memory, in which a byte that is not in its place shows. */
const pattern = (length: number): Buffer => Buffer.from(PATTERN.subarray(0, length))

test('a server writes every kind of frame byte by byte as RFC 6455 §5.7 shows them', async t => {
  const cases: [bytes: string, frame: OutgoingFrame][] = [
    ['81 05 48 65 6c 6c 6f', { opcode: 0x1, payload: 'Hello' }],
    ['82 05 48 65 6c 6c 6f', { opcode: 0x2, payload: Buffer.from('Hello') }],
    ['01 03 48 65 6c', { opcode: 0x1, fin: false, payload: 'Hel' }],
    ['00 02 6c 6f', { opcode: 0x0, fin: false, payload: 'lo' }],
    ['80 02 6c 6f', { opcode: 0x0, fin: true, payload: Buffer.from('lo') }],
    ['c1 01 61', { opcode: 0x1, rsv1: true, payload: 'a' }],
    ['41 01 61', { opcode: 0x1, rsv1: true, fin: false, payload: Buffer.from('a') }],
    ['88 00', { opcode: 0x8, payload: '' }],
    ['88 02 03 e8', { opcode: 0x8, payload: Buffer.from([0x03, 0xe8]) }],
    ['89 05 48 65 6c 6c 6f', { opcode: 0x9, payload: 'Hello' }],
    ['8a 00', { opcode: 0xa, payload: Buffer.alloc(0) }]
  ]
  for (const [bytes, frame] of cases) {
    t.equal(show(serialize('server', frame)), bytes)
    t.equal(show(await serializeAsStream('server', frame)), bytes)
  }
  const all = cases.map(([, frame]) => frame)
  t.equal(show(serialize('server', ...all)), cases.map(([bytes]) => bytes).join(' '), 'and all of them side by side')
  t.equal(show(await serializeAsStream('server', ...all)), cases.map(([bytes]) => bytes).join(' '))
})

test('a client writes the same frames masked', async t => {
  const cases: [start: string, frame: OutgoingFrame][] = [
    ['81 85', { opcode: 0x1, payload: 'Hello' }],
    ['82 83', { opcode: 0x2, payload: Buffer.from('abc') }],
    ['01 83', { opcode: 0x1, fin: false, payload: 'Hel' }],
    ['80 82', { opcode: 0x0, payload: 'lo' }],
    ['c1 81', { opcode: 0x1, rsv1: true, payload: 'a' }],
    ['88 82', { opcode: 0x8, payload: Buffer.from([0x03, 0xe8]) }],
    ['89 80', { opcode: 0x9, payload: '' }],
    ['8a 81', { opcode: 0xa, payload: Buffer.from('a') }],
    ['82 fe 00 7e', { opcode: 0x2, payload: pattern(126) }],
    ['82 ff 00 00 00 00 00 01 00 00', { opcode: 0x2, payload: pattern(65536) }]
  ]
  for (const [start, frame] of cases) {
    for (const bytes of [serialize('client', frame), await serializeAsStream('client', frame)]) {
      const { frames: [found], rest } = readFrames(bytes)
      t.equal(show(bytes).slice(0, start.length), start)
      t.equal(rest.length, 0)
      t.equal(found!.mask!.length, 4)
      t.ok(found!.payload.equals(Buffer.from(frame.payload)), `${found!.payload.length} bytes unmasked`)
    }
  }
})

test('the length is written in its shortest form, and feed() returns what the frame takes', async t => {
  const headers: [length: number, header: string][] = [
    [0, '82 00'],
    [1, '82 01'],
    [125, '82 7d'],
    [126, '82 7e 00 7e'],
    [127, '82 7e 00 7f'],
    [65535, '82 7e ff ff'],
    [65536, '82 7f 00 00 00 00 00 01 00 00'],
    [100_000, '82 7f 00 00 00 00 00 01 86 a0']
  ]
  for (const [length, header] of headers) {
    for (const payload of [pattern(length), 'a'.repeat(length)]) {
      const server = new FrameSerializer({ role: 'server' })
      const fed = server.feed({ opcode: 0x2, payload })
      const bytes = Buffer.concat(takeAll(server))
      const headerLength = bytes.length - length
      t.equal(show(bytes.subarray(0, headerLength)), header)
      t.ok(bytes.subarray(headerLength).equals(Buffer.from(payload)), `${length} bytes behind it`)
      t.equal(fed, bytes.length)

      const client = new FrameSerializer({ role: 'client' })
      t.equal(client.feed({ opcode: 0x2, payload }), bytes.length + 4)
      const { frames, rest } = readFrames(Buffer.concat(takeAll(client)))
      t.equal(rest.length, 0)
      t.ok(frames.length === 1 && frames[0]!.payload.equals(Buffer.from(payload)), 'and masked')
    }
  }
})

test('every frame of a client has a masking key of its own', async t => {
  const serializer = new FrameSerializer({ role: 'client' })
  // more than are drawn at once
  for (let i = 0; i < 10_000; i++) serializer.feed({ opcode: 0x2, payload: pattern(5) })
  const { frames } = readFrames(Buffer.concat(takeAll(serializer)))
  t.equal(frames.length, 10_000)
  t.ok(frames.every(({ payload }) => payload.equals(pattern(5))))
  // ten pairs of equal 32-bit keys among 10,000 come once in 10^25 runs
  t.ok(new Set(frames.map(({ mask }) => mask!.toString('hex'))).size > 9990)
})

test('a string goes out as UTF-8, a lone surrogate in it as U+FFFD', async t => {
  const cases: [text: string, bytes: string][] = [
    ['é€😀', 'c3 a9 e2 82 ac f0 9f 98 80'],
    ['\ufeffa', 'ef bb bf 61'],
    ['a\ud83d', '61 ef bf bd'],
    ['\ude00a', 'ef bf bd 61'],
    ['\ude00\ud83d', 'ef bf bd ef bf bd'],
    ['a\ud83db\ude00c', '61 ef bf bd 62 ef bf bd 63']
  ]
  for (const [text, bytes] of cases) {
    const length = (bytes.length + 1) / 3
    t.equal(show(serialize('server', { opcode: 0x1, payload: text })), `81 ${show(Buffer.from([length]))} ${bytes}`)
    t.equal(show(readFrames(serialize('client', { opcode: 0x1, payload: text })).frames[0]!.payload), bytes)
  }
  for (const text of ['😀'.repeat(20_000), '€\ud83d'.repeat(20_000)]) {
    for (const role of ['server', 'client'] as const) {
      const { frames, rest } = readFrames(serialize(role, { opcode: 0x1, payload: 'a' }, { opcode: 0x1, payload: text }, { opcode: 0x1, payload: 'b' }))
      t.equal(rest.length, 0)
      t.strictSame(frames.map(({ payload }) => describe('', payload)), ['a', text, 'b'].map(payload => describe('', Buffer.from(payload))))
    }
  }
})

test('small frames come out side by side, in pieces of at most 64 KiB', async t => {
  for (const role of ['server', 'client'] as const) {
    const serializer = new FrameSerializer({ role })
    let fed = 0
    for (let i = 0; i < 1000; i++) fed += serializer.feed({ opcode: 0x2, payload: pattern(i) })
    const pieces = takeAll(serializer)
    t.ok(pieces.every(piece => piece.length <= MAX_PIECE))
    t.ok(pieces.length <= Math.ceil(fed / (MAX_PIECE - 1010)), `${pieces.length} pieces for ${fed} bytes`)
    const { frames, rest } = readFrames(Buffer.concat(pieces))
    t.equal(rest.length, 0)
    t.equal(frames.length, 1000)
    t.ok(frames.every(({ payload }, i) => payload.equals(pattern(i))))
  }
})

test('small frames come out side by side, also those that are fed while a large one goes out', async t => {
  const serializer = new FrameSerializer({ role: 'server' })
  serializer.feed({ opcode: 0x2, payload: pattern(200_000) })
  const lengths: number[] = []
  for (const payload of ['a', 'bc', 'd', 'e']) {
    lengths.push(serializer.next()!.length)
    serializer.feed({ opcode: 0x1, payload })
  }
  t.strictSame(lengths, [10, MAX_PIECE, MAX_PIECE, MAX_PIECE])
  t.equal(serializer.next()!.length, 200_000 - 3 * MAX_PIECE)
  t.strictSame(takeAll(serializer).map(show), ['81 01 61 81 02 62 63 81 01 64 81 01 65'])
})

test('frames that fill a piece to its last byte, and one byte more', async t => {
  const half = MAX_PIECE / 2
  const first: OutgoingFrame = { opcode: 0x2, payload: 'a'.repeat(half - 4) }
  const lengths = (last: number): number[] => {
    const serializer = new FrameSerializer({ role: 'server' })
    serializer.feed(first)
    serializer.feed({ opcode: 0x2, payload: 'b'.repeat(last - 4) })
    return takeAll(serializer).map(piece => piece.length)
  }
  t.strictSame(lengths(half), [MAX_PIECE])
  t.strictSame(lengths(half + 1), [half, half + 1])
})

test('a large payload of a server goes out as the memory that it is, in pieces of at most 64 KiB', async t => {
  for (const length of [16 * KIB + 1, MAX_PIECE, MAX_PIECE + 1, KIB * KIB]) {
    const payload = pattern(length)
    const direct = new FrameSerializer({ role: 'server' })
    direct.feed({ opcode: 0x2, payload })
    const stream = new FrameSerializer({ role: 'server' })
    const streamed: Buffer[] = []
    stream.on('data', (piece: Buffer) => { streamed.push(piece) })
    stream.end({ opcode: 0x2, payload })
    await once(stream, 'end')
    for (const pieces of [takeAll(direct), streamed]) {
      const [header, ...parts] = pieces
      t.equal(show(header!), show(serverFrame({ opcode: 0x2, length })))
      t.equal(parts.length, Math.ceil(length / MAX_PIECE))
      t.ok(parts.every((part, i) => part.buffer === payload.buffer && part.byteOffset === payload.byteOffset + i * MAX_PIECE), 'the same memory')
      t.equal(parts.reduce((sum, part) => sum + part.length, 0), length)
    }
  }
})

test('a payload of up to 16 KiB, and every one of a client, may change as soon as it is fed', async t => {
  for (const [role, length] of [['server', 16 * KIB], ['client', 5], ['client', 16 * KIB + 1], ['client', 200_000]] as const) {
    const serializer = new FrameSerializer({ role })
    const payload = pattern(length)
    serializer.feed({ opcode: 0x2, payload })
    t.ok(payload.equals(pattern(length)), 'a payload is never written to')
    payload.fill(0xff)
    const { frames } = readFrames(Buffer.concat(takeAll(serializer)))
    t.ok(frames[0]!.payload.equals(pattern(length)), `${length} bytes of a ${role}`)
  }
})

test('large and small frames keep their order', async t => {
  const next = random(8)
  for (const role of ['server', 'client'] as const) {
    const serializer = new FrameSerializer({ role })
    const sent: string[] = []
    const pieces: Buffer[] = []
    for (let i = 0; i < 500; i++) {
      const payload = pattern(next() < 0.1 ? integer(next, 16 * KIB, 100_000) : integer(next, 0, 300))
      const frame = { opcode: 0x2 as Opcode, fin: true, payload: next() < 0.5 ? payload : payload.toString('latin1') }
      serializer.feed(frame)
      sent.push(describe(frameLabel(frame), Buffer.from(frame.payload)))
      // now and then some of what is ready, in the middle of a frame too
      for (let left = next() < 0.3 ? integer(next, 1, 5) : 0; left > 0; left--) {
        const piece = serializer.next()
        if (piece !== null) pieces.push(piece)
      }
    }
    pieces.push(...takeAll(serializer))
    const { frames, rest } = readFrames(Buffer.concat(pieces))
    t.equal(rest.length, 0)
    t.strictSame(frames.map(frame => describe(frameLabel(frame), frame.payload)), sent)
    t.ok(pieces.every(piece => piece.length > 0 && piece.length <= MAX_PIECE))
  }
})

test('nothing comes out of a serializer that nothing was fed to', async t => {
  t.equal(new FrameSerializer({ role: 'server' }).next(), null)
  t.equal((await serializeAsStream('client')).length, 0)
})

test('clear() drops what did not come out, and what is fed later goes out whole', async t => {
  const serializer = new FrameSerializer({ role: 'server' })
  serializer.clear()
  serializer.feed({ opcode: 0x2, payload: pattern(100) })
  serializer.feed({ opcode: 0x2, payload: pattern(200_000) })
  serializer.feed({ opcode: 0x2, payload: pattern(100) })
  t.equal(serializer.next()!.length, 102 + 10)
  t.equal(serializer.next()!.length, MAX_PIECE, 'in the middle of the large one')
  serializer.clear()
  t.equal(serializer.next(), null)
  serializer.feed({ opcode: 0x9, payload: 'a' })
  t.strictSame(takeAll(serializer).map(show), ['89 01 61'])
  serializer.clear()
  t.equal(serializer.next(), null)
})

test('a reader that does not read stops the serializer at 64 KiB of bytes', async t => {
  const serializer = new FrameSerializer({ role: 'server' })
  let written = 0
  for (let i = 0; i < 5000; i++) serializer.write({ opcode: 0x2, payload: pattern(98) }, () => { written++ })
  await turn()
  t.ok(serializer.readableLength >= MAX_PIECE && serializer.readableLength < MAX_PIECE + 100, `${serializer.readableLength} bytes wait`)
  t.ok(written * 100 <= serializer.readableLength, `${written} frames are done with`)

  let read = 0
  for (let piece: Buffer | null = serializer.read(100); piece !== null; piece = serializer.read(100)) {
    read += piece.length
    if (serializer.readableLength > MAX_PIECE + 100) t.fail(`${serializer.readableLength} bytes wait`)
  }
  await turn()
  t.equal(read, 500_000)
  t.equal(written, 5000)
})

test('a large frame is not cut further than the reader asks for', async t => {
  const serializer = new FrameSerializer({ role: 'server' })
  let isWritten = false
  serializer.write({ opcode: 0x2, payload: pattern(10 * MAX_PIECE) }, () => { isWritten = true })
  await turn()
  t.equal(serializer.readableLength, 10 + MAX_PIECE)
  t.equal(isWritten, false)
  let read = 0
  for await (const piece of serializer) {
    read += piece.length
    await turn()
    t.ok(serializer.readableLength <= 10 + MAX_PIECE)
    if (read === 10 + 10 * MAX_PIECE) serializer.end()
  }
  t.equal(isWritten, true)
})

test('a slow Writable behind a pipe gets everything in order and never more than 64 KiB at once', async t => {
  const next = random(9)
  for (const role of ['server', 'client'] as const) {
    const serializer = new FrameSerializer({ role })
    const pieces: Buffer[] = []
    const slow = new Writable({
      highWaterMark: 1,
      write (piece: Buffer, _encoding, callback) {
        pieces.push(piece)
        if (serializer.readableLength > 2 * MAX_PIECE) t.fail(`${serializer.readableLength} bytes wait`)
        setImmediate(callback)
      }
    })
    const lengths = Array.from({ length: 300 }, () => next() < 0.1 ? integer(next, 10_000, 200_000) : integer(next, 0, 500))
    let written = 0
    for (const length of lengths) serializer.write({ opcode: 0x2, payload: pattern(length) }, () => { written++ })
    serializer.end()
    serializer.pipe(slow)
    await once(slow, 'finish')
    t.equal(written, 300)
    t.ok(pieces.every(piece => piece.length <= MAX_PIECE))
    const { frames, rest } = readFrames(Buffer.concat(pieces))
    t.equal(rest.length, 0)
    t.strictSame(frames.map(({ payload }) => payload.length), lengths)
    t.ok(frames.every(({ payload }, i) => payload.equals(pattern(lengths[i]!))))
  }
})

test('feed() and write() take turns', async t => {
  const next = random(10)
  for (const role of ['server', 'client'] as const) {
    const serializer = new FrameSerializer({ role })
    const pieces: Buffer[] = []
    const sent: string[] = []
    for (let i = 0; i < 300; i++) {
      const payload = pattern(next() < 0.1 ? integer(next, 10_000, 200_000) : integer(next, 0, 500))
      sent.push(describe('0x2', payload))
      if (next() < 0.5) {
        serializer.feed({ opcode: 0x2, payload })
        pieces.push(...takeAll(serializer))
      } else {
        serializer.write({ opcode: 0x2, payload })
        for (let piece: Buffer | null = serializer.read(); piece !== null; piece = serializer.read()) pieces.push(piece)
      }
    }
    const { frames, rest } = readFrames(Buffer.concat(pieces))
    t.equal(rest.length, 0)
    t.strictSame(frames.map(frame => describe(frameLabel(frame), frame.payload)), sent)
  }
})

test('a frame that is none fails the stream, not the process', async t => {
  const serializer = new FrameSerializer({ role: 'server' })
  serializer.write({ opcode: 0x2, payload: 'a' })
  serializer.write({ opcode: 0x2, payload: undefined })
  await t.rejects(serializer.toArray(), { name: 'TypeError' })
})

test('what one serializer writes, the parser of the other side reads', async t => {
  for (const [role, reader] of [['server', 'client'], ['client', 'server']] as const) {
    const wrong: unknown[] = []
    for (const { bytes, frames: expected } of corpus(60, 40_000)) {
      const frames: OutgoingFrame[] = []
      for (const { opcode, fin, payload } of readFrames(bytes).frames.slice(0, expected.length)) {
        const isText = payload.equals(Buffer.from(payload.toString()))
        frames.push({ opcode: opcode as Opcode, fin, payload: isText ? payload.toString() : payload })
      }
      const serializer = new FrameSerializer({ role })
      const parser = new FrameParser({ role: reader, ownsChunks: true })
      for (const frame of frames) serializer.write(frame)
      serializer.end()
      const found: string[] = []
      let payloads: Buffer[] = []
      for await (const { opcode, fin, payload, last } of serializer.pipe(parser)) {
        payloads.push(payload)
        if (!last) continue
        found.push(describe(frameLabel({ opcode, fin }), Buffer.concat(payloads)))
        payloads = []
      }
      if (!isDeepStrictEqual(found, expected)) wrong.push({ found, expected })
    }
    t.strictSame(wrong.slice(0, 1), [], `from ${role} to ${reader}`)
  }
})

// ---- In lent memory ----

test('frames of any sizes are the same bytes in a slab, piece by piece, and those of up to 16 KiB lie in it', async t => {
  const next = random(31)
  let memory: unknown
  const slab = new class extends WriteSlab {
    override lend (): Buffer | null {
      const lent = super.lend()
      memory = lent?.buffer
      return lent
    }
  }()
  const wrong: unknown[] = []
  let inSlab = 0
  for (let round = 0; round < 300; round++) {
    const frames = Array.from({ length: integer(next, 1, 12) }, (): OutgoingFrame => {
      const length = next() < 0.8 ? integer(next, 0, 300) : integer(next, 0, 90 * KIB)
      return { opcode: next() < 0.5 ? 0x1 : 0x2, payload: next() < 0.3 ? 'x'.repeat(length) : pattern(length) }
    })
    const serializer = new FrameSerializer({ role: 'server' })
    serializer.borrow(slab)
    for (const frame of frames) serializer.feed(frame)
    if (next() < 0.2) serializer.settle()
    const pieces = takeAll(serializer)
    if (pieces.slice(1).some(({ buffer }) => buffer === memory)) wrong.push({ round, why: 'not the first piece' })
    if (pieces[0]!.buffer === memory) inSlab++
    if (!Buffer.concat(pieces).equals(serialize('server', ...frames))) wrong.push({ round, why: 'other bytes' })
    serializer.returnSlab(next() < 0.5)
  }
  t.strictSame(wrong, [])
  t.ok(inSlab > 50, `${inSlab} of 300`)
})

test('a slab goes back when its first piece was written, and keeps the bytes that are not out', async t => {
  const slab = new WriteSlab()
  const serializer = new FrameSerializer({ role: 'server' })
  const other = new FrameSerializer({ role: 'server' })
  serializer.borrow(slab)
  other.borrow(slab)
  serializer.feed({ opcode: 0x1, payload: 'first' })
  other.feed({ opcode: 0x1, payload: 'other' })
  const first = serializer.next()!
  t.not(other.next()!.buffer, first.buffer, 'nobody else writes to it meanwhile')
  serializer.returnSlab(false)
  other.borrow(slab)
  other.feed({ opcode: 0x1, payload: 'later' })
  const later = other.next()!
  t.equal(later.buffer, first.buffer)
  t.equal(first.subarray(2).toString(), 'first')
  other.returnSlab(true)
  serializer.borrow(slab)
  serializer.feed({ opcode: 0x1, payload: 'again' })
  t.equal(serializer.next()!.byteOffset, later.byteOffset, 'what was taken is used again')
  t.equal(later.subarray(2).toString(), 'again')
})

test('what has to wait leaves the slab, and what is dropped too', async t => {
  const slab = new WriteSlab()
  for (const payloads of [['waits'], ['waits', pattern(20 * KIB), 'and this']]) {
    const serializer = new FrameSerializer({ role: 'server' })
    serializer.borrow(slab)
    for (const payload of payloads) serializer.feed({ opcode: 0x2, payload })
    serializer.settle()
    const lent = slab.lend()!
    lent.fill(0xdd)
    slab.takeBack(0)
    t.ok(Buffer.concat(takeAll(serializer)).equals(serialize('server', ...payloads.map(payload => ({ opcode: 0x2 as const, payload })))))
  }
  const serializer = new FrameSerializer({ role: 'server' })
  serializer.borrow(slab)
  serializer.feed({ opcode: 0x2, payload: 'dropped' })
  serializer.clear()
  t.equal(serializer.next(), null)
  t.not(slab.lend(), null)
})

test('frames that others send too go out as they are, joined with what else goes out', async t => {
  const frame = serverFrame({ opcode: 0x1, payload: 'prepared' })
  const run = FrameRun.of(frame)
  const [one, other] = [new FrameSerializer({ role: 'server' }), new FrameSerializer({ role: 'server' })]
  t.equal(one.isEmpty, true)
  one.feedFrame(run)
  t.equal(one.isEmpty, false)
  t.equal(one.next(), frame)

  for (const serializer of [one, other]) for (let i = 0; i < 3; i++) serializer.feedFrame(run)
  const joined = one.next()!
  t.equal(show(joined), show(Buffer.concat([frame, frame, frame])))
  t.equal(other.next(), joined, 'once for all that send the same')
  t.equal(one.isEmpty, true)

  for (let i = 0; i < 3; i++) one.feedFrame(run)
  one.feed({ opcode: 0x1, payload: 'more' })
  one.feedFrame(run)
  t.strictSame(takeAll(one).map(show), [show(Buffer.concat([frame, frame, frame, serverFrame({ opcode: 0x1, payload: 'more' }), frame]))])
  t.equal(show(frame), show(serverFrame({ opcode: 0x1, payload: 'prepared' })), 'nobody wrote to it')

  one.feedFrame(run)
  one.clear()
  t.equal(one.next(), null)
  t.equal(one.isEmpty, true)
})

test('what has to wait is no run any more, which would keep an object for each frame', async t => {
  const [run, other] = ['a', 'b'].map(payload => FrameRun.of(serverFrame({ opcode: 0x1, payload }))) as [FrameRun, FrameRun]
  const joins: number[] = []
  const counting = t.intercept(FrameRun.prototype, 'followedBy', { value (this: FrameRun) { joins.push(this.length); return this } })
  const serializer = new FrameSerializer({ role: 'server' })
  for (const frame of [run, other, run]) {
    serializer.feedFrame(frame)
    serializer.settle()
  }
  counting.restore()
  t.strictSame(joins, [])
  t.strictSame(takeAll(serializer).map(show), [show(Buffer.concat([run.bytes, other.bytes, run.bytes]))])
})

test('a run that nobody else sends is joined in lent memory', async t => {
  const frames = Array.from({ length: 6 }, (_, i) => FrameRun.of(serverFrame({ opcode: 0x2, payload: Buffer.alloc(KIB, i) })))
  const whole = Buffer.concat(frames.map(({ bytes }) => bytes))
  const memories: Buffer[] = []
  const loans = new class extends WriteLoans {
    override lend (): Buffer | null {
      const memory = super.lend()
      if (memory !== null) memories.push(memory)
      return memory
    }
  }()
  const [alone, first, second] = Array.from({ length: 3 }, () => new FrameSerializer({ role: 'server' })) as [FrameSerializer, FrameSerializer, FrameSerializer]
  for (const serializer of [alone, first, second]) serializer.borrowFrom(loans)
  for (const frame of frames) alone.feedFrame(frame)
  const piece = alone.next()!
  t.equal(piece.buffer, memories[0]?.buffer)
  t.ok(piece.equals(whole))
  alone.passOnLoan()!(true)
  await turn()
  for (const serializer of [first, second]) for (const frame of frames) serializer.feedFrame(frame)
  const shared = first.next()!
  t.equal(second.next(), shared)
  t.ok(shared.equals(whole))
  t.equal(first.passOnLoan(), null)
  t.equal(memories.length, 1)
})

test('what others send too is cut into pieces of 64 KiB, and is the same bytes in any company', async t => {
  const next = random(43)
  const wrong: unknown[] = []
  const shared = Array.from({ length: 12 }, (_, i) => {
    const frame = serverFrame({ opcode: 0x2, payload: pattern(i < 9 ? integer(next, 0, 2 * KIB) : integer(next, 10 * KIB, 90 * KIB)) })
    return { frame, run: FrameRun.of(frame) }
  })
  for (let round = 0; round < 300; round++) {
    const serializer = new FrameSerializer({ role: 'server' })
    if (next() < 0.3) serializer.borrow(new WriteSlab())
    if (next() < 0.3) serializer.borrowFrom(new WriteLoans())
    const expected: Buffer[] = []
    const sent: Buffer[] = []
    for (let i = integer(next, 1, 100); i > 0; i--) {
      const { frame, run } = shared[integer(next, 0, shared.length - 1)]!
      if (next() < 0.8) {
        serializer.feedFrame(run)
        expected.push(frame)
      } else {
        const own = { opcode: 0x2 as const, payload: pattern(integer(next, 0, KIB)) }
        serializer.feed(own)
        expected.push(serverFrame(own))
      }
      if (next() < 0.05) {
        sent.push(Buffer.from(serializer.next()!))
        serializer.returnSlab(true)
      }
      if (next() < 0.03) serializer.settle()
      if (next() < 0.03) await turn() // a run is forgotten after a tick
    }
    sent.push(...takeAll(serializer))
    if (!Buffer.concat(sent).equals(Buffer.concat(expected))) wrong.push({ round })
    if (sent.some(({ length }) => length > 64 * KIB)) wrong.push({ round, lengths: sent.map(({ length }) => length) })
  }
  t.strictSame(wrong, [])
})

test('frames of any sizes are the same bytes in lent memory, which goes back with the piece that ends it', async t => {
  const next = random(37)
  const lent = new Set<ArrayBufferLike>()
  const loans = new class extends WriteLoans {
    override lend (): Buffer | null {
      const memory = super.lend()!
      lent.add(memory.buffer)
      return memory
    }
  }()
  const wrong: unknown[] = []
  let inLoans = 0
  for (const role of ['server', 'client'] as const) {
    for (let round = 0; round < 300; round++) {
      const frames = Array.from({ length: integer(next, 1, 30) }, (): OutgoingFrame => {
        const length = next() < 0.9 ? integer(next, 0, 2 * KIB) : integer(next, 0, 90 * KIB)
        return { opcode: 0x2, payload: next() < 0.3 ? 'x'.repeat(length) : pattern(length) }
      })
      const serializer = new FrameSerializer({ role })
      serializer.borrowFrom(loans)
      for (const frame of frames) serializer.feed(frame)
      const pieces: Buffer[] = []
      let written = 0 // as far as the lent memory has been used again
      for (let piece = serializer.next(integer(next, 1, 70 * KIB)); piece !== null; piece = serializer.next(integer(next, 1, 70 * KIB))) {
        pieces.push(lent.has(piece.buffer) ? Buffer.from(piece) : piece)
        const endLoan = serializer.passOnLoan()
        if (endLoan === null) continue
        inLoans++
        for (const { buffer } of pieces.slice(written)) if (lent.has(buffer)) wrong.push({ round, why: 'not a copy' })
        written = pieces.length
        endLoan(true)
        const again = loans.lend()!
        again.fill(0xdd) // whoever writes next
        loans.takeBack(again)
      }
      const expected = frames.map(({ payload }) => Buffer.from(payload as Buffer))
      const found = readFrames(Buffer.concat(pieces)).frames.map(({ payload }) => payload)
      if (!isDeepStrictEqual(found, expected)) wrong.push({ round, why: 'other bytes' })
    }
  }
  t.strictSame(wrong.slice(0, 3), [])
  t.ok(inLoans > 100, `${inLoans} of 600`)
  t.ok(lent.size < 5, `${lent.size} pieces of memory`)
})

test('lent memory that holds frames nobody asks for any more is not lent again', async t => {
  const loans = new WriteLoans()
  const serializer = new FrameSerializer({ role: 'server' })
  serializer.borrowFrom(loans)
  serializer.feed({ opcode: 0x2, payload: pattern(10 * KIB) })
  const piece = serializer.next(1000)! // may be on its way
  t.equal(serializer.passOnLoan(), null, 'the rest of it is still to come')
  serializer.clear()
  t.equal(serializer.passOnLoan(), null)
  t.not(loans.lend()!.buffer, piece.buffer)
})

test('memory is lent for 4 KiB and more', async t => {
  for (const [length, isLent] of [[4 * KIB - 5, false], [4 * KIB, true], [16 * KIB, true]] as const) {
    const serializer = new FrameSerializer({ role: 'server' })
    serializer.borrowFrom(new WriteLoans())
    serializer.feed({ opcode: 0x2, payload: pattern(length) })
    serializer.next()
    t.equal(serializer.passOnLoan() !== null, isLent, `${length}`)
  }
})
