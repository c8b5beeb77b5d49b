import { EventEmitter } from 'node:events'
import type { ClientHttp2Session } from 'node:http2'
import { test } from 'tap'
import { PooledSession } from '../../lib/client/pooled-session.ts'
import { SessionPool, type Opened } from '../../lib/client/session-pool.ts'

const NEVER = new AbortController().signal

function fakeSession (maxConcurrentStreams: number): { session: ClientHttp2Session } {
  const session = Object.assign(new EventEmitter(), { remoteSettings: { maxConcurrentStreams }, ref () {}, unref () {}, close () {}, destroy () {} })
  return { session: session as unknown as ClientHttp2Session }
}

function setUp (open: (count: number, signal: AbortSignal) => Promise<Opened>) {
  const events: string[] = []
  let count = 0
  const pool = new SessionPool(async signal => {
    events.push('open')
    return await open(count++, signal)
  }, () => { events.push('empty') })
  return { events, pool }
}

test('all who wait share one opening, and one after the other as many as they need', async t => {
  const { events, pool } = setUp(async () => fakeSession(2))
  const taken = await Promise.all(Array.from({ length: 5 }, () => pool.take(NEVER)))
  t.equal(events.filter(event => event === 'open').length, 3)
  t.equal(new Set(taken).size, 3)
  for (const session of taken) (session as PooledSession).release()
  for (const session of new Set(taken)) (session as PooledSession).evict()
  t.equal(events.at(-1), 'empty')
})

test('who gives up leaves the others to it, and the last gives the opening up', async t => {
  const signals: AbortSignal[] = []
  const { events, pool } = setUp((_count, signal) => {
    signals.push(signal)
    return new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(new Error('given up')) }) })
  })
  const [first, second] = [new AbortController(), new AbortController()]
  const waits = [pool.take(first.signal), pool.take(second.signal)]
  first.abort(new Error('one'))
  await t.rejects(waits[0]!, { message: 'one' })
  t.equal(signals[0]!.aborted, false)
  second.abort(new Error('two'))
  await t.rejects(waits[1]!, { message: 'two' })
  t.equal(signals[0]!.aborted, true)
  await new Promise(resolve => { setImmediate(resolve) })
  t.strictSame(events, ['open', 'empty'])
  await t.rejects(pool.take(first.signal), { message: 'one' })
})

test('an opening that fails is told to all who wait, and the next begins anew', async t => {
  const { events, pool } = setUp(async count => {
    if (count === 0) throw new Error('refused')
    return fakeSession(1)
  })
  const results = await Promise.allSettled([pool.take(NEVER), pool.take(NEVER)])
  t.match(results, [{ reason: { message: 'refused' } }, { reason: { message: 'refused' } }])
  t.ok(await pool.take(NEVER) instanceof PooledSession)
  t.strictSame(events.filter(event => event === 'open').length, 2)
})

test('what is no session is for all who wait, and a session without room for nobody', async t => {
  const socket = { socket: null }
  const { pool } = setUp(async () => socket)
  t.strictSame(await Promise.all([pool.take(NEVER), pool.take(NEVER)]), [socket, socket])
  const full = setUp(async () => fakeSession(0))
  await t.rejects(full.pool.take(NEVER), { code: 'FST_WS_HTTP2', statusCode: 503 })
})
