import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { notUpgradable, serverClosing } from './errors.ts'
import { listHasToken } from './header-field.ts'
import { isWebSocketUpgrade } from './opening-handshake.ts'
import { afterEarlierAnswers } from './pipelining.ts'
import type { RoutePaths } from './route-paths.ts'
import { PendingUpgrade } from './upgrade.ts'

export interface HubSettings {
  /** Milliseconds that an opening handshake may take. */
  readonly handshakeTimeout: number
  /** Milliseconds that refused clients may take while the server closes. */
  readonly shutdownTimeout: number
}

type Router = (request: IncomingMessage, response: ServerResponse) => void

// Shared by every copy of this package in the process: a server has one owner of its upgrades.
const HUB = Symbol.for('fastify-websocket-stream.hub')

/**
 * All upgrades of one HTTP server on their way to its router, whatever number of plugin scopes there are. Where others listen
 * to 'upgrade' too (socket.io, a proxy, a development server) it takes those that a WebSocket route matches.
 */
export class UpgradeHub {
  readonly #server: Server
  readonly #route: Router
  readonly #settings: HubSettings
  readonly #paths: RoutePaths
  // handshakes that others may take: looks whether somebody has
  readonly #undecided = new Set<() => void>()
  readonly #upgrades = new WeakMap<IncomingMessage, PendingUpgrade>()
  readonly #pending = new Set<PendingUpgrade>()
  readonly #closeListeners: Array<() => Promise<void>> = []
  #closed: Promise<void> | null = null // made when closing begins

  /** The hub of `server`, made with the settings of whoever asks first. */
  static of (server: Server, route: Router, settings: HubSettings, paths: RoutePaths): UpgradeHub {
    const owner = server as Server & { [HUB]?: UpgradeHub }
    owner[HUB] ??= new UpgradeHub(server, route, settings, paths)
    return owner[HUB]
  }

  private constructor (server: Server, route: Router, settings: HubSettings, paths: RoutePaths) {
    this.#server = server
    this.#route = route
    this.#settings = settings
    this.#paths = paths
    // the first, so that what is ours is known before another listener looks at it
    server.prependListener('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      if (this.#isOurs(request)) this.#take(new PendingUpgrade(request, socket, head))
      else this.#leaveToOthers(request, socket, head)
    })
  }

  get isClosing (): boolean {
    return this.#closed !== null
  }

  /** How many header fields the server's parser keeps, where that is set. */
  get maxHeaderFields (): number | undefined {
    return this.#server.maxHeadersCount || undefined
  }

  /** Takes handshakes on `path`, which is a route's, also where others listen to 'upgrade'. */
  addPath (path: string): void {
    this.#paths.add(path)
  }

  /** The opening handshake that `request` is; undefined for an ordinary request. */
  upgradeOf (request: IncomingMessage): PendingUpgrade | undefined {
    return this.#upgrades.get(request)
  }

  /** `listener` is called when closing begins; close() waits for it. */
  onClose (listener: () => Promise<void>): void {
    this.#closeListeners.push(listener)
  }

  /**
   * Refuses the handshakes that are still in hooks and all that come, and lets every scope say goodbye to its connections,
   * all at the same time. Later calls wait for the first.
   */
  close (): Promise<void> {
    this.#closed ??= allSettled([this.#refusePending(), ...this.#closeListeners.map(listener => listener())])
    return this.#closed
  }

  async #refusePending (): Promise<void> {
    for (const decide of this.#undecided) decide()
    const pending = [...this.#pending]
    for (const upgrade of pending) upgrade.refuse(serverClosing())
    const drop = setTimeout(() => {
      for (const upgrade of pending) upgrade.destroy()
    }, this.#settings.shutdownTimeout)
    await Promise.all(pending.map(({ over }) => over))
    clearTimeout(drop)
  }

  #isOurs ({ headers, url }: IncomingMessage): boolean {
    if (this.#server.listenerCount('upgrade') === 1) return true
    return isWebSocketUpgrade(headers) ? this.#paths.has(url!) : listHasToken(headers.upgrade, 'h2c')
  }

  /** Whoever takes it listens to its socket. What nobody takes in the time for a handshake gets an answer all the same. */
  #leaveToOthers (request: IncomingMessage, socket: Socket, head: Buffer): void {
    const decide = (): void => {
      clearTimeout(timer)
      this.#undecided.delete(decide)
      socket.off('close', decide)
      if (!socket.destroyed && listenersOf(socket) < listeners) this.#take(new PendingUpgrade(request, socket, head))
    }
    const timer = setTimeout(decide, this.isClosing ? 0 : this.#settings.handshakeTimeout)
    this.#undecided.add(decide)
    socket.on('error', () => {}) // a client that resets the connection must not end the process
    socket.on('close', decide)
    const listeners = listenersOf(socket)
  }

  #take (upgrade: PendingUpgrade): void {
    const { request } = upgrade
    const { headers } = request
    // without the field the parser has dropped it, among others: the route refuses that
    const isHandshake = headers.upgrade === undefined || isWebSocketUpgrade(headers)
    if (isHandshake) this.#upgrades.set(request, upgrade)
    // In a later turn: another listener may not look whether a socket has a response before it gives it one, which throws.
    process.nextTick(afterEarlierAnswers, request.socket, () => { this.#start(upgrade, isHandshake) })
  }

  #start (upgrade: PendingUpgrade, isHandshake: boolean): void {
    if (!isHandshake) {
      this.#decline(upgrade)
      return
    }
    const { request, response } = upgrade
    if (!upgrade.start(this.#settings.handshakeTimeout)) return
    this.#pending.add(upgrade)
    void upgrade.over.then(() => { this.#pending.delete(upgrade) })
    this.#route(request, response)
  }

  /** RFC 9110 §7.8: a server may ignore an Upgrade field. `curl --http2` sends h2c with every first request. */
  #decline (upgrade: PendingUpgrade): void {
    if (!upgrade.start()) return
    const { request, response } = upgrade
    const { headers } = request
    if (headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0') {
      upgrade.refuse(notUpgradable(headers.upgrade)) // Node has ended the parsing of this connection: the body is lost
    } else {
      this.#route(request, response)
    }
  }
}

/** Resolves when all have resolved, or rejects with the first that rejected when the others have come to their end too. */
async function allSettled (promises: ReadonlyArray<Promise<unknown>>): Promise<void> {
  const results = await Promise.allSettled(promises)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

function listenersOf (socket: Socket): number {
  return socket.eventNames().reduce((sum, event) => sum + socket.listenerCount(event), 0)
}
