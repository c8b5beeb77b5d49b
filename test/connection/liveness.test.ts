import { once } from 'node:events'
import { test } from 'tap'
import { Heartbeat } from '../../lib/connection/heartbeat.ts'
import { Liveness, type LivenessOwner, type LivenessSettings } from '../../lib/connection/liveness.ts'
import { startConnection } from '../helpers/app.ts'
import { describe, text } from '../helpers/raw-client.ts'

const SETTINGS = { heartbeat: { interval: 100, timeout: 50 }, stallTimeout: 1000 }

function setUp (given: Omit<LivenessSettings, 'role'> & Partial<LivenessSettings> = SETTINGS) {
  const events: string[] = []
  const state = { reading: true, unsent: false, written: 0 }
  const owner: LivenessOwner = {
    isReading: () => state.reading,
    hasUnsentBytes: () => state.unsent,
    bytesWritten: () => state.written,
    onSilence () { events.push('ask') },
    onStalled () { events.push('stalled') },
    onExit () {},
    onDead () { events.push('dead') }
  }
  const settings: LivenessSettings = { role: 'server', ...given }
  const liveness = new Liveness(settings, owner)
  const start = clockOf(settings)
  return { events, state, liveness, beat: (time: number) => { liveness.onBeat(start + time) }, wake: (time: number) => { liveness.onWake(start + time) } }
}

/** What the clock shows now that a Liveness with these settings goes by. */
function clockOf ({ heartbeat, stallTimeout }: LivenessSettings): number {
  const shortest = heartbeat === false ? stallTimeout : Math.min(heartbeat.interval, heartbeat.timeout, stallTimeout)
  return Heartbeat.of(Math.min(1000, Math.max(5, Math.ceil(shortest / 8)))).now
}

test('after the interval of silence the peer is asked, after the time-out it is dead', async t => {
  const { events, liveness, beat } = setUp()
  t.teardown(() => { liveness.stop() })
  beat(89) // up to a tenth less, so that not all are asked at once
  t.strictSame(events, [])
  beat(100)
  t.strictSame(events, ['ask'])
  beat(149)
  t.strictSame(events, ['ask'])
  beat(150)
  t.strictSame(events, ['ask', 'dead'])
})

test('any byte is a sign of life', async t => {
  const { events, liveness, beat } = setUp()
  t.teardown(() => { liveness.stop() })
  beat(100)
  liveness.heard()
  beat(151)
  t.strictSame(events, ['ask', 'ask'], 'the clock of heard() has not gone on, so there is a second question')
})

test('while we do not read, or bytes wait in front of the Ping, silence is no proof, but Pings go out', async t => {
  for (const change of [{ reading: false }, { unsent: true }]) {
    const { events, state, liveness, beat } = setUp()
    t.teardown(() => { liveness.stop() })
    beat(100)
    Object.assign(state, change)
    beat(150)
    beat(200)
    t.strictSame(events, ['ask', 'ask', 'ask'])
    Object.assign(state, { reading: true, unsent: false })
    beat(250)
    t.equal(events.at(-1), 'dead')
  }
})

test('unsent bytes without progress for stallTimeout mean the end, with or without a heartbeat', async t => {
  for (const heartbeat of [false, { interval: 5000, timeout: 5000 }] as const) {
    const { events, state, liveness, beat } = setUp({ heartbeat, stallTimeout: 100 })
    t.teardown(() => { liveness.stop() })
    beat(200)
    state.unsent = true
    beat(299)
    t.strictSame(events, [], 'it counts from when the queue was last seen empty')
    beat(300)
    t.strictSame(events, ['stalled'])
  }
})

test('progress puts the end off', async t => {
  const { events, state, liveness, beat } = setUp({ heartbeat: false, stallTimeout: 100 })
  t.teardown(() => { liveness.stop() })
  state.unsent = true
  beat(0)
  for (let time = 90; time <= 360; time += 90) {
    state.written++
    beat(time)
  }
  beat(459)
  t.strictSame(events, [], 'though something was unsent at each beat')
  beat(460)
  t.strictSame(events, ['stalled'])
})

test('without a heartbeat nobody is asked', async t => {
  const { events, liveness, beat } = setUp({ heartbeat: false, stallTimeout: 100 })
  t.teardown(() => { liveness.stop() })
  beat(1_000_000)
  t.strictSame(events, [])
})

