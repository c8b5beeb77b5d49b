// How a connection sees topics: a table passed to it that holds its subscriptions.
import type { MessageData, PreparedMessage as Prepared, ReadyState } from '../../types/connection.ts'
import type { PublishOptions, PublishResult, SubscribeOptions, SubscribeResult, TopicGap } from '../../types/topics.ts'
import type { PreparedMessage } from './prepared-message.ts'

/** A connection as the table sees it. */
export interface Subscriber {
  /** The public Connection. */
  readonly connection: unknown
  /** Null until the first subscribe(), and after the end. */
  subscriptions: Subscriptions | null
  readonly readyState: ReadyState
  readonly bufferedAmount: number
  /** send() would return false. */
  readonly mustWait: boolean
  /** @param maxUnsent bytes beyond which the peer is given up as too slow @returns false if the sender is to wait */
  sendPublished (message: PreparedMessage, maxUnsent: number): boolean
  giveUpSlowPeer (): void
  /** Emits 'gap' in a later tick. */
  tellGap (gap: TopicGap): void
  close (code: number, reason: string): void
}

/** The subscriptions of one connection, created by its first subscribe(). */
export interface Subscriptions {
  readonly names: ReadonlySet<string>
  /** Keeps a publication while the connection is in the middle of a message sent in fragments. */
  hold (subscriber: Subscriber, message: PreparedMessage, maxUnsent: number): void
  /** The fragmented message has ended. */
  release (subscriber: Subscriber): void
  /** Everything sent is out. */
  onDrain (table: SubscriptionTable): void
  /** The connection is no longer open. */
  leave (table: SubscriptionTable): void
}

/** Holds the subscriptions of many connections. */
export interface SubscriptionTable {
  subscribe (subscriber: Subscriber, topic: string, options: SubscribeOptions | undefined): Promise<SubscribeResult>
  unsubscribe (subscriber: Subscriber, topic: string): boolean
  publishFrom (publisher: Subscriber, topic: string, data: Exclude<MessageData, Blob> | Prepared, options?: Omit<PublishOptions, 'except'>): Promise<PublishResult>
}
