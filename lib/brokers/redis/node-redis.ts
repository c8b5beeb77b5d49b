// Connections by node-redis.
import type { Address, Cluster, ClusterNodes, ConnectionEvents, Dial, RedisConnection } from './connection.ts'

/** The members used of such a client. */
export interface NodeRedisClient {
  readonly options?: { readonly socket?: object | undefined } | undefined
  readonly isReady: boolean
  duplicate (options: Record<string, unknown>): NodeRedisClient
  connect (): Promise<unknown>
  sendCommand (command: ReadonlyArray<string | Buffer>, options: object): Promise<unknown>
  subscribe (channels: string[], listener: (message: unknown) => void, asBuffers: true): Promise<unknown>
  unsubscribe (channels: string[]): Promise<unknown>
  sSubscribe (channel: string, listener: (message: unknown) => void, asBuffers: true): Promise<unknown>
  sUnsubscribe (channel: string): Promise<unknown>
  destroy (): void
  on (event: string, listener: (...args: never[]) => void): unknown
}

export interface NodeRedisClusterClient {
  /** In node-redis 6; hidden in 5. */
  readonly _options?: { readonly nodeAddressMap?: AddressMap | undefined } | undefined
  readonly masters: ReadonlyArray<Address & object>
  duplicate (options: Record<string, unknown>): NodeRedisClusterClient
  connect (): Promise<unknown>
  nodeClient (node: object): NodeRedisClient | Promise<NodeRedisClient>
  destroy (): void
  on (event: string, listener: (...args: never[]) => void): unknown
}

type AddressMap = Readonly<Record<string, Address>> | ((address: string) => Address | undefined)

/** Strings as Buffers; 36 is how RESP marks one: '$'. */
const AS_BUFFERS = { typeMapping: { 36: Buffer } }

export function nodeRedisDial (client: NodeRedisClient): Dial {
  return events => new NodeRedisConnection(duplicateOf(client), events)
}

function duplicateOf (client: NodeRedisClient, address: Partial<Address> = {}): NodeRedisClient {
  return client.duplicate({
    // no reconnecting: lost connections are replaced
    socket: { ...client.options?.socket, ...address, reconnectStrategy: false },
    disableOfflineQueue: true,
    // no AbortSignal.timeout() for each command, which takes longer than the command: a Session has deadlines of its own
    commandOptions: { timeout: undefined },
    keyPrefix: undefined,
    clientSideCache: undefined
  })
}

class NodeRedisConnection implements RedisConnection {
  protected readonly client: NodeRedisClient
  protected readonly message: (message: unknown) => void

  constructor (client: NodeRedisClient, { message, ended }: ConnectionEvents) {
    this.client = client
    this.message = message
    client.on('error', (error: Error) => { if (!client.isReady) ended(error) })
    client.on('end', () => { ended(new Error('the connection was closed')) })
  }

  async connect (): Promise<void> { await this.client.connect() }
  call (command: ReadonlyArray<string | Buffer>): Promise<unknown> { return this.client.sendCommand(command, AS_BUFFERS) }
  async subscribe (channels: string[]): Promise<unknown> { return await this.client.subscribe(channels, this.message, true) }
  async unsubscribe (channels: string[]): Promise<unknown> { return await this.client.unsubscribe(channels) }
  destroy (): void { this.client.destroy() }
}

/** A connection to a cluster node, with sharded channels, each of which may be in another slot. */
class ShardedNodeRedisConnection extends NodeRedisConnection {
  constructor (client: NodeRedisClient, events: ConnectionEvents) {
    super(client, events)
    client.on('sharded-channel-moved', () => { events.ended(new Error('a slot has moved to another node')) })
  }

  override async subscribe (channels: string[]): Promise<unknown> {
    return await Promise.all(channels.map(channel => this.client.sSubscribe(channel, this.message, true)))
  }

  override async unsubscribe (channels: string[]): Promise<unknown> {
    return await Promise.all(channels.map(channel => this.client.sUnsubscribe(channel)))
  }
}

export class NodeRedisCluster implements Cluster {
  readonly #client: NodeRedisClusterClient

  constructor (client: NodeRedisClusterClient) {
    this.#client = client
  }

  /** Only a client of a cluster that is connected makes those of its nodes, by which ours are made. */
  discover (): { nodes: Promise<ClusterNodes>, close: () => void } {
    const cluster = this.#client.duplicate({ minimizeConnections: true })
    let isClosed = false
    const close = (): void => {
      if (isClosed) return
      isClosed = true
      cluster.destroy()
    }
    cluster.on('error', () => {})
    const find = async (): Promise<ClusterNodes> => {
      try {
        await cluster.connect()
        const template = await cluster.nodeClient(cluster.masters[0]!)
        return {
          seeds: cluster.masters.map(({ host, port }) => ({ host, port })),
          dial: address => events => new ShardedNodeRedisConnection(duplicateOf(template, address), events)
        }
      } finally {
        close()
      }
    }
    return { nodes: find(), close }
  }

  map (address: Address): Address {
    const map = this.#client._options?.nodeAddressMap
    const name = `${address.host}:${address.port}`
    return (typeof map === 'function' ? map(name) : map?.[name]) ?? address
  }
}
