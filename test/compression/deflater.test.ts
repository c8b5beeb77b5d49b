import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { test } from 'tap'
import { Deflater } from '../../lib/compression/deflater.ts'
import { random } from '../helpers/random.ts'

const SETTINGS = { level: 3, memLevel: 8, threshold: 1024, concurrency: 2 }
const PLAIN = { contextTakeover: false, windowBits: 15 }

function inflate (deflated: Buffer | null, windowBits = 15, dictionary = Buffer.alloc(0)): string {
  if (deflated === null) return 'not compressed'
  const options = { windowBits, finishFlush: constants.Z_SYNC_FLUSH, ...(dictionary.length > 0 ? { dictionary } : {}) }
  return inflateRawSync(Buffer.concat([deflated, Buffer.from([0, 0, 0xff, 0xff])]), options).toString('latin1')
}

/** Text that repeats itself after `period` bytes. */
function text (length: number, period = 200): string {
  const next = random(period)
  const part = Array.from({ length: period }, () => String.fromCharCode(97 + Math.floor(next() * 26))).join('')
  return part.repeat(Math.ceil(length / period)).slice(0, length)
}

test('what is deflated, at once or later, is inflated to what it was, with every window', async t => {
  for (let windowBits = 9; windowBits <= 15; windowBits++) {
    for (const level of [0, 1, 3, 9]) {
      const deflater = new Deflater({ contextTakeover: false, windowBits }, { ...SETTINGS, level, memLevel: 9 })
      for (const length of [1, 300, 1024, 5000, 33_000, 100_000]) {
        const data = text(length, 600)
        const deflated = deflater.deflateSync(Buffer.from(data))
        if (deflated !== null) t.ok(inflate(deflated, windowBits) === data, `${length} bytes with a window of 2^${windowBits}`)
        t.strictSame(await deflater.deflate(Buffer.from(data)), deflated)
        t.ok(level === 0 || length < 1024 || windowBits < 10 || deflated!.length < length, 'it is smaller')
      }
    }
  }
})

test('a message is compressed from the threshold on, and beside the event loop when it is large', async t => {
  const deflater = new Deflater(PLAIN, SETTINGS)
  t.strictSame([0, 1023, 1024, 10_000_000].map(length => deflater.takes(length)), [false, false, true, true])
  t.strictSame([1024, 32 * 1024, 32 * 1024 + 1].map(length => deflater.isQuick(length)), [true, true, false])
})

test('what does not get smaller stays as it is', async t => {
  const next = random(1)
  const noise = Buffer.from(Array.from({ length: 2000 }, () => Math.floor(next() * 256)))
  const deflater = new Deflater({ ...PLAIN, contextTakeover: true }, SETTINGS)
  t.equal(deflater.deflateSync(noise), null)
  t.equal(inflate(deflater.deflateSync(Buffer.from(text(2000)))), text(2000), 'and is not referred to')
})

test('level and memLevel are those of zlib for a large message, 9 too; a small one takes less memory', async t => {
  const next = random(7)
  const data = Buffer.from(Array.from({ length: 60_000 }, () => 97 + Math.floor(next() * next() * 26)))
  const lengths = [1, 5, 8, 9].map(memLevel => {
    const deflated = new Deflater(PLAIN, { ...SETTINGS, memLevel }).deflateSync(data)!
    const expected = deflateRawSync(data, { windowBits: 15, level: 3, memLevel, finishFlush: constants.Z_SYNC_FLUSH })
    t.ok(deflated.equals(expected.subarray(0, -4)), `memLevel ${memLevel}`)
    return deflated.length
  })
  t.equal(new Set(lengths).size, 4, 'each is different')
  const small = data.subarray(0, 2000)
  t.strictSame(new Deflater(PLAIN, { ...SETTINGS, memLevel: 9 }).deflateSync(small), new Deflater(PLAIN, { ...SETTINGS, memLevel: 4 }).deflateSync(small))
})

test('an empty message is one byte (RFC 7692 §7.2.3.6)', async t => {
  t.strictSame(new Deflater(PLAIN, { ...SETTINGS, threshold: 0 }).deflateSync(Buffer.alloc(0)), Buffer.from([0]))
})

test('with context takeover a message refers to those before it, as far as the window goes', async t => {
  for (const windowBits of [9, 12, 15]) {
    const deflater = new Deflater({ contextTakeover: true, windowBits }, SETTINGS)
    const data = Buffer.from(text(200, 200)) // zlib looks back 262 bytes less than the window
    const lengths: number[] = []
    let before = Buffer.alloc(0)
    for (let i = 0; i < 10; i++) {
      const deflated = i % 2 === 0 ? deflater.deflateSync(data) : await deflater.deflate(data)
      t.equal(inflate(deflated, windowBits, before.subarray(-(2 ** windowBits))), String(data))
      before = Buffer.concat([before, data])
      lengths.push(deflated!.length)
    }
    t.ok(lengths[1]! < lengths[0]! / 4, `${lengths}`)
  }
})

test('in a window of 2^8, which zlib has not, what fits into it is compressed', async t => {
  const deflater = new Deflater({ contextTakeover: true, windowBits: 8 }, { ...SETTINGS, threshold: 0 })
  t.strictSame([256, 257].map(length => deflater.takes(length)), [true, false])
  const data = text(256, 20)
  for (let i = 0; i < 3; i++) t.equal(inflate(deflater.deflateSync(Buffer.from(data)), 8), data, 'each message alone')
})
