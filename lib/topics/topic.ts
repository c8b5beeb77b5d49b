import type { Source } from './source.ts'
import type { Subscription } from './subscription.ts'

/** A topic that somebody is subscribed to, with all who are. */
export class Topic {
  readonly name: string
  /** One alone, as most have, or a list; null: nobody. */
  subscribers: Subscription | Subscription[] | null = null
  /** Where its messages come from; null where publish() delivers them itself. */
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

  /** Puts the last in its place, so that who goes through the list from its end meets all others once. */
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

  /** Those there are now: who of them is there when its turn comes has to be asked. */
  list (): Subscription[] {
    if (this.subscribers === null) return []
    return Array.isArray(this.subscribers) ? [...this.subscribers] : [this.subscribers]
  }
}
