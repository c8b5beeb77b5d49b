// What is asked, and what becomes of it, by a connection of the test.
import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node'
import { test } from 'tap'
import { Refusal, Session, Unanswered, Unavailable } from '../../../lib/brokers/nats/session.ts'
import { NODE } from '../../../lib/topics/environment.ts'
import { turn } from '../../helpers/app.ts'

const answer = (value: unknown): Msg => ({ json: () => value }) as unknown as Msg
const error = (name: string, message: string): Error => Object.assign(new Error(message), { name })

function start (request: () => Promise<Msg>, flush: () => Promise<void> = async () => {}): { session: Session, expire: () => void, timers: Set<() => void> } {
  const timers = new Set<() => void>()
  const environment = {
    ...NODE,
    schedule: (callback: () => void) => {
      timers.add(callback)
      return () => { timers.delete(callback) }
    }
  }
  const connection = { request, flush, info: { server_id: 'server' } } as unknown as NatsConnection
  return { session: new Session({ connection, timeout: 5, environment }), timers, expire: () => { for (const callback of timers) callback() } }
}

test('an error says whether something was done', async t => {
  const cases: Array<[() => Promise<Msg>, Function, string]> = [
    [async () => { throw new Error('wrapped', { cause: error('PermissionViolationError', 'not permitted') }) }, Refusal, 'not permitted'],
    [async () => { throw new Error('wrapped', { cause: error('NoResponders', 'nobody') }) }, Unavailable, 'nobody'],
    [async () => answer({ error: { code: 503, err_code: 10_008, description: 'for now' } }), Unavailable, 'for now'],
    [async () => answer({ error: { code: 404, err_code: 10_059, description: 'no stream' } }), Unavailable, 'no stream'],
    [async () => answer({ error: { code: 503, err_code: 10_023, description: 'full' } }), Refusal, 'full'],
    [async () => answer({ error: { code: 400 } }), Refusal, 'error 400'],
    [async () => answer('text'), Refusal, 'its answer is not understood'],
    [async () => ({ json: () => { throw new Error('not JSON') } }) as unknown as Msg, Refusal, 'its answer is not understood'],
    [async () => { throw error('TimeoutError', 'of the client') }, Error, 'of the client'],
    [() => { throw new Error('at once') }, Error, 'at once']
  ]
  for (const [request, constructor, message] of cases) {
    const { session, timers } = start(request)
    for (const ask of [() => session.ask('api', {}), () => session.send('subject', Buffer.alloc(0), headers())]) {
      const rejected: unknown = await ask().catch((error: unknown) => error)
      t.match(rejected, { message })
      t.equal((rejected as Error).constructor, constructor, message)
    }
    t.equal(timers.size, 0)
  }
  t.strictSame(await start(async () => answer({ seq: 1 })).session.ask('api', {}), { seq: 1 })
})

test('what gets no answer rejects after timeout, or when the session ends', async t => {
  const never = async (): Promise<never> => await new Promise(() => {})
  const { session, expire, timers } = start(never, never)
  t.equal(session.serverId, 'server')
  const late = [session.ask('api', {}), session.flush()]
  expire()
  for (const promise of late) t.type(await promise.catch((error: unknown) => error), Unanswered)
  const cut = [session.ask('api', {}), session.flush(), session.flushed(), session.flushed()]
  await turn()
  session.end(new Error('gone'))
  session.end(new Error('gone again'))
  for (const promise of [...cut, session.ask('api', {}), session.flush()]) await t.rejects(promise as Promise<unknown> as Promise<void>, { message: 'gone' })
  t.equal(timers.size, 0)
})

test('what asks for the same in a turn is asked once; more than 256 questions wait', async t => {
  let flushes = 0
  const pending: Array<(answer: Msg) => void> = []
  const { session } = start(() => new Promise(resolve => { pending.push(resolve) }), async () => { flushes++ })
  await Promise.all([session.flushed(), session.flushed()])
  await session.flushed()
  t.equal(flushes, 2)
  const asked = Array.from({ length: 300 }, () => session.ask('api', {}))
  await turn()
  t.equal(pending.length, 256)
  for (let done = 0; done < 300; done++) {
    pending[done]!(answer({}))
    await turn()
  }
  await Promise.all(asked)
  t.equal(pending.length, 300)
})
