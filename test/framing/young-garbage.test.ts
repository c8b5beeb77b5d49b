// Runs in a process of its own: what V8 collects depends on all that is in its heap.
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { test } from 'tap'
import { LARGE, makeYoungGarbage, youngGarbage } from '../../lib/framing/young-garbage.ts'

const isNeeded = Number.parseInt(process.versions.v8) >= 13

test('a quarter of what is outside of the heap becomes garbage inside, in pieces, where V8 needs that', t => {
  const before = youngGarbage()
  makeYoungGarbage(LARGE)
  t.equal(youngGarbage(), isNeeded ? LARGE / 4 / 8 : before)
  makeYoungGarbage(64 * 1024 * 5)
  t.equal(youngGarbage(), isNeeded ? 2048 : before)
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
  const chunk = 64 * 1024
  let held: Buffer | null = null
  for (let i = 0; i < 20_000; i++) {
    held = Buffer.allocUnsafeSlow(chunk)
    makeYoungGarbage(chunk)
    if (i % 16 === 0) await new Promise(resolve => { setImmediate(resolve) })
  }
  t.equal(held?.length, chunk)
  await new Promise(resolve => { setImmediate(resolve) })
  observer.disconnect()
  if (isNeeded) t.ok(counts.minor > 2 * counts.major, JSON.stringify(counts))
})
