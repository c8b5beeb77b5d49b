import { test } from 'tap'
import { ByteCollector } from '../../lib/framing/byte-collector.ts'
import { integer, random } from '../helpers/random.ts'

const KIB = 1024

function collect (...pieces: Buffer[]): ByteCollector {
  const collector = new ByteCollector()
  for (const piece of pieces) collector.append(piece)
  return collector
}

test('what came in pieces of any size comes out whole, and then it is empty', async t => {
  const next = random(1)
  const collector = new ByteCollector()
  for (let round = 0; round < 100; round++) {
    const pieces = Array.from({ length: integer(next, 0, 20) }, () => Buffer.alloc(next() < 0.5 ? integer(next, 0, 10) : integer(next, 0, 10 * KIB), integer(next, 0, 255)))
    for (const piece of pieces) collector.append(piece)
    const whole = Buffer.concat(pieces)
    t.equal(collector.length, whole.length)
    if (!collector.take().equals(whole)) t.fail(`in round ${round}`)
    t.equal(collector.length, 0)
  }
  t.equal(collector.take().length, 0)
})

test('a large piece is not copied, unless it would keep a chunk of more than twice its size', async t => {
  const chunk = Buffer.alloc(8 * KIB)
  for (const [title, piece, isCopied] of [
    ['the whole of a chunk', chunk, false],
    ['half of a chunk', chunk.subarray(0, 4 * KIB), false],
    ['less than 4 KiB', Buffer.alloc(4 * KIB - 1), true],
    ['a smaller part of a larger chunk', Buffer.alloc(16 * KIB).subarray(0, 4 * KIB), true]
  ] as const) t.equal(collect(piece).take().buffer !== piece.buffer, isCopied, title)
})

test('a small piece is copied at once: whoever gave it may write over it', async t => {
  const piece = Buffer.from('abc')
  const collector = collect(piece, Buffer.alloc(8 * KIB, 'x'), piece)
  piece.fill('-')
  const whole = String(collector.take())
  t.equal(whole.replaceAll('x', ''), 'abcabc')
})

test('a million small pieces cost memory by their bytes', async t => {
  const collector = new ByteCollector()
  const piece = Buffer.from('x')
  const before = process.memoryUsage()
  for (let i = 0; i < 1_000_000; i++) collector.append(piece)
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  t.equal(collector.length, 1_000_000)
  t.ok(heapUsed - before.heapUsed < 20_000_000, `${heapUsed - before.heapUsed} of heap`)
  t.ok(arrayBuffers - before.arrayBuffers < 8_000_000, `${arrayBuffers - before.arrayBuffers} of buffers`)
  t.equal(collector.take().length, 1_000_000)
})
