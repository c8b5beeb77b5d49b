import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Http2Server, Http2ServerRequest, Http2ServerResponse, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Connection, coreOf } from '../connection/connection.ts'
import type { ConnectionCore } from '../connection/core.ts'
import { serverClosing, tooManyHeaderFields } from '../errors.ts'
import { declineConnect, isWebSocketConnect, Http2Handshake } from '../handshake/http2-handshake.ts'
import { listHasToken } from '../protocol/header-field.ts'
import type { DrainSettings } from '../options/drain-settings.ts'
import { Draining, type Crowd } from './draining.ts'
import { Http2Sessions } from './http2-sessions.ts'
import type { ServerObserver } from './observer.ts'
import { hasAllFields, isWebSocketUpgrade, MAX_HEADER_FIELDS } from '../protocol/server-handshake.ts'
import type { PendingHandshake } from '../handshake/pending-handshake.ts'
import { afterEarlierAnswers, hasEarlierRequests, watchRequests } from '../handshake/pipelining.ts'
import type { RoutePaths } from './route-paths.ts'
import { Http1Handshake } from '../handshake/http1-handshake.ts'
import type { WebSocketServer } from './websocket-server.ts'

export interface RouterSettings {
  /** Milliseconds that an opening handshake may take. */
  readonly handshakeTimeout: number
  /** Milliseconds that refused clients may take while the server closes. */
  readonly shutdownTimeout: number
}

type Marked = Record<symbol, PendingHandshake | undefined>
type Router = (request: IncomingMessage, response: ServerResponse) => void
// of Node's servers from 22.23, 24.22 and 26.12 on; before, every Upgrade field is an upgrade where somebody listens
type Upgradable = Server & { shouldUpgradeCallback?: (request: IncomingMessage) => boolean }

// Shared by every copy of this package in the process: a server has one owner of its upgrades.
const OPEN = 1
const HUB = Symbol.for('fastify-websocket-stream.router')

/**
 * All opening handshakes of one HTTP server on their way to its router, whatever number of plugin scopes there are. Where
 * others listen to 'upgrade' (HTTP/2: 'connect') too (socket.io, a proxy, a development server) it takes those that a WebSocket
 * route matches, but none that another has answered in the turn of the event.
 */
export class HandshakeRouter implements Crowd {
  readonly #server: Server
  readonly #app: object
  readonly #route: Router
  readonly #settings: RouterSettings
  readonly #paths: RoutePaths
  // handshakes that others may take: looks whether somebody has
  readonly #undecided = new Set<() => void>()
  // A property of the request, by which its handshake is found. The values of a WeakMap that is old survive every minor collection
  // of garbage (V8): each request would, with all that hangs on it, and be moved to the old generation.
  readonly #handshake = Symbol('handshake')
  // their turn has not come: earlier requests are not answered
  readonly #waiting = new Set<Http1Handshake>()
  readonly #pending = new Set<PendingHandshake>()
  readonly #http2: Http2Sessions | null
  readonly #leave: ReadonlyArray<() => void>
  readonly #closeListeners: Array<() => Promise<void>> = []
  /** One for each registration. */
  readonly servers: WebSocketServer[] = []
  readonly observers: ServerObserver[] = []
  /** Runs what makes a connection and its handler, in the context that is to be theirs. */
  enter: <Result>(callback: () => Result) => Result = callback => callback()
  #draining: Draining | null = null
  #hasBegunClosing = false
  #closed: Promise<void> | null = null // made when closing begins

