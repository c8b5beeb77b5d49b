// No connection keeps the event loop for itself.
import { duplexPair } from 'node:stream'
import { test } from 'tap'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import { gate } from '../helpers/app.ts'
import { memoryTransport, OWNER, SETTINGS } from '../helpers/memory.ts'
import { ping, text } from '../helpers/raw-client.ts'

const COUNT = 200_000
const FRAMES = Buffer.alloc(6 * COUNT, text(''))

test('a long chunk of tiny frames is read over many turns of the event loop', async t => {
  const [here] = duplexPair()
  const connection = new Connection(SETTINGS, OWNER)
  const turns = [0] // messages in each
  const allSeen = gate()
  let seen = 0
  connection.on('message', () => {
    seen++
    turns[turns.length - 1]!++
    if (seen === COUNT) allSeen.open()
  })
  const nextTurn = (): void => {
    if (seen === COUNT) return
    if (turns.at(-1) !== 0) turns.push(0)
    setImmediate(nextTurn)
  }
  setImmediate(nextTurn)
  coreOf(connection).open(memoryTransport(here), FRAMES)
  await allSeen.opened
  t.ok(turns.length > 3, `${turns.length} turns`)
  t.ok(Math.max(...turns) < COUNT / 2, `at most ${Math.max(...turns)} frames in one`)
  connection.terminate()
})

test('what was read and waits for the next turn is delivered, though the transport dies in between, for as long as it is taken', async t => {
  const [here] = duplexPair()
  const connection = new Connection({ ...SETTINGS, closeTimeout: 150 }, OWNER) // all of it takes longer
  let seen = 0
  connection.on('message', () => { if (++seen === 100) here.destroy() })
  coreOf(connection).open(memoryTransport(here), FRAMES)
  t.match(await connection.closed, { code: 1006, reason: '', wasClean: false })
  t.equal(seen, COUNT)
})

test('terminate() ends it at once', async t => {
  const [here] = duplexPair()
  const connection = new Connection(SETTINGS, OWNER)
  let seen = 0
  connection.on('message', () => {
    if (++seen === 1) setImmediate(() => { connection.terminate() })
  })
  coreOf(connection).open(memoryTransport(here), FRAMES)
  await connection.closed
  t.ok(seen < COUNT, `after ${seen} of ${COUNT} messages`)
})

test('a peer that floods with pings and never answers our Close is dropped after closeTimeout', async t => {
  const [here] = duplexPair()
  const connection = new Connection({ ...SETTINGS, closeTimeout: 50 }, OWNER)
  const begun = gate()
  let pings = 0
  // slow enough for a turn to be used up whenever a timer comes
  connection.on('ping', () => {
    if (pings++ === 0) begun.open()
    for (const end = performance.now() + 0.05; performance.now() < end;);
  })
  coreOf(connection).open(memoryTransport(here), Buffer.alloc(6 * COUNT, ping()))
  await begun.opened
  connection.close(1000)
  t.match(await connection.closed, { code: 1006 })
  t.ok(pings < COUNT, `after ${pings} of ${COUNT}`)
})
