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
  /** Milliseconds that refused clients have to leave while the server closes. */
  readonly shutdownTimeout: number
}

type Marked = Record<symbol, PendingHandshake | undefined>
type Router = (request: IncomingMessage, response: ServerResponse) => void
// in Node from 22.23, 24.22 and 26.12 on; before, any Upgrade field makes an upgrade if there is an 'upgrade' listener
type Upgradable = Server & { shouldUpgradeCallback?: (request: IncomingMessage) => boolean }

const OPEN = 1
// Shared by all copies of this package in the process: a server has one owner of its upgrades.
const HUB = Symbol.for('fastify-websocket-stream.router')

/**
 * Takes all opening handshakes of one HTTP server to the app's router, for all plugin scopes. If there are other listeners of
 * 'upgrade' (HTTP/2: 'connect'), such as socket.io, a proxy or a development server, it takes only handshakes that match a
 * WebSocket route and that no other listener has answered during the event.
 */
export class HandshakeRouter implements Crowd {
  readonly #server: Server
  readonly #app: object
  readonly #route: Router
  readonly #settings: RouterSettings
  readonly #paths: RoutePaths
  // handshakes that other listeners may take: each function checks whether one has
  readonly #undecided = new Set<() => void>()
  // The property of a request that holds its handshake. In a WeakMap, V8 would keep each request through minor garbage collections
  // and move it, with all it refers to, to the old generation.
  readonly #handshake = Symbol('handshake')
  // pipelined behind requests that are not answered yet
  readonly #waiting = new Set<Http1Handshake>()
  readonly #pending = new Set<PendingHandshake>()
  readonly #http2: Http2Sessions | null
  readonly #leave: ReadonlyArray<() => void>
  readonly #closeListeners: Array<() => Promise<void>> = []
  /** One for each registration. */
  readonly servers: WebSocketServer[] = []
  readonly observers: ServerObserver[] = []
  /** Wraps the creation of a connection and the call of its handler, to set their async context. */
  enter: <Result>(callback: () => Result) => Result = callback => callback()
  #draining: Draining | null = null
  #hasBegunClosing = false
  #closed: Promise<void> | null = null // set when closing begins

