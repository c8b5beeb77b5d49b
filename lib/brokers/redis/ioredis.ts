// Connections by ioredis or iovalkey.
import { isReply, type ConnectionEvents, type Dial, type RedisConnection } from './connection.ts'

/** What is needed of such a client. */
export interface IoredisClient {
  duplicate (options: Record<string, unknown>): IoredisClient
  connect (): Promise<unknown>
  callBuffer (command: string, ...args: Array<string | Buffer>): Promise<unknown>
  subscribe (...channels: string[]): Promise<unknown>
  unsubscribe (...channels: string[]): Promise<unknown>
  disconnect (): void
  on (event: string, listener: (...args: never[]) => void): unknown
}

/** Not to come back, not to keep or repeat anything: after a cut there are new connections. Without the ready check INFO need not be allowed. */
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
  keyPrefix: ''
}

export function ioredisDial (client: IoredisClient): Dial {
  return events => new IoredisConnection(client.duplicate(OPTIONS), events)
}

class IoredisConnection implements RedisConnection {
  readonly #client: IoredisClient
  #error: Error | null = null

  constructor (client: IoredisClient, { message, ended }: ConnectionEvents) {
    this.#client = client
    client.on('error', (error: Error) => { this.#error = error })
    client.on('close', () => { ended(this.#reason) })
    client.on('messageBuffer', (_channel: Buffer, body: Buffer) => { message(body) })
  }

  /** Why it is of no more use, where its calls say no more than that it is. Not an answer to what is asked. */
  get #reason (): Error {
    return new Error(this.#error?.message ?? 'the connection was closed', { cause: this.#error })
  }

  /** connect() of ioredis resolves before it is known whether the password is right. */
  async connect (): Promise<void> {
    const client = this.#client
    await new Promise<void>((resolve, reject) => {
      client.on('ready', resolve)
      client.on('end', () => { reject(this.#reason) })
      client.connect().catch(() => {}) // which says no more than that it is closed
    })
  }

  async call ([name, ...args]: ReadonlyArray<string | Buffer>): Promise<unknown> {
    try {
      return await this.#client.callBuffer(String(name), ...args)
    } catch (error) {
      delete (error as { command?: unknown }).command // in which is what was published, and errors are logged
      throw isReply(error) ? error : this.#reason
    }
  }

  async subscribe (channels: string[]): Promise<unknown> { return await this.#client.subscribe(...channels) }
  async unsubscribe (channels: string[]): Promise<unknown> { return await this.#client.unsubscribe(...channels) }
  destroy (): void { this.#client.disconnect() }
}
