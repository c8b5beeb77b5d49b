import http from 'node:http'
import { test } from 'tap'
import { createMask, mask as ofThisNode, type Mask } from '../../lib/protocol/mask.ts'
import { cuts, integer, random } from '../helpers/random.ts'

/** RFC 6455 §5.3 to the letter: transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4). */
function reference (payload: Buffer, key: number, position = 0): Buffer {
  const octets = [key >>> 24, (key >>> 16) & 0xff, (key >>> 8) & 0xff, key & 0xff]
  const masked = Buffer.alloc(payload.length)
  for (let i = 0; i < payload.length; i++) masked[i] = payload[i]! ^ octets[(position + i) & 3]!
  return masked
}

/** Random bytes that start `offset` bytes into their memory. */
function bufferAt (offset: number, length: number, next: () => number): Buffer {
  const buffer = Buffer.from(new ArrayBuffer(offset + length), offset, length)
  for (let i = 0; i < length; i++) buffer[i] = integer(next, 0, 0xff)
  return buffer
}

// every byte of them different, the top bit set and not, signed and unsigned
const KEYS = [0x37fa213d, 0x01020304, 0xf1e2d3c4, 0x80818283, 0x80818283 | 0, 0xff008001, -1]
const GUARD = 8

interface Case { length: number, key: number, position: number, sourceOffset: number, sourceStart: number, targetOffset: number, targetStart: number }

/** Masks random bytes as `c` says, between two buffers and in place, and names what differs from the reference. */
function differences (mask: Mask, c: Case, next: () => number): string[] {
  const { length, key, position, sourceOffset, sourceStart, targetOffset, targetStart } = c
  const found: string[] = []
  const source = bufferAt(sourceOffset, sourceStart + length + GUARD, next)
  const sourceBefore = Buffer.from(source)
  const expected = reference(source.subarray(sourceStart, sourceStart + length), key, position)

  const target = bufferAt(targetOffset, targetStart + length + GUARD, next)
  const targetBefore = Buffer.from(target)
  mask(source, sourceStart, target, targetStart, length, key, position)
  expected.copy(targetBefore, targetStart)
  if (!target.equals(targetBefore)) found.push(`into another buffer: ${JSON.stringify(c)}`)
  if (!source.equals(sourceBefore)) found.push(`the source was changed: ${JSON.stringify(c)}`)

  mask(source, sourceStart, source, sourceStart, length, key, position)
  expected.copy(sourceBefore, sourceStart)
  if (!source.equals(sourceBefore)) found.push(`in place: ${JSON.stringify(c)}`)
  return found
}

/** As websocketMask() of node:http, which not every Node has. */
function maskOctets (source: Buffer, key: Buffer, target: Buffer, offset: number, length: number): void {
  reference(source.subarray(0, length), key.readInt32BE()).copy(target, offset)
}

const { websocketMask } = http as { websocketMask?: typeof maskOctets }

test('mask() is the native function where there is one', async t => {
  const calls: number[] = []
  const mask = createMask((source, _key, _target, _offset, length) => { calls.push(source.length, length) })
  const payload = Buffer.alloc(1000)
  mask(payload, 0, payload, 0, 1000, 1, 0)
  mask(payload, 100, payload, 100, 800, 1, 0)
  mask(payload, 0, payload, 0, 20, 1, 0)
  t.strictSame(calls, [1000, 1000, 800, 800], 'but for a few bytes')
  t.equal(ofThisNode.name, (websocketMask === undefined ? createMask(undefined) : mask).name)
})

