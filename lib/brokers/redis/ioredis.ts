// Connections by ioredis or iovalkey.
import { isMoved, isReply, type Address, type Cluster, type ClusterNodes, type ConnectionEvents, type Dial, type RedisConnection } from './connection.ts'

/** The members used of such a client. */
export interface IoredisClient {
  duplicate (options: Record<string, unknown>): IoredisClient
  connect (): Promise<unknown>
  callBuffer (command: string, ...args: Array<string | Buffer>): Promise<unknown>
  subscribe (...channels: string[]): Promise<unknown>
  unsubscribe (...channels: string[]): Promise<unknown>
  ssubscribe (...channels: string[]): Promise<unknown>
  sunsubscribe (...channels: string[]): Promise<unknown>
  disconnect (): void
  on (event: string, listener: (...args: never[]) => void): unknown
}

export interface IoredisClusterClient {
  readonly options: { readonly natMap?: NatMap | null | undefined }
  duplicate (nodes: never[], options: Record<string, unknown>): IoredisClusterClient
  connect (): Promise<unknown>
  nodes (): Array<IoredisClient & { readonly options: Partial<Address> }>
  disconnect (): void
  on (event: string, listener: (...args: never[]) => void): unknown
}

type NatMap = Readonly<Record<string, Address>> | ((address: string) => Address | null)

/** No reconnecting, queueing or retrying: lost connections are replaced. Without the ready check, permission for INFO is not needed. */
const OPTIONS = {
  lazyConnect: true,
  retryStrategy: () => null,
  reconnectOnError: null,
  enableOfflineQueue: false,
  enableReadyCheck: false,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  enableAutoPipelining: false,
  commandTimeout: undefined,
  keyPrefix: '',
  readOnly: false
}

export function ioredisDial (client: IoredisClient): Dial {
  return events => new IoredisConnection(client.duplicate(OPTIONS), events)
}

class IoredisConnection implements RedisConnection {
  protected readonly client: IoredisClient
  #error: Error | null = null

  constructor (client: IoredisClient, { message, ended }: ConnectionEvents) {
    this.client = client
    client.on('error', (error: Error) => { this.#error = error })
    client.on('close', () => { ended(this.#reason) })
    client.on('messageBuffer', (_channel: Buffer, body: Buffer) => { message(body) })
  }

  /** Why it is of no more use, where its calls say no more than that it is. Not an answer to what is asked. */
  get #reason (): Error {
    return new Error(this.#error?.message ?? 'the connection was closed', { cause: this.#error })
  }

  /** connect() of ioredis resolves before the password is known to be right. */
  async connect (): Promise<void> {
    const client = this.client
    await new Promise<void>((resolve, reject) => {
      client.on('ready', resolve)
      client.on('end', () => { reject(this.#reason) })
      client.connect().catch(() => {}) // only reports that it is closed
    })
  }

  async call ([name, ...args]: ReadonlyArray<string | Buffer>): Promise<unknown> {
    try {
      return await this.client.callBuffer(String(name), ...args)
    } catch (error) {
      delete (error as { command?: unknown }).command // holds the published message, and errors are logged
      throw isReply(error) ? error : this.#reason
    }
  }

  async subscribe (channels: string[]): Promise<unknown> { return await this.client.subscribe(...channels) }
  async unsubscribe (channels: string[]): Promise<unknown> { return await this.client.unsubscribe(...channels) }
  destroy (): void { this.client.disconnect() }
}

/** A connection to a cluster node, with sharded channels, each of which may be in another slot. */
class ShardedIoredisConnection extends IoredisConnection {
  readonly #ended: ConnectionEvents['ended']
  #isConnected = false
  #subscribing = 0
  // tells that a subscription was dropped, or will be refused
  #moved = 0

  constructor (client: IoredisClient, events: ConnectionEvents) {
    super(client, events)
    const { message, ended } = events
    this.#ended = ended
    client.on('smessageBuffer', (_channel: Buffer, body: Buffer) => { message(body) })
    client.on('moved', () => {
      this.#moved++
      this.#lookForDropped()
    })
    // as iovalkey, and ioredis before 6, say of a sunsubscribe that they have not asked for
    client.on('error', (error: Error) => { if (this.#isConnected) ended(error) })
  }

  override async connect (): Promise<void> {
    await super.connect()
    this.#isConnected = true
  }

  override async subscribe (channels: string[]): Promise<unknown> { return await Promise.all(channels.map(channel => this.#subscribe(channel))) }

  async #subscribe (channel: string): Promise<void> {
    this.#subscribing++
    try {
      await this.client.ssubscribe(channel)
    } catch (error) {
      if (isMoved(error) && this.#moved > 0) this.#moved--
      throw error
    } finally {
      this.#subscribing--
      this.#lookForDropped()
    }
  }

  #lookForDropped (): void {
    if (this.#subscribing === 0 && this.#moved > 0) this.#ended(new Error('a slot has moved to another node'))
  }

  override async unsubscribe (channels: string[]): Promise<unknown> { return await Promise.all(channels.map(channel => this.client.sunsubscribe(channel))) }
}

export class IoredisCluster implements Cluster {
  readonly #client: IoredisClusterClient

  constructor (client: IoredisClusterClient) {
    this.#client = client
  }

  /** A client of a cluster makes those of its nodes, connected or not, by which ours are made. */
  discover (): { nodes: Promise<ClusterNodes>, close: () => void } {
    const cluster = this.#client.duplicate([], { lazyConnect: true, enableReadyCheck: false, enableOfflineQueue: false, shardedSubscribers: false, clusterRetryStrategy: null })
    const close = (): void => { cluster.disconnect() }
    const nodes = new Promise<ClusterNodes>((resolve, reject) => {
      cluster.on('error', () => {})
      cluster.on('+node', () => {
        queueMicrotask(() => { // when all are made
          const nodes = cluster.nodes()
          close()
          const [template] = nodes
          if (template === undefined) return
          const seeds = nodes.map(({ options: { host = '127.0.0.1', port = 6379 } }) => ({ host, port }))
          resolve({ seeds, dial: ({ host, port }) => events => new ShardedIoredisConnection(template.duplicate({ ...OPTIONS, host, port }), events) })
        })
      })
      cluster.connect().catch(reject)
    })
    return { nodes, close }
  }

  map (address: Address): Address {
    const { natMap } = this.#client.options
    const name = `${address.host}:${address.port}`
    return (typeof natMap === 'function' ? natMap(name) : natMap?.[name]) ?? address
  }
}
