import { test } from 'tap'
import { noTraffic, type Traffic } from '../../lib/connection/observability.ts'
import { Census, type Client, type Counted } from '../../lib/telemetry/census.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

interface TestClient extends Client { closedAt: number | null, received: number, visits: number }

function client (route: string, onVisit: () => void = () => {}): TestClient {
  return { route, closedAt: null, received: 1, visits: 0, addTo (sum: Traffic) { this.visits++; sum.messagesReceived += this.received; sum.held += 10; onVisit() } }
}

function registration (routes: Record<string, { open: number, past?: Partial<Traffic> }>, clients: TestClient[]) {
  const tallies = new Map(Object.entries(routes).map(([route, { open, past }]) => [route, { open, past: { ...noTraffic(), ...past } }]))
  const set = new Set(clients)
  return { tallies, clients: set, cores: () => set } satisfies Counted & { clients: Set<TestClient> }
}

test('routes are added up, over all registrations, of what has ended and what is open', async t => {
  const a = registration({ '/a': { open: 2, past: { messagesReceived: 100 } }, '/gone': { open: 0, past: { bytesSent: 7 } } }, [client('/a'), client('/a')])
  const b = registration({ '/a': { open: 1 } }, [client('/a')])
  const figures = await new Census([a, b], new ManualClock()).take()
  t.strictSame([...figures], [
    ['/a', { ...noTraffic(), open: 3, messagesReceived: 103, held: 30 }], ['/gone', { ...noTraffic(), open: 0, bytesSent: 7 }]
  ])
})

test('whoever asks within a second gets the same, and there is one walk for all', async t => {
  const clock = new ManualClock()
  const only = client('/a')
  const census = new Census([registration({ '/a': { open: 1 } }, [only])], clock)
  const [first, second] = await Promise.all([census.take(), census.take()])
  t.equal(first, second)
  clock.advance(999)
  t.equal(await census.take(), first)
  t.equal(only.visits, 1)
  clock.advance(1)
  t.not(await census.take(), first)
  t.equal(only.visits, 2)
})

test('a walk that takes long leaves the event loop to others every 2 ms, and counts each once whenever it closes', async t => {
  const clock = new ManualClock()
  const clients = Array.from({ length: 1000 }, () => client('/a', () => { clock.advance(0.01) }))
  const only = registration({ '/a': { open: 1000 } }, clients)
  // looking who is there takes its time as well
  const slow = { ...only, * cores () { for (const one of only.clients) { clock.advance(0.01); yield one } } }
  let pauses = 0
  const census = new Census([slow], clock, async () => {
    pauses++
    for (const closing of [clients[pauses]!, clients[999 - pauses]!]) { // one that was visited, and one that was not
      only.clients.delete(closing)
      closing.closedAt = clock.now()
      only.tallies.get('/a')!.past.messagesReceived++
    }
    clock.advance(0.1)
  })
  const figures = await census.take()
  t.ok(pauses >= 6 && pauses <= 10, `${pauses} pauses in 20 ms`)
  t.equal(figures.get('/a')!.messagesReceived, 1000)
  t.ok(clients.every(({ visits }) => visits <= 1))
  clock.advance(1000)
  t.equal((await census.take()).get('/a')!.messagesReceived, 1000, 'it goes on from there')
})

test('at the end what was counted stays, nothing is open, and nobody is held on to', async t => {
  const only = registration({ '/a': { open: 1, past: { messagesSent: 5 } } }, [])
  const census = new Census([only], new ManualClock())
  census.finish()
  only.tallies.get('/a')!.past.messagesSent = 99
  const expected = { ...noTraffic(), open: 0, messagesSent: 5 }
  t.strictSame([...await census.take()], [['/a', expected]])
})
