import type { MessageData, PreparedMessage, WebSocketConnection } from './connection.ts'

/**
 * What becomes of a message for a subscriber that does not keep up. `close`: more than `maxBehind` unsent bytes close it with 1013. `skip`: it is
 * not delivered while send() would return false. `latest`: then the newest waits, and goes out when all before it is out.
 */
export type SlowPolicy = 'close' | 'skip' | 'latest'

/** What a subscriber gets instead of a message that was published. */
export type Encode = (payload: Buffer, about: { topic: string, position: string | null, binary: boolean }) => MessageData

export interface SubscribeOptions {
  /** The position after which to go on. One that nothing can be made of, as clients may send it, is as good as lost: `recovered` is false. */
  readonly since?: string | null | undefined
  /** Default: that of the Topics. */
  readonly slow?: SlowPolicy | undefined
  /**
   * Called once for each message and function, in publish(): keep the function. Must not be async. What it throws is reported, and told by a 'gap'
   * event. Not for what is prepared already: a snapshot goes out as it is.
   */
  readonly encode?: Encode | undefined
  /**
   * Makes what the subscriber is sent first, when it was not recovered; null for nothing. What is published meanwhile waits. When it throws or
   * rejects, the subscription ends and subscribe() rejects with that.
   */
  readonly snapshot?: ((position: string | null) => MessageData | null | undefined | Promise<MessageData | null | undefined>) | undefined
}

export interface SubscribeResult {
  /** All that was published after `since` was sent, without a hole: that is proven. */
  readonly recovered: boolean
  /** From where on messages are delivered; null for a topic without numbers. */
  readonly position: string | null
}

export interface PublishOptions {
  /** As in SendOptions. */
  readonly binary?: boolean | undefined
  readonly compress?: boolean | undefined
  /** Who is not to get it. */
  readonly except?: WebSocketConnection<any, any> | undefined
}

export interface PublishResult {
  /** Of the message; null for a topic without numbers. */
  readonly position: string | null
}

/**
 * `lost`: messages were published that cannot be had any more. `epoch`: the broker has forgotten the topic, and counts anew. `interrupted`: the same
 * after the broker was away. `encode`: the subscriber's encode() failed. `subscribe`: the broker refused the subscription.
 */
export type GapReason = 'lost' | 'epoch' | 'interrupted' | 'encode' | 'subscribe'

/** Messages are missing between `from`, the last that was delivered, and `to`, after which delivery goes on. */
export interface TopicGap {
  readonly topic: string
  readonly reason: GapReason
  readonly from: string | null
  readonly to: string | null
}

/** For topics whose name matches. */
export interface TopicRule {
  /** `*` stands for any characters, anywhere. */
  readonly topic: string
  /** How many messages are kept, at least. 0 to 5,000. Default: 0, they are numbered and none is kept. */
  readonly size?: number | undefined
  /** Milliseconds after the last message until what is kept is dropped. Default: 300,000. */
  readonly ttl?: number | undefined
  /** Not numbered: nothing can be resumed, and nothing that is missing is noticed. Default: false. */
  readonly plain?: boolean | undefined
}

export interface TopicsOptions {
  /** Default: 'close'. */
  readonly slow?: SlowPolicy | undefined
  /** Unsent bytes of a subscriber from which it is closed with 1013. Default: 1 MiB. */
  readonly maxBehind?: number | undefined
  /** Who misses messages gets a 'gap' event, or is closed with 1012, to come back with `since`. Default: 'event'. */
  readonly gap?: 'event' | 'close' | undefined
  /** The first that matches counts. Topics that none matches are numbered and not kept with a broker, and neither without. */
  readonly rules?: readonly TopicRule[] | undefined
  /** Milliseconds that numbers are remembered after the last message or subscription; no less than a ttl. Default: 86,400,000. */
  readonly headTtl?: number | undefined
  /** Bytes of all messages that are kept in the process, where no broker keeps them. Default: 64 MiB. */
  readonly memory?: number | undefined
  /** Topics that one connection may be subscribed to. Default: 1,000. */
  readonly maxTopics?: number | undefined
  /** What messages travel by between processes. Default: none, topics are those of the process. */
  readonly broker?: Broker | undefined
  /** Milliseconds that a publish() may wait for the broker. Default: 5,000. */
  readonly publishTimeout?: number | undefined
  /** Bytes that may wait for the broker. Default: 16 MiB. */
  readonly maxPending?: number | undefined
  /** Milliseconds after which it is compared with the broker whether anything is missing. Default: 30,000. */
  readonly checkInterval?: number | undefined
}

