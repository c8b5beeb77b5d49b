/** One connection to a Redis server, with any client: it does not reconnect by itself, and does not queue commands while disconnected. */
export interface RedisConnection {
  /** @returns resolves when commands can be sent. May never settle */
  connect (): Promise<void>
  /** @returns the server's answer, with strings as Buffers. May never settle */
  call (command: ReadonlyArray<string | Buffer>): Promise<unknown>
  /** Subscribes to channels, sharded ones on a cluster. @returns resolves when acknowledged. May never settle */
  subscribe (channels: string[]): Promise<unknown>
  unsubscribe (channels: string[]): Promise<unknown>
  destroy (): void
}

export interface ConnectionEvents {
  /** A message was published on a channel. Never throws. */
  readonly message: (message: unknown) => void
  /** The connection can no longer be used. */
  readonly ended: (error: Error) => void
}

export type Dial = (events: ConnectionEvents) => RedisConnection

/** A node of a cluster. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** What a client of a cluster is good for: to whom to turn, and how. */
export interface Cluster {
  /** @returns nodes to begin with. May never settle, nor after close() */
  discover (): { readonly nodes: Promise<ClusterNodes>, readonly close: () => void }
  /** Where a node is for us that is there for the others. */
  map (address: Address): Address
}

export interface ClusterNodes {
  readonly seeds: readonly Address[]
  /** To any node, with sharded channels. */
  readonly dial: (address: Address) => Dial
}

/** Whether an error is an answer of the server: then the command was not executed. */
export function isReply (error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  // ioredis and iovalkey by name, node-redis by class
  for (let prototype: unknown = error; prototype !== null && prototype !== Error.prototype; prototype = Object.getPrototypeOf(prototype)) {
    const { name } = (prototype as object).constructor
    if (name === 'ReplyError' || name === 'ErrorReply') return true
  }
  return false
}

/** Whether a server reports that it cannot be written to, or not yet: a new connection may reach one that can. */
export function isWrongServer (error: unknown): boolean {
  return isReply(error) && /(^|-)(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|NOAUTH)\b/.test(error.message)
}

/** Whether a cluster node reports that it does not, or does not alone, have the command's slot. The command was not executed. */
export function isMoved (error: unknown): boolean {
  return isReply(error) && /^(MOVED|ASK|TRYAGAIN)\b/.test(error.message)
}
