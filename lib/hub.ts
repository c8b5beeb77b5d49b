import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { notUpgradable, serverClosing } from './errors.ts'
import { isWebSocketUpgrade } from './opening-handshake.ts'
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

// The last response on each socket: an upgrade that was pipelined behind it has to wait. By Node's channel and not by
// 'request', as listen('localhost') makes a second server, of which Fastify passes on nothing but the upgrades.
const lastResponses = new WeakMap<Socket, ServerResponse>()
subscribe('http.server.request.start', message => {
  const { socket, response } = message as { socket: Socket, response: ServerResponse }
  lastResponses.set(socket, response)
})

/** All upgrades of one HTTP server on their way to its router, whatever number of plugin scopes there are. */
export class UpgradeHub {
  readonly #server: Server
  readonly #route: Router
  readonly #settings: HubSettings
  readonly #upgrades = new WeakMap<IncomingMessage, PendingUpgrade>()
  readonly #pending = new Set<PendingUpgrade>()
  readonly #closeListeners: Array<() => Promise<void>> = []
  #closed: Promise<unknown> | null = null // made when closing begins

  /** The hub of `server`, made with the settings of whoever asks first. */
  static of (server: Server, route: Router, settings: HubSettings): UpgradeHub {
    const owner = server as Server & { [HUB]?: UpgradeHub }
    owner[HUB] ??= new UpgradeHub(server, route, settings)
    return owner[HUB]
  }

  private constructor (server: Server, route: Router, settings: HubSettings) {
    this.#server = server
    this.#route = route
    this.#settings = settings
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      this.#onUpgrade(new PendingUpgrade(request, socket, head))
    })
  }

  get isClosing (): boolean {
    return this.#closed !== null
  }

  /** How many header fields the server's parser keeps, where that is set. */
  get maxHeaderFields (): number | undefined {
    return this.#server.maxHeadersCount || undefined
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
  close (): Promise<unknown> {
    this.#closed ??= Promise.all([this.#refusePending(), ...this.#closeListeners.map(listener => listener())])
    return this.#closed
  }

  async #refusePending (): Promise<void> {
    const pending = [...this.#pending]
    for (const upgrade of pending) upgrade.refuse(serverClosing())
    const drop = setTimeout(() => {
      for (const upgrade of pending) upgrade.destroy()
    }, this.#settings.shutdownTimeout)
    await Promise.all(pending.map(({ over }) => over))
    clearTimeout(drop)
  }

  #onUpgrade (upgrade: PendingUpgrade): void {
    const earlier = lastResponses.get(upgrade.request.socket)
    if (earlier !== undefined && !earlier.closed && !earlier.destroyed) {
      earlier.once('close', () => { this.#onUpgrade(upgrade) })
      return
    }
    const { request, response } = upgrade
    const { headers } = request
    if (headers.upgrade !== undefined && !isWebSocketUpgrade(headers)) {
      this.#decline(upgrade)
      return
    }
    if (!upgrade.start(this.#settings.handshakeTimeout)) return
    this.#pending.add(upgrade)
    void upgrade.over.then(() => { this.#pending.delete(upgrade) })
    this.#upgrades.set(request, upgrade)
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
