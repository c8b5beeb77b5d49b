import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test } from 'tap'
import { ByteCollector } from '../../lib/framing/byte-collector.ts'
import { integer, random } from '../helpers/random.ts'

const KIB = 1024

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

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

test('pieces of one chunk are copied if they are less than its half once there is another chunk, or the end', async t => {
  const [first, second, third] = [Buffer.alloc(64 * KIB, 'a'), Buffer.alloc(64 * KIB, 'b'), Buffer.alloc(64 * KIB, 'c')]
  const piece = (chunk: Buffer, index: number): Buffer => chunk.subarray(index * 16 * KIB, (index + 1) * 16 * KIB)
  const collector = collect(piece(first, 0), Buffer.from('small'), piece(first, 1), piece(second, 3), piece(third, 0), piece(third, 2), Buffer.from('end'))
  // who may not write to it shows where it is
  for (const chunk of [first, second, third]) chunk.fill('-')
  t.equal(collector.length, 5 * 16 * KIB + 8)
  const whole = String(collector.take())
  t.equal(whole, ['-'.repeat(16 * KIB), 'small', '-'.repeat(16 * KIB), 'b'.repeat(16 * KIB), '-'.repeat(32 * KIB), 'end'].join(''))

  t.equal(collect(piece(first, 0), piece(first, 1)).take().length, 32 * KIB)
  const alone = collect(piece(second, 0)).take()
  t.not(alone.buffer, second.buffer, 'what keeps three times as much is copied at the end')
})

test('pieces of an eighth of a chunk cost memory by their bytes, but for the last', async t => {
  const collector = new ByteCollector()
  const chunks: Array<WeakRef<ArrayBufferLike>> = []
  for (let i = 0; i < 100; i++) {
    const chunk = Buffer.allocUnsafeSlow(64 * KIB)
    chunks.push(new WeakRef(chunk.buffer))
    collector.append(chunk.subarray(0, 8 * KIB))
  }
  await new Promise(resolve => { setImmediate(resolve) }) // a WeakRef holds for as long as the turn in which it was made
  collectGarbage()
  t.equal(chunks.filter(chunk => chunk.deref() !== undefined).length, 1)
  t.equal(collector.length, 800 * KIB)
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

test('memory that only a piece refers to is freed once it is copied', async t => {
  const collector = new ByteCollector()
  const [first, second, third, fourth] = ['a', 'b', 'c', 'd'].map(letter => Buffer.alloc(64 * KIB, letter)) as [Buffer, Buffer, Buffer, Buffer]
  const small = Buffer.allocUnsafeSlow(10)
  collector.append(first.subarray(14), true)
  collector.append(second, true)
  collector.append(third)
  collector.append(small, true)
  t.equal(collector.take().length, 3 * 64 * KIB - 4)
  t.strictSame([first, second, third, small].map(piece => piece.buffer.byteLength), [0, 0, 64 * KIB, 10], 'all but what others see, and the small piece')

  collector.append(third, true)
  t.equal(collector.take().buffer, third.buffer, 'a single piece is handed on')
  collector.append(fourth)
  collector.append(Buffer.from('end'))
  collector.take()
  t.equal(third.length, 64 * KIB, 'and never freed later')
})
