// Runs in a process of its own: what V8 collects depends on all that is in its heap.
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { test } from 'tap'
import { countOutside, free, garbage, LARGE, makeGarbage } from '../../lib/framing/outside-memory.ts'

const KIB = 1024
const needsGarbage = Number.parseInt(process.versions.v8) >= 13

test('half of what is allocated outside of the heap becomes garbage inside, in pieces and for much at a time, where V8 needs that', t => {
  const before = garbage()
  for (let i = 0; i < 100; i++) countOutside(LARGE - 1)
  countOutside(256 * KIB - 1)
  t.equal(garbage(), before, 'too small to count, and not yet enough')
  countOutside(LARGE)
  // what remains of 128 KiB and some after pieces of 16 KiB
  t.equal(garbage(), needsGarbage ? Math.round((256 * KIB - 1 + LARGE) / 16) % 2048 : before)
  countOutside(512 * KIB)
  t.equal(garbage(), needsGarbage ? 2048 : before)
  t.end()
})

test('what is freed is gone at once, and needs no garbage', t => {
  countOutside(256 * KIB + 16)
  const before = garbage()
  for (let i = 0; i < 100; i++) {
    const chunk = Buffer.allocUnsafeSlow(64 * KIB)
    const view = chunk.subarray(10)
    countOutside(chunk.length)
    free(chunk.buffer)
    t.strictSame([chunk.length, view.length, chunk.buffer.byteLength], [0, 0, 0])
  }
  t.equal(garbage(), before)
  t.equal(before, needsGarbage ? 1 : 0)
  t.end()
})

test('no message makes more garbage than fits, and what it frees spares no more than as much for a while', t => {
  countOutside(1024 * 1024 * KIB + 16)
  t.equal(garbage(), needsGarbage ? 2048 : 0)
  for (let i = 0; i < 10; i++) free(new ArrayBuffer(1024 * KIB))
  countOutside(4096 * KIB)
  countOutside(256 * KIB + 16)
  t.equal(garbage(), needsGarbage ? 1 : 0, 'after 4 MiB there is some again')
  t.end()
})

test('what cannot be freed is left alone', t => {
  const memory = new ArrayBuffer(64 * KIB)
  free(memory)
  t.doesNotThrow(() => {
    free(memory)
    free(new SharedArrayBuffer(64 * KIB))
  })
  t.end()
})

test('memory outside of the heap that dies young is collected by scavenges, and hardly ever by marking the heap', async t => {
  const counts = { major: 0, minor: 0 }
  const observer = new PerformanceObserver(list => {
    for (const entry of list.getEntries()) {
      const { kind } = (entry as unknown as { detail: { kind: number } }).detail
      if (kind === constants.NODE_PERFORMANCE_GC_MAJOR) counts.major++
      if (kind === constants.NODE_PERFORMANCE_GC_MINOR) counts.minor++
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  const chunk = 64 * KIB
  let held: Buffer | null = null
  for (let i = 0; i < 20_000; i++) {
    held = Buffer.allocUnsafeSlow(chunk)
    countOutside(chunk)
    if (i % 16 === 0) await new Promise(resolve => { setImmediate(resolve) })
  }
  t.equal(held?.length, chunk)
  await new Promise(resolve => { setImmediate(resolve) })
  observer.disconnect()
  if (needsGarbage) t.ok(counts.minor > 2 * counts.major, JSON.stringify(counts))
})

test('garbage is made in pieces of 16 KiB, which V8 puts into new space', t => {
  makeGarbage(3 * 16 * KIB)
  t.equal(garbage(), 2048)
  makeGarbage(3 * 16 * KIB + 80)
  t.equal(garbage(), 10, 'the last piece')
  t.end()
})
