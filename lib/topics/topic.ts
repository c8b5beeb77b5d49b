import type { Source } from './source.ts'
import type { Subscription } from './subscription.ts'

/** A topic and its subscribers, of which there is at least one. */
export class Topic {
  readonly name: string
  /** A single one, as for most topics, or a list; null: none. */
  subscribers: Subscription | Subscription[] | null = null
  /** Supplies its messages; null if publish() delivers them directly. */
  source: Source | null = null

  constructor (name: string) {
    this.name = name
  }

  get size (): number {
    if (this.subscribers === null) return 0
    return Array.isArray(this.subscribers) ? this.subscribers.length : 1
  }

  add (subscription: Subscription): void {
    const { subscribers } = this
    subscription.at = this.size
    if (subscribers === null) this.subscribers = subscription
    else if (Array.isArray(subscribers)) subscribers.push(subscription)
    else this.subscribers = [subscribers, subscription]
  }

  /** Moves the last subscription into its place, so that a loop from the end of the list still visits all others once. */
  remove (subscription: Subscription): void {
    const { subscribers } = this
    if (Array.isArray(subscribers)) {
      const last = subscribers.pop()!
      if (last !== subscription) {
        subscribers[subscription.at] = last
        last.at = subscription.at
      }
      if (subscribers.length === 1) this.subscribers = subscribers[0]!
    } else {
      this.subscribers = null
    }
    subscription.at = -1
  }

  /** A copy of the current list: check whether each has ended when its turn comes. */
  list (): Subscription[] {
    if (this.subscribers === null) return []
    return Array.isArray(this.subscribers) ? [...this.subscribers] : [this.subscribers]
  }
}
