// Nodes as processes, clients, publishers, and a seed that says who is killed when. What each client got is in a ledger.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/index.ts'
import { integer, random } from '../helpers/random.ts'
import { Ledger } from './ledger.ts'
import type { FromClient, FromNode } from './messages.ts'
import { STORES, type Store, type StoreKind } from './stores.ts'

export interface ChaosOptions {
  readonly seed: number
  readonly store: StoreKind
  readonly nodes: number
  readonly clients: number
  readonly topics: number
  readonly messages: number
  readonly brokerKills: number
  readonly nodeKills: number
}

export interface ChaosResult {
  readonly accepted: number
  readonly failed: Record<string, number>
  readonly delivered: number
  readonly gaps: number
  readonly recovered: number
  readonly notRecovered: number
  readonly undetected: string[]
  readonly doubles: number
  readonly unknown: number
  /** Of clients whose last position is not that of the topic, when all is quiet. */
  readonly behind: string[]
  /** Milliseconds from when the server was there again, or given up, until the node was subscribed again: for each time and node. */
  readonly restored: number[]
  readonly seconds: number
}

const IN_FLIGHT = 32

class Node {
  #process: ChildProcess | null = null
  readonly #store: Store
  readonly #onRestored: (at: number, interruptedAt: number) => void
  port = 0

  constructor (store: Store, onRestored: (at: number, interruptedAt: number) => void) {
    this.#store = store
    this.#onRestored = onRestored
  }

