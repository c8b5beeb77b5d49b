import { isDeepStrictEqual } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test } from 'tap'
import { Frame } from '../../lib/protocol/frame.ts'
import { LonePiece } from '../../lib/framing/lone-piece.ts'
import { MessageAssembler, type Message } from '../../lib/framing/message-assembler.ts'
import type { Opcode } from '../../lib/protocol/opcode.ts'
import { hex, show } from '../helpers/frames.ts'
import { cuts, integer, random } from '../helpers/random.ts'

const KIB = 1024
const INVALID = { name: 'ProtocolError', code: 'WS_ERR_INVALID_UTF8', closeCode: 1007 }

/** One piece: a frame that has come whole, unless `first` or `last` say that it has not. */
function piece (opcode: Opcode, fin: boolean, payload: Buffer | string, { first = true, last = true } = {}): Frame {
  return new Frame(opcode, fin, false, Buffer.from(payload), first, last)
}

/** The pieces that a message of these parts is: as fragments, or as one frame that comes bit by bit. */
function fragments (opcode: Opcode, parts: Buffer[]): Frame[] {
  return parts.map((part, i) => piece(i === 0 ? opcode : 0x0, i === parts.length - 1, part))
}

function piecesOfOneFrame (opcode: Opcode, parts: Buffer[]): Frame[] {
  return parts.map((part, i) => piece(opcode, true, part, { first: i === 0, last: i === parts.length - 1 }))
}

function plain (message: Message | null): { text: string } | { binary: string } | null {
  if (message === null) return null
  return message.isBinary ? { binary: show(message.data) } : { text: message.data.toString() }
}

test('a message that comes in one piece is handed on as the same memory', async t => {
  const assembler = new MessageAssembler()
  for (const opcode of [0x1, 0x2] as const) {
    for (const size of [0, 1, 100_000]) {
      const payload = Buffer.alloc(size, 'a')
      const message = assembler.add(new Frame(opcode, true, false, payload, true, true))!
      t.equal(message.data, payload)
      t.equal(message.isBinary, opcode === 0x2)
    }
  }
})

test('fragments are joined to a message when the last of them comes', async t => {
  const assembler = new MessageAssembler()
  const steps: [frame: Frame, message: ReturnType<typeof plain>][] = [
    [piece(0x1, false, 'Hel'), null],
    [piece(0x0, true, 'lo'), { text: 'Hello' }],
    [piece(0x2, false, hex('ff')), null],
    [piece(0x0, false, hex('fe')), null],
    [piece(0x0, true, hex('fd')), { binary: 'ff fe fd' }],
    [piece(0x1, true, 'whole'), { text: 'whole' }],
    [piece(0x1, false, ''), null],
    [piece(0x0, false, ''), null],
    [piece(0x0, true, ''), { text: '' }],
    [piece(0x2, false, ''), null],
    [piece(0x0, true, 'a'), { binary: '61' }],
    [piece(0x1, false, 'b'), null],
    [piece(0x0, true, ''), { text: 'b' }],
    [piece(0x2, true, hex('ff')), { binary: 'ff' }]
  ]
  for (const [i, [frame, message]] of steps.entries()) t.strictSame(plain(assembler.add(frame)), message, `step ${i}`)
})

test('pieces of one frame are joined when the last of them comes', async t => {
  const assembler = new MessageAssembler()
  const steps: [frame: Frame, message: ReturnType<typeof plain>][] = [
    [piece(0x1, true, 'He', { last: false }), null],
    [piece(0x1, true, 'l', { first: false, last: false }), null],
    [piece(0x1, true, 'lo', { first: false }), { text: 'Hello' }],
    [piece(0x2, true, hex('ff'), { last: false }), null],
    [piece(0x2, true, hex('fe'), { first: false }), { binary: 'ff fe' }],
    // fragments that come in pieces themselves
    [piece(0x1, false, 'a', { last: false }), null],
    [piece(0x1, false, 'b', { first: false }), null],
    [piece(0x0, true, 'c', { last: false }), null],
    [piece(0x0, true, 'd', { first: false }), { text: 'abcd' }],
    [piece(0x2, false, 'a', { last: false }), null],
    [piece(0x2, false, 'b', { first: false }), null],
    [piece(0x0, true, 'c'), { binary: '61 62 63' }]
  ]
  for (const [i, [frame, message]] of steps.entries()) t.strictSame(plain(assembler.add(frame)), message, `step ${i}`)
})

