import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import { Heartbeat, type HeartbeatListener } from '../../lib/connection/heartbeat.ts'

/** Takes itself off after `count` beats. @returns what the clock showed at each */
function listenFor (heartbeat: Heartbeat, count: number): Promise<number[]> {
  return new Promise(resolve => {
    const seen: number[] = []
    const listener: HeartbeatListener = {
      onExit () {},
      onBeat (now) {
        seen.push(now)
        if (seen.length < count) return
        heartbeat.delete(listener)
        resolve(seen)
      }
    }
    heartbeat.add(listener)
  })
}

test('the clock stands still while the event loop does', async t => {
  const heartbeat = Heartbeat.of(7)
  const other = setInterval(() => {}, 1000) // the heartbeat alone does not keep a process
  t.teardown(() => { clearInterval(other) })
  let beats = 0
  const seen = new Promise<number>(resolve => {
    const listener = {
      onExit () {},
      onBeat (now: number) {
        beats++
        if (beats < 3) return
        heartbeat.delete(listener)
        resolve(now)
      }
    }
    heartbeat.add(listener)
  })
  const end = performance.now() + 200
  while (performance.now() < end); // the event loop stands
  const now = await seen
  t.ok(now > 0)
  t.ok(heartbeat.now <= beats * 14, `${heartbeat.now} ms in ${beats} beats of 7 ms`)
})

test('there is one for all connections with the same rhythm, and each beat is for all of them', async t => {
  const other = setInterval(() => {}, 1000)
  t.teardown(() => { clearInterval(other) })
  const heartbeat = Heartbeat.of(6)
  t.equal(Heartbeat.of(6), heartbeat)
  t.not(Heartbeat.of(8), heartbeat)
  const [short, long] = await Promise.all([listenFor(heartbeat, 2), listenFor(heartbeat, 4)])
  t.strictSame(short, long.slice(0, 2))
  for (const [i, now] of long.entries()) t.ok(Number.isInteger(now) && now > (long[i - 1] ?? 0), `beat ${i} at ${now}`)
})

test('the clock stands still while nobody listens, and goes on from there', async t => {
  const other = setInterval(() => {}, 1000)
  t.teardown(() => { clearInterval(other) })
  const heartbeat = Heartbeat.of(9)
  const [last] = (await listenFor(heartbeat, 2)).slice(-1)
  const end = performance.now() + 100
  while (performance.now() < end);
  t.equal(heartbeat.now, last)
  const [next] = await listenFor(heartbeat, 1)
  t.ok(next! > last! && next! <= last! + 18, `${next} after ${last}`)
})

test('a jump of the wall clock ahead of the beats tells of a sleep, once', async t => {
  const other = setInterval(() => {}, 1000)
  const { now } = Date
  t.teardown(() => {
    clearInterval(other)
    Date.now = now
  })
  for (const [jump, wakes] of [[1_000, 0], [-60_000, 0], [60_000, 1]] as const) {
    let woken = 0
    const heartbeat = Heartbeat.of(10)
    const listener = { onBeat () {}, onExit () {}, onWake () { woken++ } }
    heartbeat.add(listener)
    Date.now = () => now() + jump
    await listenFor(heartbeat, 3)
    heartbeat.delete(listener)
    Date.now = now
    t.equal(woken, wakes, `${jump} ms`)
  }
})

test('a process ends though there are listeners, and they are told first', async t => {
  const module = fileURLToPath(new URL('../../lib/connection/heartbeat.ts', import.meta.url))
  const { stdout, status } = spawnSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', `
    import { Heartbeat } from ${JSON.stringify(module)}
    for (const [period, name] of [[5, 'one'], [5, 'two'], [1000, 'other'], [5, 'deleted']]) {
      const listener = { onBeat () {}, onExit () { process.stdout.write(name + ' ') } }
      Heartbeat.of(period).add(listener)
      if (name === 'deleted') Heartbeat.of(period).delete(listener)
    }
  `], { encoding: 'utf8', timeout: 20_000 })
  t.strictSame([stdout, status], ['one two other ', 0])
})
