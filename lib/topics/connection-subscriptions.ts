import type { PreparedMessage } from '../connection/prepared-message.ts'
import type { Subscriber, Subscriptions, SubscriptionTable } from '../connection/subscriber.ts'
import type { Subscription } from './subscription.ts'
import type { Table } from './table.ts'

const OPEN = 1

interface Held {
  readonly messages: Array<{ readonly message: PreparedMessage, readonly maxUnsent: number }>
  bytes: number
}

/** The subscriptions of one connection, as a linked list: small, as there are many. */
export class ConnectionSubscriptions implements Subscriptions {
  first: Subscription | null = null
  // published while the connection is in the middle of a fragmented message
  #held: Held | null = null

  get names (): ReadonlySet<string> {
    const names: string[] = []
    for (let subscription = this.first; subscription !== null; subscription = subscription.next) names.push(subscription.topic.name)
    return new Set(names.reverse())
  }

  /** @returns the subscription to `topic` or, if there is none, the number of all */
  countUnless (topic: string): number | Subscription {
    let count = 0
    for (let subscription = this.first; subscription !== null; subscription = subscription.next) {
      if (subscription.topic.name === topic) return subscription
      count++
    }
    return count
  }

  /** Removes and returns the subscription to `topic`; null if there is none. */
  takeOut (topic: string): Subscription | null {
    let before: Subscription | null = null
    let subscription = this.first
    while (subscription !== null && subscription.topic.name !== topic) {
      before = subscription
      subscription = subscription.next
    }
    if (subscription === null) return null
    if (before === null) this.first = subscription.next
    else before.next = subscription.next
    return subscription
  }

  hold (subscriber: Subscriber, message: PreparedMessage, maxUnsent: number): void {
    this.#held ??= { messages: [], bytes: 0 }
    const unsent = subscriber.bufferedAmount + this.#held.bytes
    this.#held.messages.push({ message, maxUnsent })
    this.#held.bytes += message.length
    if (unsent > 0 && unsent + message.length > maxUnsent) subscriber.giveUpSlowPeer()
  }

  release (subscriber: Subscriber): void {
    const messages = this.#held?.messages ?? []
    this.#held = null
    for (const { message, maxUnsent } of messages) {
      if (subscriber.readyState === OPEN) subscriber.sendPublished(message, maxUnsent)
    }
  }

  onDrain (table: SubscriptionTable): void {
    for (let subscription = this.first; subscription !== null; subscription = subscription.next) {
      subscription.terms?.onDrain(subscription, table as Table)
    }
  }

  leave (table: SubscriptionTable): void {
    this.#held = null
    for (let subscription = this.first; subscription !== null; subscription = subscription.next) (table as Table).end(subscription)
  }
}