for (const [way, mask] of [['own loops', createMask(undefined)], ['the native function', createMask(websocketMask ?? maskOctets)]] as const) {
  test(`by ${way}, the masked "Hello" of RFC 6455 §5.7 is unmasked`, async t => {
    const payload = Buffer.from('7f9f4d5158', 'hex')
    mask(payload, 0, payload, 0, 5, 0x37fa213d, 0)
    t.equal(payload.toString(), 'Hello')
  })

  test(`by ${way}, zeros show the key, from whatever position of the frame`, async t => {
    const shown: string[] = []
    for (let position = 0; position < 8; position++) {
      const payload = Buffer.alloc(6)
      mask(payload, 0, payload, 0, 6, 0xf1e2d3c4, position)
      shown.push(payload.toString('hex'))
    }
    t.strictSame(shown, [
      'f1e2d3c4f1e2', 'e2d3c4f1e2d3', 'd3c4f1e2d3c4', 'c4f1e2d3c4f1',
      'f1e2d3c4f1e2', 'e2d3c4f1e2d3', 'd3c4f1e2d3c4', 'c4f1e2d3c4f1'
    ])
  })

  test(`by ${way}, a position beyond 32 bits counts as any other`, async t => {
    for (const [position, key] of [[2 ** 32 + 1, 'e2d3c4f1'], [2 ** 52 + 2, 'd3c4f1e2'], [Number.MAX_SAFE_INTEGER, 'c4f1e2d3']] as const) {
      const payload = Buffer.alloc(4)
      mask(payload, 0, payload, 0, 4, 0xf1e2d3c4, position)
      t.equal(payload.toString('hex'), key, `${position}`)
    }
  })

  test(`by ${way}, any length, alignment and position is masked as octet by octet, and nothing around it is touched`, async t => {
    const next = random(53)
    const lengths = [...Array.from({ length: 72 }, (_, length) => length), ...Array.from({ length: 12 }, () => integer(next, 72, 300))]
    const found: string[] = []
    let cases = 0
    for (const length of lengths) {
      for (let sourceOffset = 0; sourceOffset < 8; sourceOffset++) {
        for (let position = 0; position < 8; position++) {
          const key = KEYS[cases++ % KEYS.length]!
          const [sourceStart, targetOffset, targetStart] = [integer(next, 0, 7), integer(next, 0, 7), integer(next, 0, 7)]
          found.push(...differences(mask, { length, key, position, sourceOffset, sourceStart, targetOffset, targetStart }, next))
        }
      }
    }
    t.equal(cases, 84 * 8 * 8)
    t.strictSame(found.slice(0, 5), [])
  })

  test(`by ${way}, 64 KiB, and a byte less and more, are masked as octet by octet at every alignment`, async t => {
    const next = random(64)
    const found: string[] = []
    for (const length of [0xffff, 0x1_0000, 0x1_0001]) {
      for (let alignment = 0; alignment < 8; alignment++) {
        const key = KEYS[alignment % KEYS.length]!
        found.push(...differences(mask, {
          length, key, position: integer(next, 0, 7), sourceOffset: alignment, sourceStart: 0, targetOffset: 0, targetStart: 7 - alignment
        }, next))
      }
    }
    t.strictSame(found.slice(0, 5), [])
  })

  test(`by ${way}, the sign of the key as an integer makes no difference`, async t => {
    for (const length of [7, 63]) {
      const signed = Buffer.alloc(length)
      const unsigned = Buffer.alloc(length)
      mask(signed, 0, signed, 0, length, 0xf1e2d3c4 | 0, 1)
      mask(unsigned, 0, unsigned, 0, length, 0xf1e2d3c4, 1)
      t.strictSame(signed, unsigned)
      t.equal(signed.toString('hex', 0, 4), 'e2d3c4f1')
    }
  })

  test(`by ${way}, a payload masked in pieces is the payload masked whole`, async t => {
    const next = random(5)
    for (const key of KEYS) {
      const payload = bufferAt(3, 2000, next)
      const whole = Buffer.alloc(2000)
      mask(payload, 0, whole, 0, 2000, key, 0)
      const pieces = cuts(payload, next)
      let position = 0
      for (const piece of pieces) {
        mask(piece, 0, piece, 0, piece.length, key, position)
        position += piece.length
      }
      t.strictSame(Buffer.concat(pieces), whole, `${pieces.length} pieces, key ${key}`)
    }
  })

  test(`by ${way}, masking twice gives the payload back`, async t => {
    const payload = Buffer.from('The payload length is 7 bits, 7+16 bits, or 7+64 bits. '.repeat(4))
    const masked = Buffer.alloc(payload.length)
    mask(payload, 0, masked, 0, payload.length, 0xf1e2d3c4, 2)
    t.notSame(masked, payload)
    mask(masked, 0, masked, 0, masked.length, 0xf1e2d3c4, 2)
    t.strictSame(masked, payload)
  })

  test(`by ${way}, source and target may be two views of the same memory`, async t => {
    const next = random(2)
    for (const length of [0, 1, 47, 48, 300]) {
      const memory = bufferAt(1, length + 2 * GUARD, next)
      const expected = Buffer.from(memory)
      reference(memory.subarray(5, 5 + length), 0xf1e2d3c4, 3).copy(expected, 5)
      mask(memory.subarray(2), 3, memory.subarray(4), 1, length, 0xf1e2d3c4, 3)
      t.strictSame(memory, expected, `${length} bytes`)
    }
  })

  test(`by ${way}, a payload may be masked into another place of its own buffer`, async t => {
    const next = random(3)
    for (const length of [5, 47, 48, 300]) {
      const buffer = bufferAt(1, 2 * length + 3, next)
      const expected = Buffer.from(buffer)
      reference(buffer.subarray(0, length), 0xf1e2d3c4, 3).copy(expected, length + 3)
      mask(buffer, 0, buffer, length + 3, length, 0xf1e2d3c4, 3)
      t.strictSame(buffer, expected, `${length} bytes`)
    }
  })
}