  /**
   * The router of `server`, made with the settings of whoever asks first.
   * @param app what all scopes of one app have in common
   * @throws Error when another app has the upgrades of the server
   */
  static of (server: Server, app: object, route: Router, settings: RouterSettings, paths: RoutePaths): HandshakeRouter {
    const owner = server as Server & { [HUB]?: HandshakeRouter }
    owner[HUB] ??= new HandshakeRouter(server, app, route, settings, paths)
    if (owner[HUB].#app !== app) throw new Error('the WebSocket handshakes of this server belong to another Fastify app')
    return owner[HUB]
  }

  /** The router that a server has; undefined: none. */
  static at (server: object): HandshakeRouter | undefined {
    return (server as { readonly [HUB]?: HandshakeRouter })[HUB]
  }

  private constructor (server: Server, app: object, route: Router, settings: RouterSettings, paths: RoutePaths) {
    this.#server = server
    this.#app = app
    this.#route = route
    this.#settings = settings
    this.#paths = paths
    // the first, so that what is ours is known before another listener looks at it
    server.prependListener('upgrade', this.#onUpgrade)
    this.#http2 = Http2Sessions.of(server, this.#onConnect)
    this.#leave = [watchRequests(), this.#selectUpgrades(server)]
  }

  /** Where handshakes come in. */
  get server (): Server {
    return this.#server
  }

  /** Handshakes are refused. */
  get isClosing (): boolean {
    return this.#hasBegunClosing || this.#draining?.isRefusing === true
  }

  get state (): 'open' | 'draining' | 'closing' {
    if (this.#hasBegunClosing) return 'closing'
    return this.#draining === null ? 'open' : 'draining'
  }

  get shutdownTimeout (): number {
    return this.#settings.shutdownTimeout
  }

  /** Adds the connections of a registration to those that drain() lets go. */
  add (server: WebSocketServer): void {
    this.servers.push(server)
  }

  connections (): ConnectionCore[] {
    return this.servers.flatMap(({ clients }) => Array.from(clients, coreOf))
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
  upgradeOf (request: IncomingMessage): PendingHandshake | undefined {
    return (request as object as Marked)[this.#handshake]
  }

  /** `listener` is called when closing begins; close() waits for it. */
  onClose (listener: () => Promise<void>): void {
    this.#closeListeners.push(listener)
  }

  /** Lets the connections of all scopes go while the server goes on. Later calls wait for the first, and all of them for close(). */
  drain (settings: DrainSettings): Promise<void> {
    if (this.#closed !== null && this.#draining === null) return this.#closed.catch(() => {}) // which tells somebody else
    if (this.#draining === null) {
      this.#draining = new Draining(settings, this)
      this.#draining.begin()
    }
    return this.#draining.done
  }

  onRefusing (): void {
    void this.#refusePending()
  }

  /** A connection is about to say Close: whoever comes back on its session of HTTP/2 would be refused here. */
  onSendingClose (connection: Connection): void {
    if (this.#http2 !== null && this.isClosing) this.#http2.leave(sessionOf(connection._socket))
  }

  /**
   * Refuses the handshakes that are still in hooks and all that come, and lets every scope say goodbye to its connections,
   * all at the same time. Later calls wait for the first.
   */
  close (): Promise<void> {
    this.#hasBegunClosing = true
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close (): Promise<void> {
    const open = this.connections().filter(({ readyState }) => readyState === OPEN)
    this.#http2?.close(this.#settings.shutdownTimeout, new Set(open.map(({ transport }) => sessionOf(transport!.stream))))
    this.#draining?.hurry()
    await allSettled([this.#refusePending(), ...this.#closeListeners.map(listener => listener())])
  }

  /** After close(): the server may go on, or get another app. */
  release (): void {
    this.#server.off('upgrade', this.#onUpgrade)
    this.#http2?.release()
    for (const leave of this.#leave) leave()
    delete (this.#server as Server & { [HUB]?: HandshakeRouter })[HUB]
  }

  async #refusePending (): Promise<void> {
    if (this.#hasBegunClosing) for (const decide of this.#undecided) decide() // else others may go on taking theirs
    const pending = [...this.#pending]
    for (const upgrade of pending) this.#refuse(upgrade)
    const waiting = [...this.#waiting]
    const drop = setTimeout(() => {
      for (const upgrade of [...pending, ...waiting]) upgrade.destroy()
    }, this.#settings.shutdownTimeout)
    await Promise.all([...pending, ...waiting].map(({ over }) => over))
    clearTimeout(drop)
  }

  /**
   * Where Node asks which requests are upgrades: where nobody else takes any, one that is for no WebSocket stays an ordinary request,
   * with its body. @returns ends that
   */
  #selectUpgrades (server: Upgradable): () => void {
    const { shouldUpgradeCallback: isUpgrade } = server
    if (isUpgrade === undefined) return () => {}
    const isSelected = (request: IncomingMessage): boolean => {
      if (!isUpgrade.call(server, request)) return false // the application's word, where it has one
      const [listener, ...others] = server.listeners('upgrade')
      return listener !== this.#onUpgrade || others.length > 0 || isHandshake(request)
    }
    server.shouldUpgradeCallback = isSelected
    return () => { if (server.shouldUpgradeCallback === isSelected) server.shouldUpgradeCallback = isUpgrade }
  }

  readonly #onUpgrade = (request: IncomingMessage, socket: Socket, head: Buffer): void => {
    const { bytesWritten } = request.socket
    const isWritten = (): boolean => request.socket.bytesWritten > bytesWritten
    if (!this.#isOurs(request)) {
      this.#leaveToOthers(socket, isWritten, () => { this.#take(this.#guard(request, socket, head)) })
      return
    }
    const upgrade = this.#guard(request, socket, head)
    // What the answer to an earlier request writes looks the same as that of another listener, who has to read, though.
    const isTaken = hasEarlierRequests(request.socket) ? () => socket.listenerCount('data') > 0 : isWritten
    // In a later turn: another listener may not look whether a socket has a response before it gives it one, which throws.
    process.nextTick(() => {
      if (isTaken()) upgrade.leave()
      else this.#take(upgrade)
    })
  }

  #isOurs ({ headers, url }: IncomingMessage): boolean {
    if (this.#server.listenerCount('upgrade') === 1) return true
    return isWebSocketUpgrade(headers) ? this.#paths.has(url!) : listHasToken(headers.upgrade, 'h2c')
  }

  readonly #onConnect = (server: Http2Server, request: Http2ServerRequest, response: Http2ServerResponse | Socket): void => {
    const isAlone = server.listenerCount('connect') === 1
    if (!('stream' in response)) { // HTTP/1.1, of which Node's server drops the socket when nobody listens
      if (isAlone) response.destroy()
      return
    }
    const isOurs = isWebSocketConnect(request)
    const take = (): void => {
      if (response.headersSent) return // by a listener of 'connect' or of 'stream'
      if (isOurs) this.#run(this.#mark(new Http2Handshake(request, response)))
      else declineConnect(request, response)
    }
    if (isAlone || (isOurs && this.#paths.has(request.url))) {
      request.on('error', () => {}) // nobody listens yet
      process.nextTick(take)
    } else if (isOurs) {
      this.#leaveToOthers(request.stream, () => response.headersSent, take)
    }
  }

  /** Whoever takes it listens to its stream, or writes to it. What nobody takes in the time for a handshake gets an answer all the same. */
  #leaveToOthers (stream: Duplex, isAnswered: () => boolean, take: () => void): void {
    const decide = (): void => {
      clearTimeout(timer)
      this.#undecided.delete(decide)
      stream.off('close', decide)
      const isTaken = isAnswered() || listenersOf(stream).some(listener => !listeners.has(listener))
      if (!stream.destroyed && !isTaken) take()
    }
    const timer = setTimeout(decide, this.#hasBegunClosing ? 0 : this.#settings.handshakeTimeout)
    this.#undecided.add(decide)
    stream.on('error', () => {}) // a client that resets the connection must not end the process
    stream.on('close', decide)
    const listeners = new Set(listenersOf(stream))
  }

  /** The handshake with `socket`, whose errors end nothing else from now on. */
  #guard (request: IncomingMessage, socket: Socket, head: Buffer): Http1Handshake {
    const upgrade = new Http1Handshake(request, socket, head)
    return isHandshake(request) ? this.#mark(upgrade) : upgrade
  }

  #mark<Handshake extends PendingHandshake> (handshake: Handshake): Handshake {
    (handshake.request as object as Marked)[this.#handshake] = handshake
    return handshake
  }

  #take (upgrade: Http1Handshake): void {
    this.#waiting.add(upgrade)
    afterEarlierAnswers(upgrade.request.socket, () => {
      this.#waiting.delete(upgrade)
      if (isHandshake(upgrade.request)) this.#run(upgrade)
      else this.#decline(upgrade)
    })
  }

  #run (handshake: PendingHandshake): void {
    if (!handshake.start(this.#settings.handshakeTimeout)) return
    this.#pending.add(handshake)
    void handshake.over.then(() => { this.#pending.delete(handshake) })
    handshake.refusalListener = this.servers[0]! // until it is known whose it is
    if (this.isClosing) this.#refuse(handshake)
    else this.#route(handshake.request, handshake.response)
  }

  /** Before any hook: Fastify, once it is closing, has an answer of its own that says neither why nor when to come back. */
  #refuse (handshake: PendingHandshake): void {
    handshake.refuse(serverClosing())
    this.#http2?.leave(sessionOf(handshake.stream))
  }

  /** RFC 9110 §7.8: a server may ignore an Upgrade field. Java's client and `curl --http2` send h2c with every first request. */
  #decline (upgrade: Http1Handshake): void {
    const { request, response } = upgrade
    const limit = this.maxHeaderFields ?? MAX_HEADER_FIELDS
    if (upgrade.hasBodyApart) {
      if (!upgrade.start()) return
      if (request.headers.expect?.toLowerCase() === '100-continue') response.writeContinue() // as Node does for others
      this.#route(request, response)
    } else if (hasAllFields(request, limit)) {
      upgrade.giveBack(this.#server)
    } else if (upgrade.start()) {
      upgrade.refuse(tooManyHeaderFields(limit))
    }
  }
}

/** Without the field the parser has dropped it, among others: the route refuses that. */
function isHandshake ({ headers }: IncomingMessage): boolean {
  return headers.upgrade === undefined || isWebSocketUpgrade(headers)
}

/** Of HTTP/2; undefined for a stream of HTTP/1.1, or when it is gone. */
function sessionOf (stream: Duplex | null): ServerHttp2Session | undefined {
  return (stream as Partial<ServerHttp2Stream> | null)?.session as ServerHttp2Session | undefined
}

/** Resolves when all have resolved, or rejects with the first that rejected when the others have come to their end too. */
async function allSettled (promises: ReadonlyArray<Promise<unknown>>): Promise<void> {
  const results = await Promise.allSettled(promises)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

function listenersOf (stream: Duplex): unknown[] {
  return stream.eventNames().flatMap(event => stream.rawListeners(event))
}
