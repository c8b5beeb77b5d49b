import { captureRejectionSymbol, EventEmitter } from 'node:events'
import { validateHeaderName, validateHeaderValue, type IncomingMessage } from 'node:http'
import type { ConnectionStats } from '../../types/connection.ts'
import type { WebSocketServerFacade, WebSocketServerStats } from '../../types/fastify.ts'
import { Connection } from '../connection/connection.ts'
import { liveOptions } from '../options/live-options.ts'
import type { PluginSettings } from '../options/settings.ts'
import type { Topics } from '../topics/topics.ts'
import type { ScopeTopics } from './scope-topics.ts'
import { Seats } from './seats.ts'

/** The connections of one registration of the plugin, in the shape of a server of `ws`. */
export class WebSocketServer extends EventEmitter implements WebSocketServerFacade {
  readonly clients: Set<Connection> = new Set()
  readonly seats = new Seats()
  /** May be changed while it runs; what is wrong throws. */
  readonly options: PluginSettings
  #isClosing = false
  #isClosed = false
  #opened = 0
  #revision = 0
  // of the connections that are closed
  #past = { messagesReceived: 0, messagesSent: 0, bytesReceived: 0, bytesSent: 0 }

  /** @internal */
  readonly scopeTopics: ScopeTopics

  constructor (options: PluginSettings, topics: ScopeTopics) {
    super({ captureRejections: true })
    this.scopeTopics = topics
    this.options = liveOptions(options, () => { this.#revision++ })
  }

  get topics (): Topics { return this.scopeTopics.topics }

  publish (...args: Parameters<Topics['publish']>): ReturnType<Topics['publish']> {
    return this.topics.publish(...args)
  }

  /** Another number whenever the options have changed. */
  get revision (): number { return this.#revision }

  /** No more connections are wanted. */
  get isClosing (): boolean { return this.#isClosing }

  /** What an async 'connection' listener rejects with has the fate of what a handler rejects with. */
  override [captureRejectionSymbol] (error: unknown, _event: string | symbol, connection?: unknown): void {
    if (connection instanceof Connection) connection.handlerFailed(error)
  }

  /**
   * The header fields that 'headers' listeners add to those of a 101, as names and values.
   * @throws TypeError for a line that is no header field
   */
  fieldsAddedTo (headers: Readonly<Record<string, string>>, request: IncomingMessage): Array<[name: string, value: string]> {
    if (this.listenerCount('headers') === 0) return []
    const lines = ['HTTP/1.1 101 Switching Protocols', ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)]
    const own = new Set(lines)
    this.emit('headers', lines, request)
    return lines.filter(line => !own.has(line)).map(line => {
      const colon = line.indexOf(':')
      const name = line.slice(0, colon).trim()
      const value = line.slice(colon + 1).trim()
      validateHeaderName(colon === -1 ? line : name) // or writing the head would fail
      validateHeaderValue(name, value)
      return [name, value]
    })
  }

  add (connection: Connection, request: IncomingMessage): void {
    this.#opened++
    this.clients.add(connection)
    this.emit('connection', connection, request)
  }

  remove (connection: Connection): void {
    if (!this.clients.delete(connection)) return
    addTo(this.#past, connection.stats())
    this.#emitCloseIfEmpty()
  }

  stats (): WebSocketServerStats {
    const sum = { ...this.#past }
    for (const connection of this.clients) addTo(sum, connection.stats())
    return { open: this.clients.size, opened: this.#opened, ...sum }
  }

  close (callback?: (error?: Error) => void): void {
    if (this.#isClosing) {
      if (callback !== undefined) process.nextTick(callback, new Error('the WebSocket server is closed or closing'))
      return
    }
    if (callback !== undefined) this.once('close', () => { callback() })
    this.#isClosing = true
    this.#emitCloseIfEmpty()
  }

  #emitCloseIfEmpty (): void {
    if (!this.#isClosing || this.#isClosed || this.clients.size > 0) return
    this.#isClosed = true
    process.nextTick(() => { this.emit('close') })
  }

  /** Sends Close to all, and drops those that are still there after shutdownTimeout. */
  async shutdown (): Promise<void> {
    if (!this.#isClosing) this.close()
    for (const connection of this.clients) connection.shutDown(this.options.shutdownCode)
    const terminate = setTimeout(() => {
      for (const connection of this.clients) connection.terminate()
    }, this.options.shutdownTimeout)
    await Promise.all([...this.clients].map(({ closed }) => closed))
    clearTimeout(terminate)
  }
}

function addTo (sum: Record<keyof Omit<ConnectionStats, 'duration'>, number>, stats: ConnectionStats): void {
  sum.messagesReceived += stats.messagesReceived
  sum.messagesSent += stats.messagesSent
  sum.bytesReceived += stats.bytesReceived
  sum.bytesSent += stats.bytesSent
}
