// The wanted topics, a subscription for each, and which of them the server has acknowledged. The client subscribes again by itself when it has
// reconnected.
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node'
import type { Rule } from '../../../types/topics.ts'

export interface Topic {
  readonly name: string
  readonly token: string
  /** Null: not known. */
  readonly rule: Rule | null
  /** The newest marker, and what it stands for. */
  marker: { readonly number: number, readonly head: { readonly number: number, readonly tag: string | null } } | null
}

export interface SubscriptionsOwner {
  readonly connection: NatsConnection
  subjectOf (topic: Topic): string
  /** A message has come. Never throws. */
  message (topic: Topic, message: Msg): void
  /** The server has ended a subscription that it had acknowledged. */
  refused (topic: Topic, error: Error): void
}

interface Wanted extends Topic {
  subscription: Subscription | null
  isAcknowledged: boolean
  /** It has been acknowledged before: nobody waits for it. */
  isOld: boolean
  waiting: Array<{ readonly resolve: () => void, readonly reject: (error: Error) => void }>
}

export class Subscriptions {
  readonly #owner: SubscriptionsOwner
  readonly #wanted = new Map<string, Wanted>()

  constructor (owner: SubscriptionsOwner) {
    this.#owner = owner
  }

  /** @returns resolves when acknowledge() has been. May never settle */
  async add (topics: ReadonlyArray<Pick<Topic, 'name' | 'token' | 'rule'>>): Promise<void> {
    await Promise.all(topics.map(async topic => {
      let wanted = this.#wanted.get(topic.name)
      if (wanted === undefined) {
        wanted = { ...topic, marker: null, subscription: null, isAcknowledged: false, isOld: false, waiting: [] }
        this.#wanted.set(topic.name, wanted)
        this.#subscribe(wanted)
      }
      const { isAcknowledged, waiting } = wanted
      if (!isAcknowledged) await new Promise<void>((resolve, reject) => { waiting.push({ resolve, reject }) })
    }))
  }

  remove (names: readonly string[]): void {
    for (const name of names) {
      const wanted = this.#wanted.get(name)
      this.#wanted.delete(name)
      if (wanted !== undefined) this.#end(wanted)
    }
  }

  /** Starts over: nothing is acknowledged any more. */
  forget (): void {
    for (const wanted of this.#wanted.values()) wanted.isAcknowledged = false
  }

  /** @param flush resolves when the server has handled what was sent before */
  async acknowledge (flush: () => Promise<void>): Promise<void> {
    const unacknowledged = [...this.#wanted.values()].filter(({ isAcknowledged }) => !isAcknowledged)
    if (unacknowledged.length === 0) return
    for (const wanted of unacknowledged) if (wanted.subscription?.isClosed() !== false) this.#subscribe(wanted)
    await flush()
    for (const wanted of unacknowledged) {
      if (this.#wanted.get(wanted.name) !== wanted) continue // refused, or left
      wanted.isAcknowledged = wanted.isOld = true
      const { waiting } = wanted
      wanted.waiting = []
      for (const { resolve } of waiting) resolve()
    }
  }

  /** Tries again what the server has ended. */
  renew (): void {
    for (const wanted of this.#wanted.values()) if (wanted.subscription?.isClosed() !== false) this.#subscribe(wanted)
  }

  clear (error: Error): void {
    const all = [...this.#wanted.values()]
    this.#wanted.clear()
    for (const wanted of all) {
      this.#end(wanted)
      for (const { reject } of wanted.waiting) reject(error)
    }
  }

  #subscribe (wanted: Wanted): void {
    // a callback takes messages as they come; they would pile up for whoever reads them by and by
    const callback = (error: Error | null, message: Msg): void => {
      if (this.#wanted.get(wanted.name) !== wanted) return
      if (error === null) this.#owner.message(wanted, message)
      else this.#refused(wanted, error)
    }
    try {
      wanted.subscription = this.#owner.connection.subscribe(this.#owner.subjectOf(wanted), { callback })
    } catch { // the connection is closed
      wanted.subscription = null
    }
  }

  #refused (wanted: Wanted, error: Error): void {
    if (wanted.isOld) {
      this.#owner.refused(wanted, error)
      return
    }
    this.#wanted.delete(wanted.name)
    for (const { reject } of wanted.waiting) reject(error)
  }

  #end ({ subscription }: Wanted): void {
    try {
      subscription?.unsubscribe()
    } catch {} // the connection is closed
  }
}
