// Sends a subscriber what it missed since its position, or a snapshot, before live messages, which wait until then. Both are sent as the
// connection takes them; waiting messages are shared, not copied.
import { AsyncResource } from 'node:async_hooks'
import type { GapReason, Head, SubscribeOptions, SubscribeResult } from '../../types/topics.ts'
import { unsubscribed } from '../errors.ts'
import { Fifo } from '../framing/fifo.ts'
import { PreparedMessage } from '../connection/prepared-message.ts'
import { formatPosition } from './position.ts'
import { Publication, toMessage } from './publication.ts'
import type { FirstMessage, Recovery, Service, Subscription } from './subscription.ts'

export interface CatchUpOwner extends Service {
  /** The snapshot has failed. */
  onSnapshotError (subscription: Subscription): void
  onMissing (subscription: Subscription, missing: Missing): void
}

/** A gap in the live messages, reported when those before it have been sent. */
export class Missing {
  readonly reason: GapReason
  readonly from: Head | null
  readonly to: Head | null

  constructor (reason: GapReason, from: Head | null, to: Head | null) {
    this.reason = reason
    this.from = from
    this.to = to
  }
}

export class CatchUp {
  /** The position to resume from; null: none. */
  readonly since: Head | null
  readonly promise: Promise<SubscribeResult>
  readonly #subscription: Subscription
  readonly #snapshot: SubscribeOptions['snapshot']
  readonly #owner: CatchUpOwner
  readonly #first = new Fifo<FirstMessage>()
  readonly #live = new Fifo<Publication | Missing>()
  #liveBytes = 0
  #isDecided = false
  // null until the missed messages or the snapshot are available
  #result: SubscribeResult | null = null
  // between resolving subscribe() and live messages: code that awaits it runs first
  #isTelling = false
  #isTold = false
  #resolve!: (result: SubscribeResult) => void
  #reject!: (error: unknown) => void

  /** @param snapshot called in the async context of this constructor */
  constructor (subscription: Subscription, since: Head | null, snapshot: SubscribeOptions['snapshot'], owner: CatchUpOwner) {
    this.since = since
    this.#subscription = subscription
    this.#snapshot = snapshot === undefined ? undefined : AsyncResource.bind(snapshot)
    this.#owner = owner
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.promise.catch(() => {}) // may be left unhandled
  }

  /** decide() has been called. */
  get isDecided (): boolean { return this.#isDecided }
  get live (): Iterable<Publication | Missing> { return this.#live }

  /** Adds a live message. */
  take (publication: Publication): void {
    const { counts, maxBehind } = this.#owner
    const { slow } = this.#subscription.terms!
    const isOver = this.#liveBytes > 0 && this.#liveBytes + publication.message.length > maxBehind
    if (isOver && slow === 'close') {
      counts.delivered++
      this.#subscription.subscriber.giveUpSlowPeer()
      return
    }
    if (isOver && slow === 'skip') {
      counts.skipped++
      return
    }
    if (isOver) this.drop(Infinity, true)
    if (this.#hasEnded) { // drop() reported a gap, which may close the connection
      counts.skipped++
      return
    }
    counts.waiting++
    this.#live.push(publication)
    this.#liveBytes += publication.message.length
    this.pump()
  }

  miss (missing: Missing): void {
    this.#live.push(missing)
    this.pump()
  }

  /** Drops the first `count` live messages: the recovery covers them or, if skipped, the subscriber is too slow. */
  drop (count: number, isSkipped = false): void {
    const { counts } = this.#owner
    for (let i = Math.min(count, this.#live.length); i > 0; i--) {
      const dropped = this.#live.shift()!
      if (dropped instanceof Missing) {
        if (isSkipped && !this.#hasEnded) this.#owner.onMissing(this.#subscription, dropped)
        continue
      }
      this.#liveBytes -= dropped.message.length
      counts.waiting--
      if (isSkipped) counts.skipped++
    }
  }

  decide ({ recovered, head, missed }: Recovery): void {
    if (this.#hasEnded) return
    this.#isDecided = true
    const position = head === null ? null : formatPosition(head)
    if (recovered || this.#snapshot === undefined) {
      this.#begin(missed, { recovered, position })
      return
    }
    this.#take(this.#snapshot, position).then(snapshot => { this.#begin(snapshot === null ? [] : [snapshot], { recovered, position }) }, error => {
      this.#reject(error)
      if (!this.#hasEnded) this.#owner.onSnapshotError(this.#subscription)
    })
  }

  /** Sends missed messages or the snapshot, then live messages, as far as the connection takes them now. */
  pump (): void {
    if (this.#result === null || this.#isTelling) return
    const { subscriber, terms } = this.#subscription
    let hasRoom = !subscriber.mustWait
    while (hasRoom && !this.#hasEnded) {
      if (!this.#isTold && this.#first.isEmpty) {
        void this.#tell(this.#result)
        return
      }
      const isFirst = !this.#first.isEmpty
      const next = isFirst ? this.#first.shift() : this.#live.shift()
      if (next === undefined) {
        terms!.catchUp = terms!.promise = null
        if (terms!.isUsual) this.#subscription.terms = null
        return
      }
      if (next instanceof Missing) {
        this.#owner.onMissing(this.#subscription, next)
        continue
      }
      if (!isFirst) {
        this.#owner.counts.waiting--
        this.#liveBytes -= (next as Publication).message.length
      }
      // without maxBehind, which is for subscribers that do not read, not for those with much to catch up on
      hasRoom = next instanceof PreparedMessage
        ? subscriber.sendPublished(next, Infinity)
        : terms!.send(this.#subscription, next, Infinity, this.#owner)
    }
  }

  /** @param error rejects subscribe(). Default: FST_WS_TOPICS_UNSUBSCRIBED */
  end (error: Error = unsubscribed(this.#subscription.topic.name)): void {
    this.drop(Infinity, true)
    this.#first.cut()
    this.#reject(error)
  }

  get #hasEnded (): boolean { return this.#subscription.at < 0 }

  #begin (first: readonly FirstMessage[], result: SubscribeResult): void {
    if (this.#hasEnded) return
    for (const message of first) this.#first.push(message)
    this.#result = result
    this.pump()
  }

  async #tell (result: SubscribeResult): Promise<void> {
    this.#isTold = this.#isTelling = true
    this.#resolve(result)
    // a few microtasks later, after code that awaits subscribe(), even inside an async function of its own
    for (let i = 0; i < 3; i++) await Promise.resolve()
    this.#isTelling = false
    this.pump()
  }

  async #take (snapshot: NonNullable<SubscribeOptions['snapshot']>, position: string | null): Promise<PreparedMessage | null> {
    const data = await snapshot(position)
    return data === null || data === undefined ? null : toMessage(data)
  }
}