test('any message cut anywhere comes out as it was', async t => {
  const next = random(11)
  const assembler = new MessageAssembler()
  const wrong: unknown[] = []
  for (let round = 0; round < 500; round++) {
    const text = Array.from({ length: integer(next, 0, 300) }, () => ['a', 'é', '€', '😀'][integer(next, 0, 3)]).join('')
    const parts = cuts(Buffer.from(text), next)
    const opcode = next() < 0.7 ? 0x1 : 0x2
    const frames = (next() < 0.5 ? fragments : piecesOfOneFrame)(opcode, parts)
    const last = frames.pop() ?? piece(opcode, true, '')
    const early = frames.some(frame => assembler.add(frame) !== null)
    const message = assembler.add(last)!
    if (early || message.data.toString() !== text || message.isBinary !== (opcode === 0x2)) wrong.push({ round, early, message, text })
  }
  t.strictSame(wrong, [])
})

test('a joined message is memory of its own, which no later one writes to', async t => {
  const assembler = new MessageAssembler()
  const first = hex('61')
  assembler.add(new Frame(0x2, false, false, first, true, true))
  first.fill(0xff) // the chunk that it came in is used again
  const message = assembler.add(piece(0x0, true, 'b'))!
  assembler.add(piece(0x2, false, 'xxx'))
  const later = assembler.add(piece(0x0, true, 'yyy'))!
  t.equal(message.data.toString(), 'ab')
  t.equal(later.data.toString(), 'xxxyyy')
})

test('65,536 fragments of one byte pass, and cost memory by their bytes and not by their number', async t => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const assembler = new MessageAssembler()
  const memory = Buffer.alloc(64 * KIB, 'a')
  collectGarbage()
  const before = process.memoryUsage()
  let mostAllocated = 0
  for (let i = 0; i < memory.length - 1; i++) {
    assembler.add(new Frame(i === 0 ? 0x1 : 0x0, false, false, memory.subarray(i, i + 1), true, true))
    if (i % 256 === 0) mostAllocated = Math.max(mostAllocated, process.memoryUsage().arrayBuffers - before.arrayBuffers)
  }
  t.ok(mostAllocated <= 4 * memory.length, `${mostAllocated} bytes of buffers were allocated, old ones included`)
  collectGarbage()
  const after = process.memoryUsage()
  const held = after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers
  t.ok(held < 4 * memory.length, `${held} bytes are held`)
  const message = assembler.add(new Frame(0x0, true, false, memory.subarray(-1), true, true))!
  t.ok(message.data.equals(memory))
  t.equal(message.isBinary, false)
})

test('an assembler between two messages holds none of their memory', async t => {
  const assembler = new MessageAssembler()
  const pool = Buffer.from('a').buffer // a little larger than Buffer.poolSize from Node 26 on
  for (const opcode of [0x1, 0x2] as const) {
    assembler.add(piece(opcode, false, 'a'.repeat(2 * pool.byteLength)))
    assembler.add(piece(0x0, true, 'b'))
    assembler.add(piece(opcode, false, 'a'))
    const first = assembler.add(piece(0x0, true, 'b'))!
    assembler.add(piece(opcode, false, 'c'))
    const second = assembler.add(piece(0x0, true, 'd'))!
    for (const { data } of [first, second]) t.ok(data.buffer.byteLength <= pool.byteLength, 'it is small, or shares the pool of small Buffers')
  }
})

// ---- Text, §8.1 ----

test('a whole text message that is not UTF-8 fails with 1007', async t => {
  for (const bytes of ['80', 'c3', 'c3 28', 'c0 80', 'e2 82', 'ed a0 80', 'f4 90 80 80', 'f8 88 80 80 80', 'ff', '61 e2 28 a1', 'f0 9f 98']) {
    t.throws(() => new MessageAssembler().add(piece(0x1, true, hex(bytes))), INVALID, bytes)
  }
})

