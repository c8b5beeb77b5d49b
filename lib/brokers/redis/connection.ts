/** One connection to a Redis server, by whatever client: it does not come back by itself, and does not keep what cannot be sent. */
export interface RedisConnection {
  /** @returns resolves when commands can be sent. May never settle */
  connect (): Promise<void>
  /** @returns what the server answers, strings as Buffers. May never settle */
  call (command: ReadonlyArray<string | Buffer>): Promise<unknown>
  /** To sharded channels, if it was made for those. @returns resolves when it is acknowledged. May never settle */
  subscribe (channels: string[]): Promise<unknown>
  unsubscribe (channels: string[]): Promise<unknown>
  destroy (): void
}

export interface ConnectionEvents {
  /** What was published on a channel. Never throws. */
  readonly message: (message: unknown) => void
  /** It is of no more use. */
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

/** Whether it is what the server has answered: then the command was not done. */
export function isReply (error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  // ioredis and iovalkey by name, node-redis by class
  for (let prototype: unknown = error; prototype !== null && prototype !== Error.prototype; prototype = Object.getPrototypeOf(prototype)) {
    const { name } = (prototype as object).constructor
    if (name === 'ReplyError' || name === 'ErrorReply') return true
  }
  return false
}

/** What a server says that may not, or not yet, be written to: another connection may lead to one that may. */
export function isWrongServer (error: unknown): boolean {
  return isReply(error) && /(^|-)(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|NOAUTH)\b/.test(error.message)
}

/** What a node of a cluster says that has not, or has not alone, what the command is about. It was not done. */
export function isMoved (error: unknown): boolean {
  return isReply(error) && /^(MOVED|ASK|TRYAGAIN)\b/.test(error.message)
}