test('a peer that is silent and does not answer Pings is dropped', async t => {
  const { client, connection } = await startConnection(t, { heartbeat: { interval: 40, timeout: 40 } }, () => {})
  t.equal(describe(await client.next()), 'ping')
  t.match(await connection.closed, { code: 1006, wasClean: false })
})

test('a peer that answers Pings, or sends anything, stays', async t => {
  let alive = 0
  const { client, connection } = await startConnection(t, { heartbeat: { interval: 40, timeout: 40 } }, connection => {
    connection.on('message', () => {
      alive++
      if (alive === 5) connection.close(1000)
    })
  })
  for (let i = 0; i < 5; i++) {
    t.equal(describe(await client.next()), 'ping')
    client.write(text('here'))
  }
  t.equal(describe(await client.next()), 'close 1000')
  connection.terminate()
})

test('a paused connection finds out that its peer has closed TCP', async t => {
  const { client, connection } = await startConnection(t, {
    heartbeat: { interval: 40, timeout: 40 }, highWaterMark: 100, closeTimeout: 40
  }, connection => { connection.pause() })
  const paused = once(connection._socket!, 'pause')
  client.write(text('x'.repeat(200)), text('never parsed'))
  await paused
  client.destroy()
  t.match(await connection.closed, { code: 1006 })
})

test('a sender that ignores false is cut off at maxBufferedAmount: slow, then 1013 for a peer that reads after all', async t => {
  const { client, connection } = await startConnection(t, { maxBufferedAmount: 1_000_000 }, () => {})
  client.pause()
  const slow = once(connection, 'slow')
  let sent = 0
  while (connection.readyState === connection.OPEN) {
    connection.send(Buffer.alloc(100_000))
    sent++
  }
  t.ok(connection.bufferedAmount <= 1_200_000, `${connection.bufferedAmount}`)
  t.equal(connection.send('more'), false)
  await slow
  client.resume()
  for (let i = 0; i < sent; i++) t.equal((await client.next()).payload.length, 100_000)
  t.equal(describe(await client.next()), 'close 1013 slow reader')
  client.end()
  t.match(await connection.closed, { code: 1006 })
})

test('one large message on an empty queue may be larger than maxBufferedAmount', async t => {
  const { client, connection } = await startConnection(t, { maxBufferedAmount: 1000 }, () => {})
  t.equal(connection.send(Buffer.alloc(5_000_000)), false)
  t.equal((await client.next()).payload.length, 5_000_000)
  await connection.drained()
  t.equal(connection.readyState, connection.OPEN)
})

test('a peer that takes nothing for stallTimeout is dropped', async t => {
  const { client, connection } = await startConnection(t, { stallTimeout: 50 }, () => {})
  client.pause()
  let sent = true
  for (let i = 0; i < 12; i++) sent = connection.send(Buffer.alloc(1_000_000))
  t.equal(sent, false)
  t.match(await connection.closed, { code: 1006 })
})

test('a client that wakes asks at once, and waits five seconds for the answer, or for the timeout if that is less', async t => {
  for (const [timeout, patience] of [[30_000, 5_000], [200, 200]] as const) {
    const { events, liveness, beat, wake } = setUp({ heartbeat: { interval: 30_000, timeout }, stallTimeout: 60_000, role: 'client' })
    t.teardown(() => { liveness.stop() })
    wake(10)
    t.strictSame(events, ['ask'])
    beat(10 + patience - 1)
    t.strictSame(events, ['ask'])
    beat(10 + patience)
    t.strictSame(events, ['ask', 'dead'])
  }
})

test('a client that wakes and is answered goes on as before', async t => {
  const { events, liveness, beat, wake } = setUp({ heartbeat: { interval: 30_000, timeout: 30_000 }, stallTimeout: 60_000, role: 'client' })
  t.teardown(() => { liveness.stop() })
  wake(10)
  liveness.heard()
  beat(6_000)
  t.strictSame(events, ['ask'])
})

test('a server, or a client without a heartbeat, asks nobody when it wakes', async t => {
  for (const settings of [{ ...SETTINGS, role: 'server' }, { heartbeat: false, stallTimeout: 1000, role: 'client' }] as const) {
    const { events, liveness, wake } = setUp(settings)
    t.teardown(() => { liveness.stop() })
    wake(10)
    t.strictSame(events, [])
  }
})