/** Counts of this process, since the start unless it says otherwise. */
export interface TopicsStats {
  /** Topics that have subscribers now. */
  readonly topics: number
  /** Subscriptions there are now. */
  readonly subscriptions: number
  /** Messages that were published here. */
  readonly published: number
  /** What subscribers were sent, those included who were closed for it as they were too slow. */
  readonly delivered: number
  /** What subscribers were not sent, as `slow` says. */
  readonly skipped: number
  /** What waits for subscribers now. */
  readonly waiting: number
  /** 'gap' events. */
  readonly gaps: number
  /** Messages that came from the broker and were none. */
  readonly malformed: number
  /** Publishes that wait for the broker now, and their bytes. */
  readonly pending: number
  readonly pendingBytes: number
  /** Promises that were rejected, and errors that the broker told of. */
  readonly errors: number
}

/** Many-to-many: who is subscribed to what, and what is published. Of one process, or with a broker of many. */
export interface TopicsTable {
  /**
   * @returns resolves when it is accepted: by the broker where there is one; else it is delivered already
   * @throws TypeError with the code FST_WS_TOPICS_NAME for a name, and TypeError for data that no message can be made of
   */
  publish (topic: string, data: Exclude<MessageData, Blob> | PreparedMessage, options?: PublishOptions): Promise<PublishResult>
  /** How many connections of this process are subscribed. */
  subscribers (topic: string): number
  /** How many topics have subscribers in this process. */
  readonly size: number
  /** The names of those. */
  names (): IterableIterator<string>
  stats (): TopicsStats
  /** For an answer by HTTP: read it, then the state, and let the client subscribe with it as `since`. Empty string for a topic without numbers. */
  position (topic: string): Promise<string>
  /** Resolves when what was published here has been delivered here, or after `publishTimeout`. */
  flush (): Promise<void>
  /** The plugin calls it before the app is ready. @returns rejects when the broker does */
  start (): Promise<void>
  /** The plugin calls it when its connections are closed. What waits is rejected with FST_WS_TOPICS_CLOSED. */
  close (): Promise<void>
}

/** The newest message of a topic. Two messages may have the same number when a broker has lost some; they have not the same tag. */
export interface Head {
  /** Of the numbers of this topic: others begin when the broker has forgotten it. 1 to 32 letters and digits. */
  readonly epoch: string
  /** Increases with each message, mostly by one; 0 before the first. */
  readonly number: number
  /** 8 random letters and digits for each message; '-' before the first. */
  readonly tag: string
}

/** A numbered message. */
export interface Entry {
  readonly head: Head
  /** The number of the message before it. */
  readonly previous: number
  /** The tag of the message before it; null where the broker does not know, and cannot lose what it has numbered. */
  readonly previousTag: string | null
  /** A line that ends in \n, and the payload: `readTopic()` knows the topic. */
  readonly body: Buffer
}

/** How a topic is kept. */
export interface Rule {
  /** Messages; 0: none. */
  readonly size: number
  /** Milliseconds. */
  readonly ttl: number
  readonly headTtl: number
  /** Not numbered. */
  readonly plain: boolean
}

/** Whom a broker tells. None of these throws, and none may be called inside of the broker's own methods, publish() excepted. */
export interface BrokerHost {
  /** In order for each topic; never after unsubscribe() or stop() has returned. */
  deliver (topic: string, entry: Entry | { readonly head: null, readonly body: Buffer }): void
  /** What was published from now on may be missed, and nothing can be published. @param affects of which topics. Default: of all */
  interrupted (affects?: (topic: string) => boolean): void
  /** All their subscriptions are acknowledged again, and publishing is possible. */
  restored (affects?: (topic: string) => boolean): void
  error (error: Error): void
}

/** What messages travel by. It is of one Topics at a time. */
export interface Broker {
  /** Whether it has numbers and read(). */
  readonly numbered: boolean
  /** @param node what this process is called, other than all others */
  start (host: BrokerHost, node: string): Promise<void>
  stop (): Promise<void>
  /**
   * @returns resolves when it is accepted, with its head, or null for a plain one. Rejects with FST_WS_TOPICS_BROKER_DOWN when it was not sent, with
   * FST_WS_TOPICS_UNCERTAIN when that is not known; anything else is the broker's refusal
   */
  publish (topic: string, body: Buffer, rule: Rule): Promise<Head | null>
  /** @returns resolves when it is acknowledged: what is published from then on is delivered. Waits while the broker is away. Rejects when it refuses */
  subscribe (topics: string[]): Promise<void>
  unsubscribe (topics: string[]): void
  /**
   * In one step: the head, which is made if there is none, and what is kept after `since`, in order up to the head. Where not all of that is
   * kept, what there is of it. Whether that is all is for the host to see.
   */
  read? (topic: string, since: Head | null, rule: Rule): Promise<{ head: Head, entries: Entry[] }>
  heads? (topics: string[]): Promise<Array<Head | null>>
  /** Of a broker of several servers, of which some may be away: whether that of a topic is. Default: none is, between restored() and interrupted(). */
  isAway? (topic: string): boolean
}
