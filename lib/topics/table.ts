// The subscriptions of this process, and delivery to them.
import type { MessageData, PreparedMessage as Prepared } from '../../types/connection.ts'
import type { GapReason, Head, PublishOptions, PublishResult, SubscribeOptions, SubscribeResult } from '../../types/topics.ts'
import type { Subscriber, SubscriptionTable } from '../connection/subscriber.ts'
import { tooManyTopics, type TopicsError, topicsClosed, unsubscribed } from '../errors.ts'
import { Fifo } from '../framing/fifo.ts'
import { CatchUp, Missing, type CatchUpOwner } from './catch-up.ts'
import { TOPIC_CHANNELS } from './channels.ts'
import { ConnectionSubscriptions } from './connection-subscriptions.ts'
import { formatPosition, parsePosition } from './position.ts'
import { Publication, toMessage } from './publication.ts'
import { checkName, checkSubscribeOptions, type TopicsSettings } from './settings.ts'
import type { Source } from './source.ts'
import { Subscription, Terms } from './subscription.ts'
import { Topic } from './topic.ts'

/** The broker side of the table. */
export interface Upstream {
  /** Called at the first subscription. @returns the source of the topic's messages; null: publish() delivers them directly */
  join (topic: Topic): Source | null
  /** The last subscriber has left. */
  leave (topic: Topic, source: Source): void
  /** @returns null if the topic does not use the broker */
  publish (topic: string, message: ReturnType<typeof toMessage>, except: Subscriber | null): Promise<PublishResult> | null
  onError (error: unknown): void
}

const OPEN = 1
const SERVICE_RESTART = 1012

// returned by most calls, which have nothing to wait for
const SUBSCRIBED: Promise<SubscribeResult> = Promise.resolve(Object.freeze({ recovered: false, position: null }))
const DELIVERED: Promise<PublishResult> = Promise.resolve(Object.freeze({ position: null }))

export class Table<Up extends Upstream = Upstream> implements SubscriptionTable, CatchUpOwner {
  readonly #settings: TopicsSettings
  readonly upstream: Up
  readonly #topics = new Map<string, Topic>()
  readonly counts = { published: 0, delivered: 0, skipped: 0, waiting: 0, subscriptions: 0 }
  readonly gaps: Record<GapReason, number> = { lost: 0, epoch: 0, interrupted: 0, encode: 0, subscribe: 0 }
  // number of subscriptions with an encode function
  #encoders = 0
  #isDelivering = false
  // messages published inside an encode function wait for the one being delivered
  readonly #nested = new Fifo<{ readonly topic: Topic, readonly publication: Publication }>()
  #isClosed = false

  /** @param connect creates the upstream */
  constructor (settings: TopicsSettings, connect: (table: Table) => Up) {
    this.#settings = settings
    this.upstream = connect(this as unknown as Table)
  }

