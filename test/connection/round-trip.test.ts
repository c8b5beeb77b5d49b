// heartbeat.rtt: Pings that measure, by a clock and beats of the test; then connections.
import { once } from 'node:events'
import { test, type Test } from 'tap'
import { Heartbeat } from '../../lib/connection/heartbeat.ts'
import { RoundTrip } from '../../lib/connection/round-trip.ts'
import { connect } from '../../lib/index.ts'
import { aborted, startApp, startConnection, turn } from '../helpers/app.ts'
import { within } from '../helpers/http.ts'
import { openSession, serveHttp2 } from '../helpers/http2.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { clientFrame } from '../helpers/frames.ts'

const INTERVAL = 60_000

function setUp (t: Test) {
  const clock = new ManualClock()
  const sent: Buffer[] = []
  const measured: number[] = []
  const state = { may: true }
  let seed = 0
  const roundTrip = new RoundTrip(INTERVAL, {
    mayMeasure: () => state.may,
    sendPing: payload => { sent.push(payload) },
    onRoundTrip: milliseconds => { measured.push(milliseconds) }
  }, clock, () => (seed += 0.01) % 1)
  t.teardown(() => { roundTrip.stop() })
  const start = Heartbeat.of(1000).now
  const onBeat = (time: number): void => { roundTrip.onBeat(start + time) }
  return { clock, sent, measured, state, roundTrip, onBeat }
}

test('a Ping of four bytes goes out at the first beat, and then once in each interval, a little less', async t => {
  const { sent, onBeat } = setUp(t)
  onBeat(0)
  onBeat(50_000)
  t.equal(sent.length, 1)
  t.equal(sent[0]!.length, 4)
  onBeat(60_000)
  t.equal(sent.length, 2)
  t.notSame(sent[1], sent[0])
  onBeat(119_000)
  t.equal(sent.length, 2)
  onBeat(120_000)
  t.equal(sent.length, 3)
})

test('its own Pong alone is its answer, and once', async t => {
  const { clock, sent, measured, roundTrip, onBeat } = setUp(t)
  t.equal(roundTrip.last, null)
  t.equal(roundTrip.answers(Buffer.alloc(0)), false)
  onBeat(0)
  clock.advance(20)
  t.equal(roundTrip.answers(Buffer.alloc(0)), false)
  t.equal(roundTrip.answers(Buffer.from('abcd')), false)
  t.equal(roundTrip.last, null)
  clock.advance(5)
  t.equal(roundTrip.answers(Buffer.from(sent[0]!)), true)
  t.equal(roundTrip.last, 25)
  t.equal(roundTrip.answers(sent[0]!), false)
  t.strictSame(measured, [25])
})

test('one that was not answered is replaced by the next', async t => {
  const { clock, sent, roundTrip, onBeat } = setUp(t)
  onBeat(0)
  clock.advance(60_000)
  onBeat(60_000)
  clock.advance(7)
  t.equal(roundTrip.answers(sent[0]!), false)
  t.equal(roundTrip.answers(sent[1]!), true)
  t.equal(roundTrip.last, 7)
})

test('while something is unsent, or nothing is read, nothing is measured, and what was is void', async t => {
  const { sent, state, roundTrip, onBeat } = setUp(t)
  state.may = false
  onBeat(0)
  t.equal(sent.length, 0)
  state.may = true
  onBeat(1000)
  t.equal(sent.length, 1)
  state.may = false
  onBeat(2000)
  t.equal(roundTrip.answers(sent[0]!), false)
  t.equal(roundTrip.last, null)
})

test('the end of the process is nothing to it', async t => {
  const { sent, roundTrip } = setUp(t)
  roundTrip.onExit()
  t.equal(sent.length, 0)
})

// Connections

const HEARTBEAT = { interval: 60_000, timeout: 60_000, rtt: 40 }
const pong = (payload: Buffer): Buffer => clientFrame({ opcode: 0xa, payload })

test('a busy connection is measured too, and a pong event tells of the other Pongs alone', async t => {
  const { client, connection } = await startConnection(t, { heartbeat: HEARTBEAT }, connection => { connection.on('message', () => {}) })
  t.equal(connection.rtt, null)
  const pongs: string[] = []
  connection.on('pong', data => { pongs.push(data.toString()) })
  const chatter = setInterval(() => { client.write(clientFrame({ opcode: 1, payload: 'a' })) }, 5)
  t.teardown(() => { clearInterval(chatter) })
  const ping = await within(5000, client.next(), 'a Ping')
  t.equal(ping.opcode, 0x9)
  t.equal(ping.payload.length, 4)
  client.write(pong(Buffer.from('other')), pong(ping.payload))
  while (connection.rtt === null) await turn()
  t.ok(connection.rtt > 0 && connection.rtt < 5000)
  t.strictSame(pongs, ['other'])
})

test('without the option there is none, and with messages that nobody reads neither', async t => {
  const { connection } = await startConnection(t, { heartbeat: { interval: 60_000, timeout: 60_000 } }, () => {})
  t.equal(connection.rtt, null)
  const { client, connection: paused } = await startConnection(t, { heartbeat: HEARTBEAT, highWaterMark: 10 }, connection => { connection.pause() })
  client.write(clientFrame({ opcode: 1, payload: 'x'.repeat(1000) }))
  while (!paused._socket!.isPaused()) await turn()
  // whose heartbeat has the same rhythm, and began later
  const other = await startConnection(t, { heartbeat: HEARTBEAT }, () => {})
  await other.client.next()
  const { length } = client.frames // of the first beat, which may have come before
  for (let i = 0; i < 3; i++) other.client.write(pong((await other.client.next()).payload))
  t.equal(client.frames.length, length)
  paused.terminate()
  await aborted(paused)
})

test('over HTTP/2, of a client, and its heartbeat ends with the connection', async t => {
  const app = await serveHttp2(t, app => {
    app.get('/ws', { websocket: { heartbeat: HEARTBEAT } }, () => {})
  })
  const connected = once(app.websocketServer, 'connection')
  const peer = await (await openSession(t, app)).open()
  const [connection] = await connected
  const { payload, opcode } = await within(5000, peer.frame(), 'a Ping')
  t.strictSame([opcode, payload.length], [9, 4])
  peer.write(pong(payload))
  while (connection.rtt === null) await turn()
  t.ok(connection.rtt < 5000)

  const server = await startApp(t, {}, app => { app.get('/', { websocket: true }, () => {}) })
  const client = await connect(server.url, { heartbeat: HEARTBEAT })
  while (client.rtt === null) await turn()
  const { rtt } = client
  client.close(1000)
  await client.closed
  t.equal(typeof rtt, 'number')
  t.equal(typeof client.rtt, 'number', 'the last is still known')
})
