import { captureRejectionSymbol, EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { CloseInfo, ConnectionLoad } from '../../types/connection.ts'
import type { DrainOptions, WebSocketRouteStats, WebSocketServerFacade, WebSocketServerState, WebSocketServerStats } from '../../types/fastify.ts'
import { http } from '../builtins.ts'
import { type Connection, coreIn, coreOf } from '../connection/connection.ts'
import type { ConnectionCore } from '../connection/core.ts'
import { noTraffic, type Traffic } from '../connection/observability.ts'
import { publishRefusal, type Refusal, type RefusalListener } from '../handshake/refusals.ts'
import { describe, integer } from '../options/checks.ts'
import { drainSettings } from '../options/drain-settings.ts'
import { liveOptions } from '../options/live-options.ts'
import type { PluginSettings } from '../options/settings.ts'
import type { Topics } from '../topics/topics.ts'
import { AddressSeats } from './address-seats.ts'
import type { HandshakeRouter } from './handshake-router.ts'
import { heaviest } from './heaviest.ts'
import type { ScopeTopics } from './scope-topics.ts'
import { Seats } from './seats.ts'
import { Tally } from './tally.ts'

const TOP = 20
const isCount = integer(1, 10_000)

/** The connections of one registration of the plugin, with the interface of a `ws` server. */
export class WebSocketServer extends EventEmitter implements WebSocketServerFacade, RefusalListener {
  readonly clients: Set<Connection> = new Set()
  readonly seats = new Seats()
  readonly addressSeats = new AddressSeats()
  /** May be changed at run time; invalid values throw. */
  readonly options: PluginSettings
  readonly router: HandshakeRouter
  #isClosing = false
  #isClosed = false
  #revision = 0
  /** By route pattern; '' for handshakes refused before their route was known. */
  readonly tallies: Map<string, Tally> = new Map()

  /** @internal */
  readonly scopeTopics: ScopeTopics

  constructor (options: PluginSettings, router: HandshakeRouter, topics: ScopeTopics) {
    super({ captureRejections: true })
    this.router = router
    this.scopeTopics = topics
    this.options = liveOptions(options, () => { this.#revision++ })
  }

  get topics (): Topics { return this.scopeTopics.topics }

  publish (...args: Parameters<Topics['publish']>): ReturnType<Topics['publish']> {
    return this.topics.publish(...args)
  }

  /** Changes whenever the options change. */
  get revision (): number { return this.#revision }

  /** No more connections are accepted. */
  get isClosing (): boolean { return this.#isClosing }

  get state (): WebSocketServerState {
    if (this.#isClosed) return 'closed'
    return this.#isClosing ? 'closing' : this.router.state
  }

  /** A rejection of an async 'connection' listener is treated like that of a handler. */
  override [captureRejectionSymbol] (error: unknown, _event: string | symbol, connection?: unknown): void {
    coreIn(connection)?.handlerFailed(error)
  }

  /**
   * The header fields that 'headers' listeners add to the 101 response, as names and values.
   * @throws TypeError for a line that is not a header field
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
      http.validateHeaderName(colon === -1 ? line : name) // otherwise writing the head would fail
      http.validateHeaderValue(name, value)
      return [name, value]
    })
  }

  add (connection: Connection, request: IncomingMessage): void {
    this.#tallyOf(coreOf(connection).route).opened++
    this.clients.add(connection)
    this.emit('connection', connection, request)
  }

  remove (connection: Connection, info: CloseInfo): void {
    if (!this.clients.delete(connection)) return
    const core = coreOf(connection)
    this.#tallyOf(core.route).onClose(core, info)
    for (const observer of this.router.observers) observer.onClosed(core.route, info, core.stats().duration)
    this.#emitCloseIfEmpty()
  }

  onRefused (refusal: Refusal): void {
    this.#tallyOf(refusal.asker?.routeOptions.url ?? '').refused++
    publishRefusal(refusal)
    for (const observer of this.router.observers) observer.onRefused(refusal)
  }

  #tallyOf (route: string): Tally {
    let tally = this.tallies.get(route)
    if (tally === undefined) this.tallies.set(route, tally = new Tally())
    return tally
  }

  stats (options?: { readonly routes?: false | undefined }): WebSocketServerStats
  stats (options: { readonly routes: true }): WebSocketServerStats & { readonly routes: WebSocketRouteStats }
  stats ({ routes = false }: { readonly routes?: boolean | undefined } = {}): WebSocketServerStats {
    const traffic = new Map([...this.tallies].map(([route, { past }]) => [route, { ...past }]))
    for (const core of this.cores()) core.addTo(traffic.get(core.route)!)
    const byRoute = [...this.tallies].map(([route, tally]) => [route, statsOf([tally], [traffic.get(route)!])] as const)
    const sum = statsOf([...this.tallies.values()], [...traffic.values()])
    return routes ? { ...sum, routes: Object.fromEntries(byRoute) } as WebSocketServerStats : sum
  }

  inspect ({ top = TOP }: { readonly top?: number | undefined } = {}): ConnectionLoad[] {
    const expected = isCount(top)
    if (expected !== null) throw new TypeError(`the option top of inspect() must be ${expected}, not ${describe(top)}`)
    return heaviest(this.cores(), top, core => core.held + core.bufferedAmount).map(core => {
      const { info, held, bufferedAmount: unsent, subscriptions, waiting } = core
      return { info, held, unsent, topics: subscriptions?.names.size ?? 0, waiting }
    })
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

  /** The core of each client. */
  * cores (): Generator<ConnectionCore, undefined> {
    for (const connection of this.clients) yield coreOf(connection)
  }

  #emitCloseIfEmpty (): void {
    if (!this.#isClosing || this.#isClosed || this.clients.size > 0) return
    this.#isClosed = true
    process.nextTick(() => { this.emit('close') })
  }

  async drain (options?: DrainOptions): Promise<void> {
    await this.router.drain(drainSettings(options))
  }

  onRoundTrip (milliseconds: number, connection: Connection): void {
    const { route } = coreOf(connection)
    for (const observer of this.router.observers) observer.onRoundTrip(route, milliseconds)
  }

  onSendingClose (connection: Connection): void {
    this.router.onSendingClose(connection)
  }

  /** Sends Close to all connections, and drops those still there after shutdownTimeout. */
  async shutdown (): Promise<void> {
    if (!this.#isClosing) this.close()
    for (const core of this.cores()) core.shutDown(this.options.shutdownCode)
    const terminate = setTimeout(() => {
      for (const connection of this.clients) connection.terminate()
    }, this.options.shutdownTimeout)
    await Promise.all([...this.clients].map(({ closed }) => closed))
    clearTimeout(terminate)
  }
}

function statsOf (tallies: readonly Tally[], traffic: readonly Traffic[]): WebSocketServerStats {
  const sum = { open: 0, opened: 0, ...noTraffic(), refused: 0, closes: {} as Record<number, number> }
  for (const { open, opened, refused, closes } of tallies) {
    sum.open += open
    sum.opened += opened
    sum.refused += refused
    for (const [code, count] of closes) sum.closes[code] = (sum.closes[code] ?? 0) + count
  }
  for (const part of traffic) for (const name of Object.keys(part) as Array<keyof Traffic>) sum[name] += part[name]
  const { held, unsent, ...stats } = sum
  return stats
}
