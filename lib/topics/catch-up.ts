// What a subscriber gets before what is published now: what it has missed since its position, or a snapshot. Until that is sent, what is
// published waits. Both go out as the connection takes them, and wait by reference.
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

/** A place where messages are missing, told when those before it are sent. */
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
  /** Where the subscriber was; null: nowhere. */
  readonly since: Head | null
  readonly promise: Promise<SubscribeResult>
  readonly #subscription: Subscription
  readonly #snapshot: SubscribeOptions['snapshot']
  readonly #owner: CatchUpOwner
  readonly #first = new Fifo<FirstMessage>()
  readonly #live = new Fifo<Publication | Missing>()
  #liveBytes = 0
  #isDecided = false
  // Null until what is first is there.
  #result: SubscribeResult | null = null
  // what is first is sent: subscribe() is done, and whoever waits for it has his turn before what is published
  #isTelling = false
  #isTold = false
  #resolve!: (result: SubscribeResult) => void
  #reject!: (error: unknown) => void

  /** @param snapshot called in the context in which this is made, whoever brings that about */
  constructor (subscription: Subscription, since: Head | null, snapshot: SubscribeOptions['snapshot'], owner: CatchUpOwner) {
    this.since = since
    this.#subscription = subscription
    this.#snapshot = snapshot === undefined ? undefined : AsyncResource.bind(snapshot)
    this.#owner = owner
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.promise.catch(() => {}) // nobody has to wait for it
  }

  /** It is known what the subscriber is sent first. */
  get isDecided (): boolean { return this.#isDecided }
  get live (): Iterable<Publication | Missing> { return this.#live }

  /** Something is published. */
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
    if (this.#hasEnded) { // as it was closed for a gap that had to be told
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

  /** Drops the first `count` that were published since: what is decided covers them, or the subscriber is too slow. */
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

  /** Sends what comes first, then what was published meanwhile, as far as the connection takes it now. */
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
      // outside of maxBehind, which is for who does not read, and not for who has much to read
      hasRoom = next instanceof PreparedMessage
        ? subscriber.sendPublished(next, Infinity)
        : terms!.send(this.#subscription, next, Infinity, this.#owner)
    }
  }

  /** @param error what subscribe() rejects with. Default: that it has ended */
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
    // behind who has waited for it; and a little further, for who has done so in a function of his own
    for (let i = 0; i < 3; i++) await Promise.resolve()
    this.#isTelling = false
    this.pump()
  }

  async #take (snapshot: NonNullable<SubscribeOptions['snapshot']>, position: string | null): Promise<PreparedMessage | null> {
    const data = await snapshot(position)
    return data === null || data === undefined ? null : toMessage(data)
  }
}
