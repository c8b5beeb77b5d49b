import { test } from 'tap'
import { nextTurn, TurnClock } from '../../lib/connection/turn-clock.ts'

test('a turn is over 2 ms after the clock was first looked at in it, and not in the next turn of the event loop', async t => {
  const time = { now: 0, turn: 1 }
  const clock = new TurnClock({ now: () => time.now, turn: () => time.turn })
  const looks: Array<[now: number, turn: number, isOver: boolean]> = [
    [100, 1, false], [101.9, 1, false], [102, 1, true], [150, 1, true], [150, 2, false], [151, 2, false], [153, 2, true], [153, 3, false]
  ]
  for (const [now, turn, isOver] of looks) {
    Object.assign(time, { now, turn })
    t.equal(clock.isOver, isOver, `${now} ms, turn ${turn}`)
  }
})

test('where nobody tells the turns apart each time is over', async t => {
  t.equal(new TurnClock({ now: () => 1000, turn: () => -1 }).isOver, true)
})

test('with the clock of Node a turn is over while it lasts, and the next has begun after nextTurn()', async t => {
  const clock = new TurnClock()
  t.equal(clock.isOver, false)
  for (const end = performance.now() + 3; performance.now() < end;);
  t.equal(clock.isOver, true)
  await Promise.resolve()
  t.equal(clock.isOver, true, 'a promise is no turn')
  await nextTurn()
  await nextTurn()
  t.equal(clock.isOver, false)
})