  get maxBehind (): number { return this.#settings.maxBehind }
  get topics (): ReadonlyMap<string, Topic> { return this.#topics }

  subscribe (subscriber: Subscriber, name: string, options?: SubscribeOptions): Promise<SubscribeResult> {
    checkName(name)
    if (options !== undefined) checkSubscribeOptions(options)
    if (this.#isClosed) return this.#rejected(topicsClosed())
    if (subscriber.readyState !== OPEN) return this.#rejected(unsubscribed(name))
    subscriber.subscriptions ??= new ConnectionSubscriptions()
    const subscriptions = subscriber.subscriptions as ConnectionSubscriptions
    const found = subscriptions.countUnless(name)
    if (typeof found !== 'number') return found.terms?.promise ?? subscribedTo(found.topic)
    if (found >= this.#settings.maxTopics) return this.#rejected(tooManyTopics(found))
    const topic = this.#topicOf(name)
    const subscription = subscriptions.first = new Subscription(topic, subscriber, subscriptions.first)
    topic.add(subscription)
    this.counts.subscriptions++
    if (options === undefined && topic.source === null && this.#settings.slow === 'close') return SUBSCRIBED // the common case
    return this.#begin(subscription, options ?? {})
  }

  unsubscribe (subscriber: Subscriber, name: string): boolean {
    checkName(name)
    if (subscriber.readyState !== OPEN) return false
    const subscription = (subscriber.subscriptions as ConnectionSubscriptions | null)?.takeOut(name) ?? null
    if (subscription !== null) this.end(subscription)
    return subscription !== null
  }

  publishFrom (publisher: Subscriber, name: string, data: Exclude<MessageData, Blob> | Prepared, options?: Omit<PublishOptions, 'except'>): Promise<PublishResult> {
    return this.publish(name, data, options, publisher)
  }

  publish (name: string, data: MessageData | Prepared, options?: Omit<PublishOptions, 'except'>, except: Subscriber | null = null): Promise<PublishResult> {
    checkName(name)
    const message = toMessage(data as MessageData, options)
    if (this.#isClosed) return this.#rejected(topicsClosed())
    this.counts.published++
    const sent = this.upstream.publish(name, message, except)
    if (sent !== null) return sent
    const topic = this.#topics.get(name)
    if (topic !== undefined) this.deliver(topic, new Publication(name, null, message, except))
    return DELIVERED
  }

  /** Delivers to all current subscribers. */
  deliver (topic: Topic, publication: Publication): void {
    if (this.#encoders === 0) {
      this.#deliverToAll(topic, publication)
      return
    }
    this.#nested.push({ topic, publication })
    if (this.#isDelivering) return
    this.#isDelivering = true
    for (let next = this.#nested.shift(); next !== undefined; next = this.#nested.shift()) {
      for (const subscription of next.topic.list()) subscription.deliver(next.publication, this)
    }
    this.#isDelivering = false
  }

  /** Calls no application code; a subscriber that is given up as too slow leaves the list meanwhile. */
  #deliverToAll ({ subscribers }: Topic, publication: Publication): void {
    if (subscribers === null) return
    if (!Array.isArray(subscribers)) {
      subscribers.deliver(publication, this)
      return
    }
    const { message, except } = publication
    const { maxBehind, counts } = this
    for (let i = subscribers.length - 1; i >= 0; i--) {
      const subscription = subscribers[i]!
      if (subscription.terms !== null) {
        subscription.deliver(publication, this)
      } else if (subscription.subscriber !== except) { // the common case, inlined to save a call
        counts.delivered++
        subscription.subscriber.sendPublished(message, maxBehind)
      }
    }
  }

  /** Reports a gap to all subscribers that got the messages before it. */
  gap (topic: Topic, reason: GapReason, from: Head | null, to: Head | null): void {
    const missing = new Missing(reason, from, to)
    for (const subscription of topic.list()) {
      const catchUp = subscription.terms?.catchUp ?? null
      if (subscription.at < 0) continue
      if (catchUp === null) this.onMissing(subscription, missing)
      else if (catchUp.isDecided) catchUp.miss(missing)
    }
  }

  onMissing ({ topic: { name: topic }, subscriber }: Subscription, { reason, from, to }: Missing): void {
    const gap = { topic, reason, from: from && formatPosition(from), to: to && formatPosition(to) }
    this.gaps[reason]++
    if (TOPIC_CHANNELS.gap.hasSubscribers) TOPIC_CHANNELS.gap.publish({ connection: subscriber.connection, ...gap })
    subscriber.tellGap(gap)
    if (this.#settings.gap === 'close') subscriber.close(SERVICE_RESTART, 'messages of a topic are missing')
  }

  /** The broker has refused a topic: ends its subscriptions. */
  refuse (topic: Topic, error: Error): void {
    for (const subscription of topic.list()) {
      this.onMissing(subscription, new Missing('subscribe', null, null))
      if (subscription.at < 0) continue
      ;(subscription.subscriber.subscriptions as ConnectionSubscriptions).takeOut(topic.name)
      this.end(subscription, error)
    }
  }

  onUnencoded (subscription: Subscription, { entry }: Publication): void {
    this.onMissing(subscription, new Missing('encode', null, entry?.head ?? null))
  }

  onEncodeError (error: unknown): void {
    this.upstream.onError(error)
  }

  onSnapshotError ({ subscriber, topic }: Subscription): void {
    this.unsubscribe(subscriber, topic.name)
  }

  /** @param error rejects a pending subscribe(). Default: FST_WS_TOPICS_UNSUBSCRIBED */
  end (subscription: Subscription, error?: Error): void {
    const { topic, terms } = subscription
    if (subscription.at < 0) return
    topic.remove(subscription)
    this.counts.subscriptions--
    if (terms !== null) {
      if (terms.encode !== null) this.#encoders--
      terms.end(subscription, this, error)
    }
    if (topic.subscribers !== null) return
    this.#topics.delete(topic.name)
    if (topic.source !== null) this.upstream.leave(topic, topic.source)
  }

  close (): void {
    this.#isClosed = true
    const error = topicsClosed()
    for (const topic of this.#topics.values()) {
      for (const subscription of topic.list()) this.end(subscription, error)
    }
  }

  #topicOf (name: string): Topic {
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = new Topic(name)
      this.#topics.set(name, topic)
      topic.source = this.upstream.join(topic)
    }
    return topic
  }

  #begin (subscription: Subscription, options: SubscribeOptions): Promise<SubscribeResult> {
    const { topic: { source } } = subscription
    const { since, slow, encode, snapshot } = options
    const isLive = source === null || source.position !== null || (source.rule.plain && source.state === 'live')
    const mustCatchUp = !isLive || snapshot !== undefined || (source !== null && !source.rule.plain && since !== undefined && since !== null)
    if (!mustCatchUp && encode === undefined && (slow ?? this.#settings.slow) === 'close') return subscribedTo(subscription.topic)
    const terms = new Terms(options, this.#settings.slow)
    subscription.terms = terms
    if (encode !== undefined) this.#encoders++
    if (!mustCatchUp) return subscribedTo(subscription.topic)
    const position = parsePosition(since)
    const catchUp = new CatchUp(subscription, position, snapshot, this)
    terms.catchUp = catchUp
    terms.promise = catchUp.promise
    if (source === null) catchUp.decide({ recovered: false, head: null, missed: [] })
    else source.recover(catchUp)
    return catchUp.promise
  }

  #rejected (error: TopicsError): Promise<never> {
    const promise = Promise.reject(error)
    promise.catch(() => {}) // may be left unhandled
    // a connection that closed is not a failure
    if (error.code !== 'FST_WS_TOPICS_UNSUBSCRIBED') this.upstream.onError(error)
    return promise
  }
}

function subscribedTo ({ source }: Topic): Promise<SubscribeResult> {
  const position = source?.position ?? null
  return position === null ? SUBSCRIBED : Promise.resolve({ recovered: false, position: formatPosition(position) })
}
