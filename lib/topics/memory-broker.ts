// The in-process broker: keeps messages for topics whose rules ask for it, if there is no other broker.
import type { Broker, BrokerHost, Entry, Head, Rule } from '../../types/topics.ts'
import { NODE, randomTag, type Environment } from './environment.ts'
import { TOPICS_DEFAULTS } from './settings.ts'

export interface MemoryBrokerOptions {
  /** Milliseconds to delay messages and answers, as if the broker were remote. Default: none, publish() delivers at once. */
  readonly delay?: number | (() => number) | undefined
  /** Maximum bytes kept. Default: 64 MiB. */
  readonly memory?: number | undefined
}

interface Kept {
  head: Head
  entries: Entry[]
  bytes: number
  entriesExpire: number
  headExpires: number
}

/** Bytes a topic takes besides its messages, and a message besides its payload. */
const OVERHEAD = 256
const SWEEP_INTERVAL = 30_000

/**
 * A broker that keeps messages in the memory of the process, as Topics does by default. With a delay, tests can see how an application
 * behaves when messages take time.
 */
export function memoryBroker (options: MemoryBrokerOptions = {}): Broker {
  return new MemoryBroker(options)
}

export class MemoryBroker implements Broker {
  readonly numbered = true
  readonly #delay: (() => number) | null
  readonly #memory: number
  readonly #environment: Environment
  #host: BrokerHost | null = null
  // by topic, in order of their last publication
  readonly #kept = new Map<string, Kept>()
  readonly #subscribed = new Set<string>()
  #bytes = 0
  // delayed operations, in order
  readonly #underWay: Array<() => void> = []
  #cancelSweep: (() => void) | null = null

  constructor ({ delay, memory = TOPICS_DEFAULTS.memory }: MemoryBrokerOptions, environment: Environment = NODE) {
    this.#delay = delay === undefined ? null : typeof delay === 'function' ? delay : () => delay
    this.#memory = memory
    this.#environment = environment
  }

  /** It answers synchronously. */
  get isImmediate (): boolean { return this.#delay === null }
  /** Bytes kept, overhead included. */
  get bytes (): number { return this.#bytes }

  startNow (host: BrokerHost): void {
    this.#host = host
  }

  async start (host: BrokerHost): Promise<void> {
    this.startNow(host)
    await this.#later(() => {})
  }

  async stop (): Promise<void> {
    this.#host = null
    this.#cancelSweep?.()
    this.#kept.clear()
    this.#subscribed.clear()
    this.#bytes = 0
  }

  publish (topic: string, body: Buffer, rule: Rule): Promise<Head | null> {
    if (rule.plain) {
      return this.#later(() => {
        this.#deliver(topic, { head: null, body })
        return null
      })
    }
    return this.#later(() => {
      const entry = this.#add(topic, body, rule)
      this.#deliver(topic, entry)
      return entry.head
    })
  }

  subscribeNow (topic: string): void {
    this.#subscribed.add(topic)
  }

  subscribe (topics: string[]): Promise<void> {
    return this.#later(() => { for (const topic of topics) this.#subscribed.add(topic) })
  }

  unsubscribe (topics: string[]): void {
    for (const topic of topics) this.#subscribed.delete(topic)
  }

  read (topic: string, since: Head | null, rule: Rule): Promise<{ head: Head, entries: Entry[] }> {
    return this.#later(() => this.readNow(topic, since, rule))
  }

  readNow (topic: string, since: Head | null, rule: Rule): { head: Head, entries: Entry[] } {
    const kept = this.#keptOf(topic, rule)
    kept.headExpires = this.#environment.clock() + rule.headTtl
    const missed = since === null || since.epoch !== kept.head.epoch ? 0 : kept.head.number - since.number
    return { head: kept.head, entries: missed <= 0 ? [] : kept.entries.slice(-missed) }
  }

  heads (topics: string[]): Promise<Array<Head | null>> {
    return this.#later(() => topics.map(topic => this.#kept.get(topic)?.head ?? null))
  }

  #deliver (topic: string, entry: Entry | { head: null, body: Buffer }): void {
    if (this.#subscribed.has(topic)) this.#host?.deliver(topic, entry)
  }

  #add (topic: string, body: Buffer, rule: Rule): Entry {
    const now = this.#environment.clock()
    const kept = this.#keptOf(topic, rule)
    const { epoch, number, tag } = kept.head
    const entry: Entry = { head: { epoch, number: number + 1, tag: randomTag(this.#environment.random) }, previous: number, previousTag: tag, body }
    kept.head = entry.head
    kept.headExpires = now + rule.headTtl
    if (rule.size > 0) {
      kept.entries.push(entry)
      this.#count(kept, body.length + OVERHEAD)
      kept.entriesExpire = now + rule.ttl
      if (kept.entries.length > rule.size * 1.1) this.#drop(kept, kept.entries.length - rule.size) // in batches, not for each message
    }
    this.#kept.delete(topic)
    this.#kept.set(topic, kept)
    this.#makeRoom()
    return entry
  }

  #keptOf (topic: string, rule: Rule): Kept {
    const now = this.#environment.clock()
    let kept = this.#kept.get(topic)
    if (kept !== undefined && kept.headExpires <= now) this.#forget(topic, kept)
    else if (kept !== undefined && kept.entriesExpire <= now) this.#drop(kept, kept.entries.length)
    kept = this.#kept.get(topic)
    if (kept !== undefined) return kept
    kept = { head: { epoch: randomTag(this.#environment.random), number: 0, tag: '-' }, entries: [], bytes: 0, entriesExpire: Infinity, headExpires: now + rule.headTtl }
    this.#kept.set(topic, kept)
    this.#count(kept, OVERHEAD)
    this.#cancelSweep ??= this.#environment.schedule(() => { this.#sweep() }, SWEEP_INTERVAL)
    return kept
  }

  #count (kept: Kept, bytes: number): void {
    kept.bytes += bytes
    this.#bytes += bytes
  }

  #drop (kept: Kept, count: number): void {
    for (const { body } of kept.entries.splice(0, count)) this.#count(kept, -body.length - OVERHEAD)
  }

  #forget (topic: string, kept: Kept): void {
    this.#bytes -= kept.bytes
    this.#kept.delete(topic)
  }

  /** Drops messages, least recently published topics first, then topics without subscribers. */
  #makeRoom (): void {
    if (this.#bytes <= this.#memory) return
    for (const kept of this.#kept.values()) {
      this.#drop(kept, kept.entries.length)
      if (this.#bytes <= this.#memory) return
    }
    for (const [topic, kept] of this.#kept) {
      if (this.#subscribed.has(topic)) continue
      this.#forget(topic, kept)
      if (this.#bytes <= this.#memory) return
    }
  }

  #sweep (): void {
    const now = this.#environment.clock()
    for (const [topic, kept] of this.#kept) {
      if (kept.headExpires <= now && !this.#subscribed.has(topic)) this.#forget(topic, kept)
      else if (kept.entriesExpire <= now) this.#drop(kept, kept.entries.length)
    }
    this.#cancelSweep = this.#kept.size === 0 ? null : this.#environment.schedule(() => { this.#sweep() }, SWEEP_INTERVAL)
  }

  /** Runs `work` after the delay, in order. */
  async #later<Result> (work: () => Result): Promise<Result> {
    if (this.#delay === null) return work()
    return await new Promise((resolve, reject) => {
      this.#underWay.push(() => {
        new Promise<Result>(resolve => { resolve(work()) }).then(resolve, reject)
      })
      this.#environment.schedule(() => { this.#underWay.shift()!() }, this.#delay!(), true)
    })
  }
}
