import type { Http2Session } from 'node:http2'
import { test } from 'tap'
import { SessionTurns } from '../../lib/transport/session-turns.ts'
import { turn } from '../helpers/app.ts'

const newSession = (): Http2Session => ({}) as Http2Session

test('one stream of a session writes in a turn of the event loop, in the order in which they asked', async t => {
  const turns = SessionTurns.of(newSession())
  const written: string[] = []
  const ask = (name: string, rounds: number): void => {
    turns.take(() => {
      written.push(name)
      if (rounds > 1) ask(name, rounds - 1)
    })
  }
  ask('a', 3)
  ask('b', 1)
  ask('c', 2)
  t.strictSame(written, [], 'nobody at once')
  for (const expected of ['a', 'ab', 'abc', 'abca', 'abcac', 'abcaca']) {
    await turn()
    t.equal(written.join(''), expected)
  }
  await turn()
  t.equal(written.length, 6)
})

test('sessions do not wait for each other, and have their turns for as long as they live', async t => {
  const sessions = [newSession(), newSession()]
  const written: number[] = []
  for (const [i, session] of sessions.entries()) SessionTurns.of(session).take(() => { written.push(i) })
  await turn()
  t.strictSame(written, [0, 1])
  t.equal(SessionTurns.of(sessions[0]!), SessionTurns.of(sessions[0]!))
  t.not(SessionTurns.of(sessions[0]!), SessionTurns.of(sessions[1]!))
})
