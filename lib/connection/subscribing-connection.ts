// What topics are to a connection: a table that it is handed, in which it may have subscriptions.
import type { MessageData, PreparedMessage as Prepared, ReadyState, SendOptions } from '../../types/connection.ts'
import type { PublishOptions, PublishResult, SubscribeOptions, SubscribeResult, TopicGap } from '../../types/topics.ts'
import { noTopics } from '../errors.ts'
import { PreparedMessage } from './prepared-message.ts'
import { ViewableConnection } from './viewable-connection.ts'

/** A connection, as the table sees it. */
export interface Subscriber {
  subscriptions: Subscriptions | null
  readonly readyState: ReadyState
  readonly bufferedAmount: number
  /** A send() would return false. */
  readonly mustWait: boolean
  /** @param maxUnsent bytes, beyond which it is given up as too slow @returns whether it may be sent more */
  sendPublished (message: PreparedMessage, maxUnsent: number): boolean
  giveUpSlowPeer (): void
  /** In a later turn. */
  tellGap (gap: TopicGap): void
  close (code: number, reason: string): void
}

/** The subscriptions of one connection in its table: made at its first subscribe(). */
export interface Subscriptions {
  readonly names: ReadonlySet<string>
  /** Keeps what is published inside a message that is sent in pieces. */
  hold (subscriber: Subscriber, message: PreparedMessage, maxUnsent: number): void
  /** That message has ended. */
  release (subscriber: Subscriber): void
  /** All is out that was sent. */
  onDrain (table: SubscriptionTable): void
  /** The connection is not open any more. */
  leave (table: SubscriptionTable): void
}

/** What connections subscribe in. */
export interface SubscriptionTable {
  subscribe (subscriber: Subscriber, topic: string, options: SubscribeOptions | undefined): Promise<SubscribeResult>
  unsubscribe (subscriber: Subscriber, topic: string): boolean
  publishFrom (publisher: Subscriber, topic: string, data: Exclude<MessageData, Blob> | Prepared, options?: Omit<PublishOptions, 'except'>): Promise<PublishResult>
}

const NO_TOPICS: ReadonlySet<string> = new Set()

export abstract class SubscribingConnection extends ViewableConnection {
  /** Null until the first subscribe(), and after the end. @internal */
  subscriptions: Subscriptions | null = null

  /** What is sent for a value, where a schema says what is sent; else what is given. @internal */
  abstract encode (data: MessageData, options?: SendOptions): MessageData
  /** Null where nobody has given it any. */
  protected abstract readonly table: SubscriptionTable | null

  get topics (): ReadonlySet<string> { return this.subscriptions?.names ?? NO_TOPICS }
  // as any property that an application sets on a connection
  set topics (value: unknown) { Object.defineProperty(this, 'topics', { value, writable: true, enumerable: true, configurable: true }) }

  subscribe (topic: string, options?: SubscribeOptions): Promise<SubscribeResult> {
    return this.#table.subscribe(this.#subscriber, topic, options)
  }

  unsubscribe (topic: string): boolean {
    return this.#table.unsubscribe(this.#subscriber, topic)
  }

  publish (topic: string, data: Exclude<MessageData, Blob> | Prepared, options?: Omit<PublishOptions, 'except'>): Promise<PublishResult> {
    const message = data instanceof PreparedMessage ? data : this.encode(data as MessageData, options) as Exclude<MessageData, Blob>
    return this.#table.publishFrom(this.#subscriber, topic, message, options)
  }

  /** @internal */
  tellGap (gap: TopicGap): void {
    process.nextTick(() => { this.inContext(() => { this.emitSafely('gap', gap) }) })
  }

  get #subscriber (): Subscriber { return this as unknown as Subscriber }

  get #table (): SubscriptionTable {
    if (this.table === null) throw noTopics()
    return this.table
  }
}
