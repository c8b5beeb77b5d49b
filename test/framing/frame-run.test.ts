import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test } from 'tap'
import { FrameRun } from '../../lib/framing/frame-run.ts'

const frames = Array.from({ length: 5 }, (_, i) => Buffer.alloc(i + 1, i + 1))

test('all that send the same frames in the same order meet in one run, which is joined once', async t => {
  const runs = frames.map(frame => FrameRun.of(frame))
  const [first, ...others] = runs as [FrameRun, ...FrameRun[]]
  const meet = (): FrameRun => others.reduce((run, next) => run.followedBy(next), first)
  const run = meet()
  t.equal(run.length, 15)
  t.strictSame(run.bytes, Buffer.concat(frames))
  t.equal(meet(), run)
  t.equal(meet().bytes, run.bytes)
  t.equal(first.bytes, frames[0], 'one frame is not copied')

  const short = first.followedBy(others[0]!)
  t.strictSame(short.bytes, Buffer.concat(frames.slice(0, 2)), 'who stops before has less')
  t.strictSame(short.followedBy(others[3]!).bytes, Buffer.concat([frames[0]!, frames[1]!, frames[4]!]), 'who goes on with something else has that')
  t.strictSame(first.followedBy(first).followedBy(first).bytes, Buffer.concat([frames[0]!, frames[0]!, frames[0]!]))
})

test('a run that was joined is not joined again by who goes on from it', async t => {
  const run = FrameRun.of(frames[0]!).followedBy(FrameRun.of(frames[1]!))
  const { bytes } = run
  const longer = run.followedBy(FrameRun.of(frames[2]!))
  bytes.fill(9) // what nobody may do shows where the bytes are from
  t.strictSame(longer.bytes, Buffer.concat([bytes, frames[2]!]))
})

test('a thousand frames are joined as well', async t => {
  const frame = FrameRun.of(Buffer.from('x'))
  let run = frame
  for (let i = 1; i < 1000; i++) run = run.followedBy(frame)
  t.equal(String(run.bytes), 'x'.repeat(1000))
})

test('a frame that is kept does not keep what was sent behind it', async t => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const kept = FrameRun.of(frames[0]!)
  const after = new WeakRef(kept.followedBy(FrameRun.of(Buffer.alloc(1000))))
  t.not(after.deref(), undefined)
  await new Promise(resolve => { setImmediate(resolve) })
  gc()
  t.equal(after.deref(), undefined)
  t.equal(kept.followedBy(FrameRun.of(frames[1]!)).length, 3)
})
