import type { MessageData, PreparedMessage, WebSocketConnection } from './connection.ts'

/**
 * What happens to messages for a subscriber that does not keep up. `close`: it is closed with 1013 once more than `maxBehind` bytes are unsent.
 * `skip`: messages are dropped while send() would return false. `latest`: the same, but the newest waits until everything before it is out.
 */
export type SlowPolicy = 'close' | 'skip' | 'latest'

/** Converts a published message to what the subscriber is sent. */
export type Encode = (payload: Buffer, about: { topic: string, position: string | null, binary: boolean }) => MessageData

export interface SubscribeOptions {
  /** The position to resume from. It may come from a client: an invalid or outdated one leads to `recovered: false`. */
  readonly since?: string | null | undefined
  /** Default: the option of the Topics. */
  readonly slow?: SlowPolicy | undefined
  /**
   * Called once per message and function, in publish(): pass the same function to all subscriptions. Must not be async. If it throws, the error is
   * reported, and the subscriber gets a 'gap' event. Not applied to the snapshot.
   */
  readonly encode?: Encode | undefined
  /**
   * Returns the first message for a subscriber that was not recovered; null for none. Messages published meanwhile wait. If it throws or rejects,
   * the subscription ends and subscribe() rejects with that error.
   */
  readonly snapshot?: ((position: string | null) => MessageData | null | undefined | Promise<MessageData | null | undefined>) | undefined
}

export interface SubscribeResult {
  /** Everything published after `since` was sent, provably without a gap. */
  readonly recovered: boolean
  /** The position after which delivery starts; null for a topic without numbers. */
  readonly position: string | null
}

export interface PublishOptions {
  /** As in SendOptions. */
  readonly binary?: boolean | undefined
  readonly compress?: boolean | undefined
  /** A connection that does not get the message. */
  readonly except?: WebSocketConnection<any, any> | undefined
}

export interface PublishResult {
  /** The position of the message; null for a topic without numbers. */
  readonly position: string | null
}

/**
 * `lost`: published messages are no longer available. `epoch`: the broker has forgotten the topic and counts anew. `interrupted`: the broker was
 * unreachable meanwhile. `encode`: the subscriber's encode() failed. `subscribe`: the broker refused the subscription.
 */
export type GapReason = 'lost' | 'epoch' | 'interrupted' | 'encode' | 'subscribe'

/** Messages are missing between `from`, the last one delivered, and `to`, after which delivery continues. */
export interface TopicGap {
  readonly topic: string
  readonly reason: GapReason
  readonly from: string | null
  readonly to: string | null
}

/** How topics with a matching name are kept. */
export interface TopicRule {
  /** A name, in which `*` matches any characters, anywhere. */
  readonly topic: string
  /** The minimum number of messages kept, 0 to 5,000. Default: 0, messages are numbered but not kept. */
  readonly size?: number | undefined
  /** Milliseconds after the last message until kept messages are dropped. Default: 300,000. */
  readonly ttl?: number | undefined
  /** Without numbers: subscribers cannot resume, and missing messages go unnoticed. Default: false. */
  readonly plain?: boolean | undefined
}

export interface TopicsOptions {
  /** Default: 'close'. */
  readonly slow?: SlowPolicy | undefined
  /** Unsent bytes of a subscriber beyond which it is closed with 1013. Default: 1 MiB. */
  readonly maxBehind?: number | undefined
  /** What a subscriber that misses messages gets: a 'gap' event, or also Close 1012, to reconnect with `since`. Default: 'event'. */
  readonly gap?: 'event' | 'close' | undefined
  /** The first match applies. With a broker, messages of other topics are numbered but not kept; without one, not numbered either. */
  readonly rules?: readonly TopicRule[] | undefined
  /** Milliseconds that numbers are remembered after the last message or subscription; no less than any ttl. Default: 86,400,000. */
  readonly headTtl?: number | undefined
  /** Bytes of all messages kept in this process, if there is no broker. Default: 64 MiB. */
  readonly memory?: number | undefined
  /** Maximum number of topics per connection. Default: 1,000. */
  readonly maxTopics?: number | undefined
  /** Carries messages between processes. Default: none, topics are local to the process. */
  readonly broker?: Broker | undefined
  /** Milliseconds that a publish() may wait for the broker. Default: 5,000. */
  readonly publishTimeout?: number | undefined
  /** Bytes that may wait for the broker. Default: 16 MiB. */
  readonly maxPending?: number | undefined
  /** Milliseconds between checks with the broker for missing messages. Default: 30,000. */
  readonly checkInterval?: number | undefined
}

