// One subscriber of one topic, and how it is served.
import type { Encode, Head, SlowPolicy, SubscribeOptions, SubscribeResult } from '../../types/topics.ts'
import type { PreparedMessage } from '../connection/prepared-message.ts'
import type { Subscriber } from '../connection/subscriber.ts'
import type { CatchUp } from './catch-up.ts'
import { TOPIC_CHANNELS } from './channels.ts'
import type { Publication } from './publication.ts'
import type { Topic } from './topic.ts'

/** Shared by the subscriptions of one Topics. */
export interface Service {
  readonly maxBehind: number
  readonly counts: { delivered: number, skipped: number, waiting: number }
  /** An encode function threw. */
  onEncodeError (error: unknown): void
  /** A message cannot be encoded for this subscriber. */
  onUnencoded (subscription: Subscription, publication: Publication): void
}

/** Kept small, as there are many: it also serves as node of its connection's list. */
export class Subscription {
  readonly topic: Topic
  readonly subscriber: Subscriber
  /** The next subscription of the same connection. */
  next: Subscription | null
  /** Its index in the topic's list; -1: it has ended. */
  at = -1
  /** Null for most: messages are delivered unchanged as they come. */
  terms: Terms | null = null

  constructor (topic: Topic, subscriber: Subscriber, next: Subscription | null) {
    this.topic = topic
    this.subscriber = subscriber
    this.next = next
  }

  deliver (publication: Publication, service: Service): void {
    if (publication.except === this.subscriber || this.at < 0) return
    const { terms } = this
    if (terms === null) {
      service.counts.delivered++
      this.subscriber.sendPublished(publication.message, service.maxBehind)
    } else if (terms.catchUp !== null) {
      terms.catchUp.take(publication)
    } else {
      terms.deliver(this, publication, service)
    }
  }
}

/** What distinguishes a subscription from most others. */
export class Terms {
  readonly slow: SlowPolicy
  readonly encode: Encode | null
  /** The promise of subscribe(), while pending. */
  promise: Promise<SubscribeResult> | null = null
  /** Sends missed messages or a snapshot before live ones; null when done. */
  catchUp: CatchUp | null = null
  #waiting: Publication | null = null
  // length of the current run of messages not delivered
  #skipped = 0

  constructor ({ encode, slow }: SubscribeOptions, defaultSlow: SlowPolicy) {
    this.slow = slow ?? defaultSlow
    this.encode = encode ?? null
  }

  /** No different from a subscription without terms. */
  get isUsual (): boolean { return this.slow === 'close' && this.encode === null && this.catchUp === null }

  deliver (subscription: Subscription, publication: Publication, service: Service): void {
    if (this.slow !== 'close' && subscription.subscriber.mustWait) {
      this.#put(subscription, this.slow === 'latest' ? publication : null, service)
      return
    }
    this.#endRun(subscription)
    this.send(subscription, publication, service.maxBehind, service)
  }

  /** @returns whether the subscriber has room for more */
  send (subscription: Subscription, publication: Publication, maxUnsent: number, service: Service): boolean {
    const message = publication.encodedBy(this.encode, error => { service.onEncodeError(error) })
    service.counts.delivered++
    if (subscription.at < 0) return false // encode() ended the subscription
    if (message !== null) return subscription.subscriber.sendPublished(message, maxUnsent)
    service.onUnencoded(subscription, publication)
    return true
  }

  /** Everything sent is out: sends what waits. */
  onDrain (subscription: Subscription, service: Service): void {
    if (this.catchUp !== null) {
      this.catchUp.pump()
      return
    }
    const waiting = this.#waiting
    if (waiting === null) return
    this.#waiting = null
    service.counts.waiting--
    this.deliver(subscription, waiting, service)
  }

  /** The subscription has ended. */
  end (subscription: Subscription, service: Service, error?: Error): void {
    this.catchUp?.end(error)
    this.#skip(subscription, this.#waiting, service)
    this.#waiting = null
    this.#endRun(subscription)
  }

  #put (subscription: Subscription, publication: Publication | null, service: Service): void {
    if (publication === null) {
      this.#skipped++
      service.counts.skipped++
      this.#tellRun(subscription)
      return
    }
    this.#skip(subscription, this.#waiting, service)
    this.#waiting = publication
    service.counts.waiting++
  }

  #skip (subscription: Subscription, publication: Publication | null, service: Service): void {
    if (publication === null) return
    service.counts.waiting--
    service.counts.skipped++
    this.#skipped++
    this.#tellRun(subscription)
  }

  #tellRun ({ subscriber: { connection }, topic }: Subscription): void {
    if (this.#skipped === 1 && TOPIC_CHANNELS.skip.hasSubscribers) TOPIC_CHANNELS.skip.publish({ connection, topic: topic.name })
  }

  #endRun ({ subscriber: { connection }, topic }: Subscription): void {
    if (this.#skipped === 0) return
    if (TOPIC_CHANNELS.skip.hasSubscribers) TOPIC_CHANNELS.skip.publish({ connection, topic: topic.name, count: this.#skipped })
    this.#skipped = 0
  }
}

/** Sent before live messages: a missed one, or the snapshot. */
export type FirstMessage = Publication | PreparedMessage

/** The result of looking up `since`. */
export interface Recovery {
  readonly recovered: boolean
  readonly head: Head | null
  readonly missed: readonly Publication[]
}
