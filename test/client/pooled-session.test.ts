import { EventEmitter } from 'node:events'
import type { ClientHttp2Session } from 'node:http2'
import { test } from 'tap'
import { PooledSession } from '../../lib/client/pooled-session.ts'

/** A session of which nothing is there, and time that goes on as it is told. */
function setUp (maxConcurrentStreams?: number) {
  const calls: string[] = []
  const timers = new Map<object, { callback: () => void, at: number }>()
  let now = 0
  let pong = (): void => {}
  const session = Object.assign(new EventEmitter(), {
    remoteSettings: { maxConcurrentStreams },
    ref () { calls.push('ref') },
    unref () { calls.push('unref') },
    close () { calls.push('close') },
    destroy () { calls.push('destroy') },
    ping (callback: () => void) {
      calls.push('ping')
      pong = callback
    }
  })
  const clock = {
    now: () => now,
    setTimeout: (callback: () => void, milliseconds: number) => {
      const timer = setTimeout(() => {}, 0) // of which clearTimeout() tells
      timers.set(timer, { callback, at: now + milliseconds })
      return timer
    }
  }
  const pass = (milliseconds: number): void => {
    now += milliseconds
    for (const [timer, { callback, at }] of timers) {
      if (at > now) continue
      timers.delete(timer)
      if (!(timer as { _destroyed?: boolean })._destroyed) callback()
    }
  }
  const pooled = new PooledSession(session as unknown as ClientHttp2Session, () => { calls.push('gone') }, clock)
  return { calls, pass, pong: () => { pong() }, pooled, session }
}

test('it keeps the process while it has streams, and goes ten seconds after the last', t => {
  const { calls, pass, pooled } = setUp()
  pooled.take()
  pooled.take()
  pooled.release()
  pass(20_000)
  t.strictSame(calls.splice(0), ['unref', 'ref', 'ref'])
  pooled.release()
  pass(9_999)
  t.strictSame(calls.splice(0), ['unref'])
  pass(1)
  t.strictSame(calls, ['gone', 'destroy'])
  t.equal(pooled.hasRoom, false)
  t.end()
})

test('there is room for as many streams as the server allows, and 100 at most', t => {
  for (const [allowed, count] of [[undefined, 100], [1000, 100], [2, 2], [0, 0]] as const) {
    const { pooled } = setUp(allowed)
    let taken = 0
    while (pooled.hasRoom) {
      pooled.take()
      taken++
    }
    t.equal(taken, count)
  }
  t.end()
})

for (const event of ['goaway', 'error', 'close']) {
  test(`${event}: no new streams, and it closes behind the last that is open`, t => {
    const { calls, pooled, session } = setUp()
    pooled.take()
    session.emit(event, new Error('x'))
    t.strictSame([pooled.hasRoom, pooled.isUsable], [false, false])
    session.emit('close')
    t.strictSame(calls.splice(0), ['unref', 'ref', 'gone'])
    pooled.release()
    t.strictSame(calls, ['close'])
    t.end()
  })
}

test('whoever takes a stream when nothing is known for ten seconds asks whether the server is there', t => {
  const { calls, pass, pong, pooled } = setUp()
  pooled.take()
  t.notOk(calls.includes('ping'))
  pass(10_000)
  pooled.take()
  pooled.take()
  t.equal(calls.filter(call => call === 'ping').length, 1)
  pong()
  pass(9_999)
  pooled.take()
  t.equal(calls.filter(call => call === 'ping').length, 1)
  pass(1)
  pooled.take()
  t.equal(calls.filter(call => call === 'ping').length, 2)
  t.equal(pooled.dead.aborted, false)
  pass(5_000)
  t.equal(pooled.dead.aborted, true)
  t.equal(pooled.isUsable, false)
  t.equal(calls.at(-1), 'gone')
  t.end()
})
