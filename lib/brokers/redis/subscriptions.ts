// The wanted topics, their partitions, and the partitions whose subscription the server has acknowledged.
import { isReply } from './connection.ts'
import { PARTITIONS, partitionOf, type Layout } from './layout.ts'
import type { Session } from './session.ts'

interface Waiting {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class Subscriptions {
  readonly #layout: Layout
  readonly #topics = new Map<string, number>()
  // topics in each
  readonly #counts = new Uint32Array(PARTITIONS)
  readonly #acknowledged = new Set<number>()
  readonly #waiting = new Map<number, Waiting>()
  // the session with a command pending
  #updating: Session | null = null

  constructor (layout: Layout) {
    this.#layout = layout
  }

  has (topic: string): boolean { return this.#topics.has(topic) }

  /** @returns resolves when update() has got them acknowledged. May never settle */
  async add (topics: string[]): Promise<void> {
    const partitions = new Set<number>()
    for (const topic of topics) {
      const partition = partitionOf(topic)
      partitions.add(partition)
      if (this.#topics.has(topic)) continue
      this.#topics.set(topic, partition)
      this.#counts[partition]!++
    }
    await Promise.all([...partitions].filter(partition => !this.#acknowledged.has(partition)).map(partition => this.#wait(partition)))
  }

  remove (topics: string[]): void {
    for (const topic of topics) {
      const partition = this.#topics.get(topic)
      if (partition === undefined) continue
      this.#topics.delete(topic)
      this.#counts[partition]!--
    }
  }

  /** Starts over for a new session, which has no subscriptions. */
  forget (): void {
    this.#acknowledged.clear()
    this.#updating = null
  }

  clear (error: Error): void {
    this.forget()
    this.#topics.clear()
    this.#counts.fill(0)
    for (const partition of this.#waiting.keys()) this.#settle(partition, error)
  }

  /**
   * Subscribes to wanted partitions that are not acknowledged. One command at a time, as clients differ in how they handle several.
   * @returns rejects, after everything else is done, if the server refused some, or with the error that ended the session
   */
  async update (session: Session): Promise<void> {
    if (this.#updating === session) return
    this.#updating = session
    const refused = new Map<number, Error>()
    try {
      for (let missing = this.#missing(refused); missing.length > 0; missing = this.#missing(refused)) await this.#subscribe(session, missing, refused)
    } finally {
      if (this.#updating === session) this.#updating = null
    }
    const [error] = refused.values()
    if (error !== undefined) throw error
  }

  async #subscribe (session: Session, partitions: number[], refused: Map<number, Error>): Promise<void> {
    try {
      await session.subscribe(partitions.map(partition => this.#layout.channel(partition)))
    } catch (error) {
      if (!isReply(error)) throw error
      if (partitions.length > 1) { // find out which one was refused
        for (const partition of partitions) await this.#subscribe(session, [partition], refused)
        return
      }
      refused.set(partitions[0]!, error)
      this.#settle(partitions[0]!, error)
      return
    }
    if (this.#updating !== session) return
    for (const partition of partitions) {
      this.#acknowledged.add(partition)
      this.#settle(partition, null)
    }
  }

  /** Unsubscribes from partitions no longer wanted. Called periodically, as subscribers may come back at once. */
  async leave (session: Session): Promise<void> {
    const idle = [...this.#acknowledged].filter(partition => this.#counts[partition] === 0)
    if (this.#updating !== null || idle.length === 0) return
    this.#updating = session
    for (const partition of idle) this.#acknowledged.delete(partition)
    try {
      await session.unsubscribe(idle.map(partition => this.#layout.channel(partition)))
    } finally {
      if (this.#updating === session) this.#updating = null
    }
    await this.update(session)
  }

  #missing (refused: ReadonlyMap<number, Error>): number[] {
    const missing: number[] = []
    for (let partition = 0; partition < PARTITIONS; partition++) {
      if (this.#counts[partition]! > 0 && !this.#acknowledged.has(partition) && !refused.has(partition)) missing.push(partition)
    }
    return missing
  }

  async #wait (partition: number): Promise<void> {
    let waiting = this.#waiting.get(partition)
    if (waiting === undefined) {
      let settle: Pick<Waiting, 'resolve' | 'reject'>
      const promise = new Promise<void>((resolve, reject) => { settle = { resolve, reject } })
      this.#waiting.set(partition, waiting = { promise, ...settle! })
    }
    await waiting.promise
  }

  #settle (partition: number, error: Error | null): void {
    const waiting = this.#waiting.get(partition)
    this.#waiting.delete(partition)
    if (error === null) waiting?.resolve()
    else waiting?.reject(error)
  }
}
