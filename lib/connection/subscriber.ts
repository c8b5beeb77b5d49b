// What topics are to a connection: a table that it is handed, in which it may have subscriptions.
import type { MessageData, PreparedMessage as Prepared, ReadyState } from '../../types/connection.ts'
import type { PublishOptions, PublishResult, SubscribeOptions, SubscribeResult, TopicGap } from '../../types/topics.ts'
import type { PreparedMessage } from './prepared-message.ts'

/** A connection, as the table sees it. */
export interface Subscriber {
  /** What the application knows of it. */
  readonly connection: unknown
  /** Null until the first subscribe(), and after the end. */
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