  /**
   * The router of `server`, created with the settings of the first caller.
   * @param app an object that all scopes of one app share
   * @throws Error if another app handles the upgrades of the server
   */
  static of (server: Server, app: object, route: Router, settings: RouterSettings, paths: RoutePaths): HandshakeRouter {
    const owner = server as Server & { [HUB]?: HandshakeRouter }
    owner[HUB] ??= new HandshakeRouter(server, app, route, settings, paths)
    if (owner[HUB].#app !== app) throw new Error('the WebSocket handshakes of this server belong to another Fastify app')
    return owner[HUB]
  }

  /** The router of a server, if it has one. */
  static at (server: object): HandshakeRouter | undefined {
    return (server as { readonly [HUB]?: HandshakeRouter })[HUB]
  }

  private constructor (server: Server, app: object, route: Router, settings: RouterSettings, paths: RoutePaths) {
    this.#server = server
    this.#app = app
    this.#route = route
    this.#settings = settings
    this.#paths = paths
    // first, so that our handshakes are marked before another listener sees them
    server.prependListener('upgrade', this.#onUpgrade)
    this.#http2 = Http2Sessions.of(server, this.#onConnect)
    this.#leave = [watchRequests(), this.#selectUpgrades(server)]
  }

  /** The server that handshakes come in on. */
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

  /** Adds a registration, whose connections drain() will close. */
  add (server: WebSocketServer): void {
    this.servers.push(server)
  }

  connections (): ConnectionCore[] {
    return this.servers.flatMap(({ clients }) => Array.from(clients, coreOf))
  }

  /** How many header fields the server's parser keeps, if set. */
  get maxHeaderFields (): number | undefined {
    return this.#server.maxHeadersCount || undefined
  }

  /** Adds a route's path: its handshakes are taken even if there are other 'upgrade' listeners. */
  addPath (path: string): void {
    this.#paths.add(path)
  }

  /** The opening handshake of `request`; undefined for an ordinary request. */
  upgradeOf (request: IncomingMessage): PendingHandshake | undefined {
    return (request as object as Marked)[this.#handshake]
  }

  /** Adds a listener that is called when closing begins; close() waits for it. */
  onClose (listener: () => Promise<void>): void {
    this.#closeListeners.push(listener)
  }

  /** Drains the connections of all scopes while the server goes on. Later calls wait for the first; after close() it waits for that. */
  drain (settings: DrainSettings): Promise<void> {
    if (this.#closed !== null && this.#draining === null) return this.#closed.catch(() => {}) // its caller gets the error
    if (this.#draining === null) {
      this.#draining = new Draining(settings, this)
      this.#draining.begin()
    }
    return this.#draining.done
  }

  onRefusing (): void {
    void this.#refusePending()
  }

  /** A connection is about to send Close: a client that came back on its HTTP/2 session would be refused. */
  onSendingClose (connection: Connection): void {
    if (this.#http2 !== null && this.isClosing) this.#http2.leave(sessionOf(connection._socket))
  }

  /** Refuses pending and further handshakes from now on; close() follows, once the preClose hooks before ours are through. */
  beginClosing (): void {
    if (this.#hasBegunClosing) return
    this.#hasBegunClosing = true
    void this.#refusePending()
  }

  /**
   * Refuses pending and further handshakes, and has all scopes close their connections in parallel. Later calls wait for the
   * first.
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

  /** After close(): detaches from the server, which may go on or get another app. */
  release (): void {
    this.#server.off('upgrade', this.#onUpgrade)
    this.#http2?.release()
    for (const leave of this.#leave) leave()
    delete (this.#server as Server & { [HUB]?: HandshakeRouter })[HUB]
  }

  async #refusePending (): Promise<void> {
    if (this.#hasBegunClosing) for (const decide of this.#undecided) decide() // while only draining, other listeners may still take theirs
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
   * If Node has shouldUpgradeCallback and there is no other 'upgrade' listener, requests to upgrade to anything but WebSocket stay
   * ordinary requests, with their body. @returns undoes this
   */
  #selectUpgrades (server: Upgradable): () => void {
    const { shouldUpgradeCallback: isUpgrade } = server
    if (isUpgrade === undefined) return () => {}
    const isSelected = (request: IncomingMessage): boolean => {
      if (!isUpgrade.call(server, request)) return false // the application's own callback, if any
      return isHandshake(request) || !this.#isAlone || server.listenerCount('upgrade', this.#onUpgrade) === 0
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
    // With pipelining, bytes written may be the answer to an earlier request; another listener would also read.
    const isTaken = hasEarlierRequests(request.socket) ? () => socket.listenerCount('data') > 0 : isWritten
    // In a later tick: another listener may assign a response to the socket without checking for one, which would throw.
    process.nextTick(() => {
      if (isTaken()) upgrade.leave()
      else this.#take(upgrade)
    })
  }

  /** Nobody else listens for upgrades. */
  get #isAlone (): boolean {
    return this.#server.listenerCount('upgrade') === 1
  }

  #isOurs ({ headers, url }: IncomingMessage): boolean {
    if (this.#isAlone) return true
    return isWebSocketUpgrade(headers) ? this.#paths.has(url!) : listHasToken(headers.upgrade, 'h2c')
  }

  readonly #onConnect = (server: Http2Server, request: Http2ServerRequest, response: Http2ServerResponse | Socket): void => {
    const isAlone = server.listenerCount('connect') === 1
    if (!('stream' in response)) { // HTTP/1.1: without listeners Node would drop the socket
      if (isAlone) response.destroy()
      return
    }
    const isOurs = isWebSocketConnect(request)
    const take = (): void => {
      if (response.headersSent) return // by another 'connect' or 'stream' listener
      if (isOurs) this.#run(this.#mark(new Http2Handshake(request, response)))
      else declineConnect(request, response)
    }
    if (isAlone || (isOurs && this.#paths.has(request.url))) {
      request.on('error', () => {}) // there is no other listener yet
      process.nextTick(take)
    } else if (isOurs) {
      this.#leaveToOthers(request.stream, () => response.headersSent, take)
    }
  }

  /** Another listener takes a handshake by listening to its stream or writing to it. If none does within handshakeTimeout, we answer it. */
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

  /** Creates the handshake, which handles errors of `socket` from now on. */
  #guard (request: IncomingMessage, socket: Socket, head: Buffer): Http1Handshake {
    const upgrade = new Http1Handshake(request, socket, head)
    return isHandshake(request) ? this.#mark(upgrade) : upgrade
  }

  #mark<Handshake extends PendingHandshake> (handshake: Handshake): Handshake {
    (handshake.request as object as Marked)[this.#handshake] = handshake
    return handshake
  }

  #take (upgrade: Http1Handshake): void {
    const { request } = upgrade
    if (!hasEarlierRequests(request.socket)) {
      this.#begin(upgrade)
      return
    }
    this.#waiting.add(upgrade)
    afterEarlierAnswers(request.socket, () => {
      this.#waiting.delete(upgrade)
      this.#begin(upgrade)
    })
  }

  #begin (upgrade: Http1Handshake): void {
    if (this.upgradeOf(upgrade.request) !== undefined) this.#run(upgrade)
    else this.#decline(upgrade)
  }

  #run (handshake: PendingHandshake): void {
    if (!handshake.start()) return
    handshake.limit(this.#settings.handshakeTimeout)
    handshake.join(this.#pending)
    handshake.refusalListener = this.servers[0]! // until its scope is known
    try {
      if (this.isClosing) this.#refuse(handshake)
      else this.#route(handshake.request, handshake.response)
    } finally { // functions of the app, such as rewriteUrl, may throw
      handshake.wait()
    }
  }

  /** Refuses before any hook runs: a closing Fastify has its own answer, which tells neither the reason nor when to retry. */
  #refuse (handshake: PendingHandshake): void {
    handshake.refuse(serverClosing())
    this.#http2?.leave(sessionOf(handshake.stream))
  }

  /** RFC 9110 §7.8: a server may ignore an Upgrade field. Java's client and `curl --http2` send h2c with every first request. */
  #decline (upgrade: Http1Handshake): void {
    const { request, response } = upgrade
    const limit = this.maxHeaderFields ?? MAX_HEADER_FIELDS
    const { hasBodyApart } = upgrade
    if (!hasBodyApart && hasAllFields(request, limit)) {
      upgrade.giveBack(this.#server)
      return
    }
    if (!upgrade.start()) return
    try {
      if (hasBodyApart) {
        if (request.headers.expect?.toLowerCase() === '100-continue') response.writeContinue() // as Node does for ordinary requests
        this.#route(request, response)
      } else {
        upgrade.refuse(tooManyHeaderFields(limit))
      }
    } finally {
      upgrade.wait()
    }
  }
}

/** If the Upgrade field is missing, the parser has dropped it with others; the route refuses that. */
function isHandshake ({ headers }: IncomingMessage): boolean {
  return headers.upgrade === undefined || isWebSocketUpgrade(headers)
}

/** The HTTP/2 session; undefined for HTTP/1.1, or when the session is gone. */
function sessionOf (stream: Duplex | null): ServerHttp2Session | undefined {
  return (stream as Partial<ServerHttp2Stream> | null)?.session as ServerHttp2Session | undefined
}

/** Waits until all have settled, then rejects with the first rejection, if any. */
async function allSettled (promises: ReadonlyArray<Promise<unknown>>): Promise<void> {
  const results = await Promise.allSettled(promises)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

function listenersOf (stream: Duplex): unknown[] {
  return stream.eventNames().flatMap(event => stream.rawListeners(event))
}
