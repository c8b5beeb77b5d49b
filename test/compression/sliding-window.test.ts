import { test } from 'tap'
import { SlidingWindow } from '../../lib/compression/sliding-window.ts'

test('a window keeps the last bytes, and nobody else has its memory', async t => {
  const window = new SlidingWindow(5)
  t.equal(String(window.bytes), '')
  for (const [bytes, kept] of [['ab', 'ab'], ['', 'ab'], ['cde', 'abcde'], ['f', 'bcdef'], ['ghijkl', 'hijkl'], ['mnopq', 'mnopq']] as const) {
    window.add(Buffer.from(bytes))
    t.equal(String(window.bytes), kept)
    t.equal(window.bytes.buffer.byteLength, kept.length)
  }
})
