// What topics cost in one process, without a network: npm run bench:topics
import { Duplex } from 'node:stream'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import { prepare } from '../../lib/connection/prepared-message.ts'
import { upgradeSettings } from '../../lib/options/settings.ts'
import type { Subscriber } from '../../lib/connection/subscriber.ts'
import { Topics } from '../../lib/topics/topics.ts'

const CONNECTIONS = 100_000
const SHAPES: ReadonlyArray<readonly [name: string, goal: number, topics: (i: number) => readonly string[]]> = [
  ['3 of 1,000 shared', 90, i => [`room:${i % 1000}`, `room:${(i + 1) % 1000}`, `room:${(i + 7) % 1000}`]],
  ['1 shared, 2 rooms of ten', 110, i => ['news', `room:${i % 10_000}`, `doc:${i % 10_000}`]],
  ['1 private, 2 shared', 130, i => [`user:${i}`, 'news', `room:${i % 1000}`]],
  ['3 private', 230, i => [`user:${i}`, `inbox:${i}`, `cart:${i}`]]
]

/** No more of a connection than topics touch. */
class Idle implements Subscriber {
  readonly connection = null
  subscriptions: Subscriber['subscriptions'] = null
  readonly readyState = 1
  readonly bufferedAmount = 0
  readonly mustWait = false
  received = 0
  sendPublished (): boolean { this.received++; return true }
  giveUpSlowPeer (): void {}
  tellGap (): void {}
  close (): void {}
}

/** Takes all at once. */
class Sink extends Duplex {
  override _read (): void {}
  override _write (_chunk: unknown, _encoding: string, callback: () => void): void { callback() }
}

function heap (): number {
  for (let i = 0; i < 2; i++) globalThis.gc!()
  return process.memoryUsage().heapUsed
}

/** Microseconds of CPU. */
function cpu (): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

const turn = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

function row (name: string, value: string, goal: string): void {
  console.log(`${name.padEnd(56)}${value.padStart(14)}   ${goal}`)
}

function memory (): void {
  for (const [name, goal, topicsOf] of SHAPES) {
    const connections = Array.from({ length: CONNECTIONS }, () => new Idle())
    const { table } = new Topics()
    const before = heap()
    connections.forEach((connection, i) => { for (const topic of topicsOf(i)) void table.subscribe(connection, topic) })
    row(`memory of a subscription, ${name}`, `${((heap() - before) / CONNECTIONS / 3).toFixed(0)} B`, `at most ${goal} B`)
    connections.forEach((connection, i) => { for (const topic of topicsOf(i)) table.unsubscribe(connection, topic) })
    if (table.topics.size > 0) throw new Error('topics are left')
  }
}

function joins (): void {
  const { table } = new Topics()
  const connections = Array.from({ length: 10_000 }, () => new Idle())
  const start = cpu()
  const rounds = 50
  for (let round = 0; round < rounds; round++) {
    connections.forEach((connection, i) => { void table.subscribe(connection, `room:${i % 100}`) })
    connections.forEach((connection, i) => { table.unsubscribe(connection, `room:${i % 100}`) })
  }
  row('join and leave, in a second of CPU', Math.round(rounds * connections.length / (cpu() - start) * 1e6).toLocaleString('en'), 'at least 1,000,000')
}

/** In turns, so that both meet the same machine; the best of each. */
async function publish (): Promise<void> {
  const topics = new Topics()
  const { headers: _, topics: __, ...settings } = upgradeSettings({ heartbeat: false })
  const connections = new Set<Connection>()
  const owner = { onError () {}, onClose () {}, onWarning () {} }
  while (connections.size < 1000) {
    const connection = new Connection({ ...settings, rateLimit: false, perMessageDeflate: false, role: 'server', hasHandler: false, table: () => topics.table }, owner)
    const stream = new Sink()
    coreOf(connection).open({ stream, ownsChunks: false, tune () {}, keepAlive () {}, finish () {}, abort () { stream.destroy() } }, Buffer.alloc(0))
    connections.add(connection)
    void connection.subscribe('all')
  }
  const text = 'x'.repeat(128)
  const ways: ReadonlyArray<() => void> = [
    () => {
      const message = prepare(text)
      for (const connection of connections) connection.send(message)
    },
    () => { void topics.publish('all', text) }
  ]
  for (const burst of [1, 16]) {
    const best = [Infinity, Infinity]
    for (let round = 0; round < 30; round++) {
      for (const [index, way] of ways.entries()) {
        const start = cpu()
        for (let i = 0; i < 160; i += burst) {
          for (let j = 0; j < burst; j++) way()
          await turn()
        }
        best[index] = Math.min(best[index]!, (cpu() - start) / 160 / connections.size)
      }
    }
    const [loop, published] = best as [number, number]
    row(`publish to 1,000, ${burst} at a time, for each delivery`, `${published.toFixed(3)} us`, `${(published / loop).toFixed(2)} of a loop with prepare(), at most 1.05`)
  }
  for (const connection of connections) connection.terminate()
}

/** Of a hundred that do not read any of 12 MB in messages of 500 B. */
async function stopped (): Promise<void> {
  const topics = new Topics()
  const { headers: _, topics: __, ...settings } = upgradeSettings({ heartbeat: false })
  const owner = { onError () {}, onClose () {}, onWarning () {} }
  const connections: Connection[] = []
  const before = process.memoryUsage.rss()
  while (connections.length < 100) {
    const connection = new Connection({ ...settings, rateLimit: false, perMessageDeflate: false, role: 'server', hasHandler: false, table: () => topics.table }, owner)
    const stream = new Duplex({ read () {}, write () {} })
    coreOf(connection).open({ stream, ownsChunks: false, tune () {}, keepAlive () {}, finish () {}, abort () { stream.destroy() } }, Buffer.alloc(0))
    connections.push(connection)
    void connection.subscribe('all')
  }
  let most = 0
  for (let i = 0; i < 24_000; i++) {
    void topics.publish('all', Buffer.alloc(500, i))
    if (i % 16 === 0) await turn()
    if (i % 512 === 0) most = Math.max(most, process.memoryUsage.rss() - before)
  }
  row('memory of 100 that do not read 12 MB', `${(most / 1e6).toFixed(0)} MB`, `at most 120 MB; ${topics.subscribers('all')} are left`)
  for (const connection of connections) connection.terminate()
}

async function resumes (): Promise<void> {
  const topics = new Topics({ rules: [{ topic: 'room:*', size: 500 }] })
  const since = await topics.position('room:1')
  for (let i = 0; i < 50; i++) await topics.publish('room:1', 'x'.repeat(100))
  const connections = Array.from({ length: 10_000 }, () => new Idle())
  const start = cpu()
  const results = await Promise.all(connections.map(connection => topics.table.subscribe(connection, 'room:1', { since })))
  const time = cpu() - start
  if (!results.every(({ recovered }) => recovered) || !connections.every(({ received }) => received === 50)) throw new Error('not all is recovered')
  row('10,000 resumes with 50 missed each, for each message', `${(time / 500_000).toFixed(3)} us`, `${(time / 1000).toFixed(0)} ms in all`)
}

memory()
joins()
await publish()
await resumes()
await stopped()
process.exit()
