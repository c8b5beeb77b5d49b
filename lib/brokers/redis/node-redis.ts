// Connections by node-redis.
import type { ConnectionEvents, Dial, RedisConnection } from './connection.ts'

/** What is needed of such a client. */
export interface NodeRedisClient {
  readonly options?: { readonly socket?: object | undefined } | undefined
  readonly isReady: boolean
  duplicate (options: Record<string, unknown>): NodeRedisClient
  connect (): Promise<unknown>
  sendCommand (command: ReadonlyArray<string | Buffer>, options: object): Promise<unknown>
  subscribe (channels: string[], listener: (message: unknown) => void, asBuffers: true): Promise<unknown>
  unsubscribe (channels: string[]): Promise<unknown>
  destroy (): void
  on (event: string, listener: (...args: never[]) => void): unknown
}

/** Strings as Buffers; 36 is how RESP marks one: '$'. */
const AS_BUFFERS = { typeMapping: { 36: Buffer } }

export function nodeRedisDial (client: NodeRedisClient): Dial {
  return events => new NodeRedisConnection(client.duplicate({
    // not to come back: after a cut there are new connections
    socket: { ...client.options?.socket, reconnectStrategy: false },
    disableOfflineQueue: true,
    commandOptions: {},
    keyPrefix: undefined,
    clientSideCache: undefined
  }), events)
}

class NodeRedisConnection implements RedisConnection {
  readonly #client: NodeRedisClient
  readonly #message: (message: unknown) => void

  constructor (client: NodeRedisClient, { message, ended }: ConnectionEvents) {
    this.#client = client
    this.#message = message
    client.on('error', (error: Error) => { if (!client.isReady) ended(error) })
    client.on('end', () => { ended(new Error('the connection was closed')) })
  }

  async connect (): Promise<void> { await this.#client.connect() }
  async call (command: ReadonlyArray<string | Buffer>): Promise<unknown> { return await this.#client.sendCommand(command, AS_BUFFERS) }
  async subscribe (channels: string[]): Promise<unknown> { return await this.#client.subscribe(channels, this.#message, true) }
  async unsubscribe (channels: string[]): Promise<unknown> { return await this.#client.unsubscribe(channels) }
  destroy (): void { this.#client.destroy() }
}