/** Counters of this process, since the start unless noted. */
export interface TopicsStats {
  /** Topics that have subscribers now. */
  readonly topics: number
  /** Subscriptions now. */
  readonly subscriptions: number
  /** Messages published here. */
  readonly published: number
  /** Messages sent to subscribers, including those that got a subscriber closed as too slow. */
  readonly delivered: number
  /** Messages not sent to subscribers because of `slow`. */
  readonly skipped: number
  /** Messages that wait for subscribers now. */
  readonly waiting: number
  /** 'gap' events. */
  readonly gaps: number
  /** 'gap' events by reason. */
  readonly gapReasons: Readonly<Record<GapReason, number>>
  /** Invalid messages from the broker. */
  readonly malformed: number
  /** Publishes that wait for the broker now, and their bytes. */
  readonly pending: number
  readonly pendingBytes: number
  /** Milliseconds that the oldest published message has been on its way: it has not come back from the broker, or is not accepted. 0: there is none. */
  readonly lag: number
  /** The broker is reachable, or there is none. A part of it may be away (`Broker.isAway`). */
  readonly isBrokerUp: boolean
  /** Rejected promises, and errors reported by the broker. */
  readonly errors: number
}

/** Publish/subscribe for connections: within one process, or with a broker across many. */
export interface TopicsTable {
  /**
   * Publishes a message to all subscribers of a topic.
   * @returns resolves when the broker has accepted it; without a broker it is already delivered
   * @throws TypeError with the code FST_WS_TOPICS_NAME for an invalid name, TypeError for data that cannot be sent
   */
  publish (topic: string, data: Exclude<MessageData, Blob> | PreparedMessage, options?: PublishOptions): Promise<PublishResult>
  /** How many connections of this process are subscribed. */
  subscribers (topic: string): number
  /** How many topics have subscribers in this process. */
  readonly size: number
  /** The names of those topics. */
  names (): IterableIterator<string>
  stats (): TopicsStats
  /** For state sent over HTTP: get this first, then the state, and let the client subscribe with it as `since`. '' for a topic without numbers. */
  position (topic: string): Promise<string>
  /** Resolves when messages published here have been delivered here, or after `publishTimeout`. */
  flush (): Promise<void>
  /** Called by the plugin before the app is ready. @returns rejects if the broker does */
  start (): Promise<void>
  /** Called by the plugin when its connections are closed. Pending promises reject with FST_WS_TOPICS_CLOSED. */
  close (): Promise<void>
}

/** Identifies the newest message of a topic. If a broker has lost messages, two may have the same number, but not the same tag. */
export interface Head {
  /** Identifies a sequence of numbers: a new one begins when the broker has forgotten the topic. 1 to 32 letters and digits. */
  readonly epoch: string
  /** Increases with each message, usually by one; 0 before the first. */
  readonly number: number
  /** 8 random letters and digits for each message; '-' before the first. */
  readonly tag: string
}

/** A numbered message. */
export interface Entry {
  readonly head: Head
  /** The number of the message before it. */
  readonly previous: number
  /** The tag of the message before it; null if the broker does not know it and cannot lose messages it has numbered. */
  readonly previousTag: string | null
  /** A line that ends in \n, from which `readTopic()` reads the topic, and the payload. */
  readonly body: Buffer
}

/** How a topic is kept. */
export interface Rule {
  /** Number of messages kept; 0: none. */
  readonly size: number
  /** Milliseconds. */
  readonly ttl: number
  readonly headTtl: number
  /** Without numbers. */
  readonly plain: boolean
}

/** The callbacks of a broker. They never throw, and must not be called inside the broker's own methods, except publish(). */
export interface BrokerHost {
  /** To be called in order for each topic; never after unsubscribe() or stop() has returned. */
  deliver (topic: string, entry: Entry | { readonly head: null, readonly body: Buffer }): void
  /**
   * The broker is unreachable: messages published from now on may be missed, and publishing is impossible.
   * @param affects the topics this is true of. Default: all
   */
  interrupted (affects?: (topic: string) => boolean): void
  /** All their subscriptions are acknowledged again, and publishing is possible. @param affects as above */
  restored (affects?: (topic: string) => boolean): void
  error (error: Error): void
}

/** Carries messages between processes. Serves one Topics at a time. */
export interface Broker {
  /** Whether it numbers messages and has read(). */
  readonly numbered: boolean
  /** @param node the unique name of this process @param rules all that may be used, to prepare for them */
  start (host: BrokerHost, node: string, rules?: readonly Rule[]): Promise<void>
  stop (): Promise<void>
  /**
   * @returns resolves when the message is accepted, with its head, or null for a plain topic. Rejects with FST_WS_TOPICS_BROKER_DOWN if it was not
   * sent, with FST_WS_TOPICS_UNCERTAIN if that is unknown; any other error means that the broker refused it
   */
  publish (topic: string, body: Buffer, rule: Rule): Promise<Head | null>
  /**
   * @param rules of each of the topics
   * @returns resolves when acknowledged: later messages are delivered. Waits while the broker is unreachable. Rejects if it refuses
   */
  subscribe (topics: string[], rules?: readonly Rule[]): Promise<void>
  unsubscribe (topics: string[]): void
  /**
   * Atomically returns the head, created if there is none, and the messages kept after `since`, in order up to the head. If some are no longer
   * kept, it returns the rest: the host detects gaps.
   */
  read? (topic: string, since: Head | null, rule: Rule): Promise<{ head: Head, entries: Entry[] }>
  heads? (topics: string[]): Promise<Array<Head | null>>
  /** Of a broker of several servers, of which some may be away: whether that of a topic is. Default: none is, between restored() and interrupted(). */
  isAway? (topic: string): boolean
}
