// What topics cost in one process, without a network, beside sets by hand and the rooms of socket.io: npm run bench:topics
import { Duplex } from 'node:stream'
import { Server } from 'socket.io'
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

/** Who keeps subscriptions of connections, by their numbers. */
interface Keeper {
  join (index: number, topic: string): void
  leave (index: number, topic: string): void
  /** How many topics there are. */
  size (): number
}

const KEEPERS: Readonly<Record<'ours' | 'by hand' | 'socket.io', (count: number) => Keeper>> = {
  ours: count => {
    const { table } = new Topics()
    const connections = Array.from({ length: count }, () => new Idle())
    return {
      join (index, topic) { void table.subscribe(connections[index]!, topic) },
      leave (index, topic) { table.unsubscribe(connections[index]!, topic) },
      size: () => table.topics.size
    }
  },
  // as is written around ws: the members of each topic to send to, and the topics of each connection to leave when it closes
  'by hand': count => {
    const topics = new Map<string, Set<object>>()
    const connections = Array.from({ length: count }, () => ({ topics: null as Set<string> | null }))
    return {
      join (index, topic) {
        const connection = connections[index]!
        const members = topics.get(topic)
        if (members === undefined) topics.set(topic, new Set([connection]))
        else members.add(connection)
        connection.topics ??= new Set()
        connection.topics.add(topic)
      },
      leave (index, topic) {
        const connection = connections[index]!
        const members = topics.get(topic)!
        members.delete(connection)
        if (members.size === 0) topics.delete(topic)
        connection.topics!.delete(topic)
      },
      size: () => topics.size
    }
  },
  'socket.io': count => {
    const { adapter } = new Server().of('/')
    const ids = Array.from({ length: count }, (_, i) => `${i}`.padStart(20, 'x')) // as long as its own
    return {
      join (index, topic) { void adapter.addAll(ids[index]!, new Set([topic])) },
      leave (index, topic) { void adapter.del(ids[index]!, topic) },
      size: () => adapter.rooms.size
    }
  }
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
    const [ours, ...others] = Object.values(KEEPERS).map(keep => {
      const keeper = keep(CONNECTIONS)
      const before = heap()
      for (let i = 0; i < CONNECTIONS; i++) for (const topic of topicsOf(i)) keeper.join(i, topic)
      const bytes = (heap() - before) / CONNECTIONS / 3
      for (let i = 0; i < CONNECTIONS; i++) for (const topic of topicsOf(i)) keeper.leave(i, topic)
      if (keeper.size() > 0) throw new Error('topics are left')
      return `${bytes.toFixed(0)} B`
    })
    row(`memory of a subscription, ${name}`, ours!, `at most ${goal} B; ${others.join(' by hand, ')} in socket.io`)
  }
}

function joins (): void {
  const [count, rounds] = [10_000, 50]
  const rooms = Array.from({ length: 100 }, (_, i) => `room:${i}`)
  const [ours, ...others] = Object.values(KEEPERS).map(keep => {
    const keeper = keep(count)
    const start = cpu()
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < count; i++) keeper.join(i, rooms[i % 100]!)
      for (let i = 0; i < count; i++) keeper.leave(i, rooms[i % 100]!)
    }
    return Math.round(rounds * count / (cpu() - start) * 1e6).toLocaleString('en')
  })
  row('join and leave, in a second of CPU', ours!, `at least 1,000,000; ${others.join(' by hand, ')} in socket.io`)
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
  const theirs = await socketIoResumes(connections.length)
  row('10,000 resumes with 50 missed each, for each message', `${(time / 500_000).toFixed(3)} us`, `${(time / 1000).toFixed(0)} ms in all; ${(theirs / 1000).toFixed(0)} in socket.io`)
}

/** With its connection state recovery, up to what would be sent. @returns microseconds of CPU */
async function socketIoResumes (count: number): Promise<number> {
  const { adapter } = new Server({ connectionStateRecovery: {} }).of('/')
  let offset = ''
  const sessions = Array.from({ length: count }, (_, i) => ({ sid: `s${i}`, pid: `p${i}`, rooms: [`s${i}`, 'room:1'], data: {} }))
  for (const session of sessions) adapter.persistSession(session)
  const packet = (): { type: number, nsp: string, data: unknown[] } => ({ type: 2, nsp: '/', data: ['m', 'x'.repeat(100)] })
  for (let i = 0; i <= 50; i++) {
    const sent = packet()
    adapter.broadcast(sent, { rooms: new Set(['room:1']), except: new Set() })
    if (i === 0) offset = String(sent.data.at(-1))
  }
  const start = cpu()
  const restored = await Promise.all(sessions.map(({ pid }) => adapter.restoreSession(pid, offset)))
  const time = cpu() - start
  if (!restored.every(session => session?.missedPackets.length === 50)) throw new Error('not all is recovered by socket.io')
  return time
}

memory()
joins()
await publish()
await resumes()
await stopped()
process.exit()