test('a text fails at the piece that brings the first bad byte, before the message ends', async t => {
  // pieces separated by '|'; the last of them is the one that cannot be
  const texts = [
    'ff', '61 | 80', '61 | 62 | c0', 'c3 | 28', 'c3 | c3', 'e0 | 80', 'e2 | 82 | 28', 'e2 82 | 62', 'ed | a0', 'f0 | 8f', 'f0 9f | 98 | 61',
    'f4 | 90', 'f5', '61 62 f8', 'c3 a9 80', '61 c3 | a9 ff', 'c1', 'e2 82 ac | e2 28', 'f0 9f 98 80 80'
  ]
  for (const text of texts) {
    const parts = text.split('|').map(hex)
    for (const split of [fragments, piecesOfOneFrame]) {
      const assembler = new MessageAssembler()
      const frames = split(0x1, [...parts, Buffer.from('more')])
      for (const frame of frames.slice(0, parts.length - 1)) t.equal(assembler.add(frame), null)
      t.throws(() => assembler.add(frames[parts.length - 1]!), INVALID, `${text}, ${split.name}`)
    }
  }
})

test('a text may be cut inside its characters', async t => {
  const text = 'é€😀\u{10ffff}\ufeff\ud7ff'
  const bytes = Buffer.from(text)
  const wrong: unknown[] = []
  for (const split of [fragments, piecesOfOneFrame]) {
    for (let i = 0; i <= bytes.length; i++) {
      for (let j = i; j <= bytes.length; j++) {
        const assembler = new MessageAssembler()
        const frames = split(0x1, [bytes.subarray(0, i), bytes.subarray(i, j), bytes.subarray(j)])
        const messages = frames.map(frame => plain(assembler.add(frame)))
        if (!isDeepStrictEqual(messages, [null, null, { text }])) wrong.push({ i, j, messages })
      }
    }
  }
  t.strictSame(wrong, [])
  const assembler = new MessageAssembler()
  const frames = fragments(0x1, Array.from(bytes, byte => Buffer.from([byte])))
  t.strictSame(plain(frames.map(frame => assembler.add(frame)).at(-1)!), { text }, 'byte by byte')
})

test('a text that ends inside a character fails with 1007', async t => {
  for (const text of ['61 | c3', 'e2 | 82', '61 | f0 9f 98', 'f0 | 9f | 98', 'c3 | ', '| e2']) {
    const parts = text.split('|').map(hex)
    for (const split of [fragments, piecesOfOneFrame]) {
      const assembler = new MessageAssembler()
      const frames = split(0x1, parts)
      for (const frame of frames.slice(0, -1)) t.equal(assembler.add(frame), null)
      t.throws(() => assembler.add(frames.at(-1)!), INVALID, `${text}, ${split.name}`)
    }
  }
})

test('a binary message may hold any bytes, also after a text and before one', async t => {
  const assembler = new MessageAssembler()
  t.strictSame(plain(assembler.add(piece(0x2, true, hex('ff c3')))), { binary: 'ff c3' })
  assembler.add(piece(0x1, false, hex('c3')))
  t.strictSame(plain(assembler.add(piece(0x0, true, hex('a9')))), { text: 'é' })
  assembler.add(piece(0x2, false, hex('ff')))
  assembler.add(piece(0x0, false, hex('c3')))
  t.strictSame(plain(assembler.add(piece(0x0, true, hex('28')))), { binary: 'ff c3 28' })
  assembler.add(piece(0x1, false, 'a'))
  t.throws(() => assembler.add(piece(0x0, true, hex('80'))), INVALID)
})

test('chunks of which only the message has a part are freed once it is joined', async t => {
  const lone = (letter: string, first: boolean, last: boolean): LonePiece => new LonePiece(0x2, true, false, Buffer.alloc(64 * KIB, letter), first, last)
  const [begin, middle, end] = [lone('a', true, false), lone('b', false, false), lone('c', false, true)]
  const assembler = new MessageAssembler()
  for (const frame of [begin, middle]) t.equal(assembler.add(frame), null)
  t.equal(begin.payload.length, 64 * KIB, 'not before')
  t.equal(String(assembler.add(end)!.data), ['a', 'b', 'c'].map(letter => letter.repeat(64 * KIB)).join(''))
  t.strictSame([begin, middle, end].map(frame => frame.payload.length), [0, 0, 0])

  const [taken, rest] = [lone('d', true, false), lone('e', false, true)]
  assembler.add(taken)
  t.equal(assembler.take().buffer, taken.payload.buffer)
  assembler.add(rest)
  t.equal(taken.payload.length, 64 * KIB, 'what a reader took before the end stays')
})
