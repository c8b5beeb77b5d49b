// Two connections that end together, and deadlines, by connections and a clock of the test.
import { ReplyError } from 'ioredis'
import { test } from 'tap'
import type { ConnectionEvents, Dial } from '../../../lib/brokers/redis/connection.ts'
import { Session } from '../../../lib/brokers/redis/session.ts'
import { NODE } from '../../../lib/topics/environment.ts'
import { gate } from '../../helpers/app.ts'

interface Started {
  session: Session
  /** Of commands, and of subscriptions. */
  events: ConnectionEvents[]
  failures: string[]
  messages: unknown[]
  destroyed: () => number
  pass: (time: number) => void
}

function start (call: () => Promise<unknown>): Started {
  let [now, destroyed] = [0, 0]
  let timers: Array<{ at: number, callback: () => void }> = []
  const events: ConnectionEvents[] = []
  const dial: Dial = given => {
    events.push(given)
    return {
      connect: async () => {},
      call,
      subscribe: call,
      unsubscribe: call,
      destroy: () => {
        destroyed++
        throw new Error('not open')
      }
    }
  }
  const failures: string[] = []
  const messages: unknown[] = []
  const environment = {
    ...NODE,
    clock: () => now,
    schedule: (callback: () => void, delay: number) => {
      const timer = { at: now + delay, callback }
      timers.push(timer)
      return () => { timers = timers.filter(other => other !== timer) }
    }
  }
  const session = new Session(dial, {
    timeout: 1000, environment, message: message => { messages.push(message) }, failed: (_, { message }) => { failures.push(message) }
  })
  const pass = (time: number): void => {
    now += time
    const due = timers.filter(({ at }) => at <= now)
    timers = timers.filter(timer => !due.includes(timer))
    for (const { callback } of due) callback()
  }
  return { session, events, failures, messages, destroyed: () => destroyed, pass }
}

test('what is asked of a session that has ended rejects, and that is told once; both connections are given up', async t => {
  const { session, events, failures, messages, destroyed } = start(async () => null)
  await session.connect()
  events[1]!.message('before')
  events[0]!.ended(new Error('cut'))
  events[1]!.ended(new Error('again'))
  events[1]!.message('after')
  session.close()
  await t.rejects(session.call(['PING']), /cut/)
  t.strictSame([failures, messages, destroyed()], [['cut'], ['before'], 2])
})

test('a session that is closed tells nobody', async t => {
  const { session, failures } = start(() => new Promise(() => {}))
  const asked = session.call(['PING'])
  session.close()
  await t.rejects(asked, /the broker was stopped/)
  t.strictSame(failures, [])
})

test('an answer of the server rejects what it answers; anything else that goes wrong rejects all', async t => {
  const answers = [gate<unknown>(), gate<unknown>(), gate<unknown>()]
  let next = 0
  const { session, failures } = start(async () => {
    const answer = await answers[next++]!.opened
    if (answer instanceof Error) throw answer
    return answer
  })
  const asked = answers.map(() => session.call(['GET']))
  answers[0]!.open(new ReplyError('WRONGTYPE'))
  await t.rejects(asked[0]!, /WRONGTYPE/)
  t.strictSame(failures, [])
  answers[2]!.open(new Error('Socket closed unexpectedly'))
  await Promise.all(asked.slice(1).map(promise => t.rejects(promise, /Socket closed unexpectedly/)))
  t.strictSame(failures, ['Socket closed unexpectedly'])
})

test('the oldest that is not answered counts: a session that answers others in time is given up all the same', async t => {
  const [first, second] = [gate<unknown>(), gate<unknown>()]
  const answers = [first, second]
  const { session, failures, pass } = start(() => answers.shift()!.opened)
  const asked = [session.call(['GET']), session.call(['GET'])]
  pass(999)
  second.open('in time')
  t.equal(await asked[1], 'in time')
  t.strictSame(failures, [])
  pass(1)
  await t.rejects(asked[0]!, /has not answered for 1000 ms/)
  t.strictSame(failures, ['the server has not answered for 1000 ms'])
})