  /** Until it listens; a node cannot start while its broker is away. */
  async start (): Promise<void> {
    for (;;) {
      const { ports, kind } = this.#store
      const env = { ...process.env, CHAOS_BROKER: kind, CHAOS_BROKER_PORTS: ports.join(), CHAOS_PORT: String(this.port) }
      const child = fork(new URL('node.ts', import.meta.url), { env, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
      this.#process = child
      const started = await new Promise<boolean>(resolve => {
        child.on('exit', () => { resolve(false) })
        child.on('message', (message: { port?: number, restored?: number, interrupted?: number }) => {
          if (message.restored !== undefined) this.#onRestored(message.restored, message.interrupted!)
          if (message.port === undefined) return
          this.port = message.port
          resolve(true)
        })
      })
      if (started) return
    }
  }

  async kill (): Promise<void> {
    const child = this.#process!
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

/** Comes back to a node, the same or another, for each topic from where it was. */
class Client {
  readonly ledgers: ReadonlyMap<string, Ledger>
  readonly #portOf: () => number
  readonly #onPublished: (result: Extract<FromNode, { kind: 'published' }>) => void
  #connection: WebSocketConnection | null = null
  #hasEnded = false

  constructor (topics: readonly string[], portOf: () => number, onPublished: (result: Extract<FromNode, { kind: 'published' }>) => void = () => {}) {
    this.ledgers = new Map(topics.map(topic => [topic, new Ledger()]))
    this.#portOf = portOf
    this.#onPublished = onPublished
  }

  /** Stays until end(). */
  async run (onOpen: () => void): Promise<void> {
    while (!this.#hasEnded) {
      try {
        const connection = await connect(`ws://127.0.0.1:${this.#portOf()}/`)
        connection.on('message', data => { this.#take(JSON.parse(String(data)) as FromNode) })
        this.#connection = connection
        for (const [topic, ledger] of this.ledgers) this.send({ kind: 'subscribe', topic, since: ledger.last })
        onOpen()
        await connection.closed
      } catch {
        await new Promise(resolve => { setTimeout(resolve, 20) })
      }
      this.#connection = null
      for (const ledger of this.ledgers.values()) ledger.disconnected()
    }
  }

  send (message: FromClient): boolean {
    if (this.#connection?.readyState !== 1) return false
    this.#connection.send(JSON.stringify(message))
    return true
  }

  end (): void {
    this.#hasEnded = true
    this.#connection?.terminate()
  }

  #take (message: FromNode): void {
    if (message.kind === 'published') this.#onPublished(message)
    else this.ledgers.get(message.topic)!.take(message)
  }
}

export async function chaos (options: ChaosOptions, log: (line: string) => void = () => {}): Promise<ChaosResult> {
  const chance = random(options.seed)
  const topics = Array.from({ length: options.topics }, (_, i) => `topic:${i}`)
  const store: Store = await STORES[options.store]()
  const restorations: Array<{ at: number, interruptedAt: number }> = []
  const readyAt: number[] = []
  const nodes = Array.from({ length: options.nodes }, () => new Node(store, (at, interruptedAt) => { restorations.push({ at, interruptedAt }) }))
  const begin = performance.now()
  const clients: Client[] = []
  try {
    await Promise.all(nodes.map(node => node.start()))
    const anyPort = (): number => nodes[integer(chance, 0, nodes.length - 1)]!.port
    const opened = Array.from({ length: options.clients }, (_, i) => new Promise<void>(resolve => {
      // each is subscribed to a few
      const client = new Client(topics.filter((_, t) => (t + i) % 3 === 0 || options.topics < 3), anyPort)
      clients.push(client)
      void client.run(resolve)
    }))

    let accepted = 0
    const failed: Record<string, number> = {}
    let [next, done] = [0, 0]
    const waiting = new Set<number>()
    const kills = [
      ...Array.from({ length: options.brokerKills }, () => ({ at: integer(chance, 1, options.messages - 1), what: 'broker' })),
      ...Array.from({ length: options.nodeKills }, () => ({ at: integer(chance, 1, options.messages - 1), what: 'node' })),
      ...Array.from({ length: options.store === 'rdb' || options.store === 'nats-older' ? options.brokerKills * 2 : 0 }, () => ({ at: integer(chance, 1, options.messages - 1), what: 'save' }))
    ].sort((a, b) => a.at - b.at)
    // one at a time, while what is published goes on up to the next
    let killing: Promise<void> | undefined
    const allDone = new Promise<void>(resolve => {
      const settle = (id: number, code: string | null): void => {
        if (!waiting.delete(id)) return
        if (code === null) accepted++
        else failed[code] = (failed[code] ?? 0) + 1
        if (++done === options.messages) resolve()
        else publish()
      }
      const publisher = new Client([], anyPort, ({ id, position, code }) => { settle(id, position === null ? code! : null) })
      clients.push(publisher)
      const publish = (): void => {
        while (waiting.size < IN_FLIGHT && next < options.messages) {
          if (kills[0] !== undefined && kills[0].at <= next) {
            if (killing !== undefined) return
            killing = kill(kills.shift()!.what).then(() => {
              killing = undefined
              publish()
            })
          }
          const id = next
          if (!publisher.send({ kind: 'publish', topic: topics[integer(chance, 0, topics.length - 1)]!, id, text: String(id) })) return
          next++
          waiting.add(id)
        }
      }
      void Promise.all(opened).then(() => publisher.run(() => {
        const lost = [...waiting] // while others come to wait
        for (const id of lost) settle(id, 'connection lost')
        publish()
      }))
    })
    const kill = async (what: string): Promise<void> => {
      log(`${what} at ${next}`)
      if (what === 'save') {
        await store.save().catch(() => {})
      } else if (what === 'broker') {
        readyAt.push(await store.kill(chance))
      } else {
        const node = nodes[integer(chance, 0, nodes.length - 1)]!
        await node.kill()
        await node.start()
      }
    }
    await allDone
    await Promise.resolve(killing)
    // a node that is too busy to hear from the server gives it up, and asks again
    const restored = restorations.map(({ at, interruptedAt }) => at - Math.max(interruptedAt, readyAt.findLast(ready => ready <= at) ?? at))
    const behind = await quiet(store, clients)
    const result = { accepted, failed, delivered: 0, gaps: 0, recovered: 0, notRecovered: 0, undetected: [] as string[], doubles: 0, unknown: 0, behind, restored, seconds: (performance.now() - begin) / 1000 }
    for (const { ledgers } of clients) {
      for (const ledger of ledgers.values()) {
        const { delivered, gaps, undetected, unknown, doubles } = ledger.check()
        result.delivered += delivered
        result.gaps += gaps
        result.undetected.push(...undetected)
        result.unknown += unknown
        result.doubles += doubles
        result.recovered += ledger.recovered
        result.notRecovered += ledger.notRecovered
      }
    }
    return result
  } finally {
    for (const client of clients) client.end()
    await Promise.all(nodes.map(node => node.kill()))
    await store.remove()
  }
}

/** Waits until each client is where the store is. @returns those who are not after a while that is longer than all timeouts */
async function quiet (store: Store, clients: readonly Client[]): Promise<string[]> {
  let behind: string[] = []
  for (let attempt = 0; attempt < 100; attempt++) {
    behind = []
    const topics = new Set(clients.flatMap(({ ledgers }) => [...ledgers.keys()]))
    const heads = new Map(await Promise.all([...topics].map(async topic => [topic, await store.headOf(topic)] as const)))
    for (const [i, { ledgers }] of clients.entries()) {
      for (const [topic, { last }] of ledgers) {
        const head = heads.get(topic)
        if (last !== head) behind.push(`client ${i} is at ${last} of ${topic}, which is at ${head}`)
      }
    }
    if (behind.length === 0) break
    await new Promise(resolve => { setTimeout(resolve, 100) })
  }
  return behind
}
