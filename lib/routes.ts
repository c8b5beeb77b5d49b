// WebSocket routes: what onRoute makes of them, and the way from a request in Fastify's hands to an open connection.
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { WebSocketErrorHandler, WebSocketRouteOptions } from '../types/options.ts'
import type { MessageData } from '../types/connection.ts'
import type { WebSocketHandler } from '../types/fastify.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import { NORMAL_CLOSURE } from './close-code.ts'
import { ConnectionClosedError, HandshakeError, serverClosing, tooManyConnections } from './errors.ts'
import type { UpgradeHub } from './hub.ts'
import { chooseProtocol, readOpeningHandshake, responseHeaders } from './opening-handshake.ts'
import { routeSettings, type PluginSettings, type RouteSettings } from './options.ts'
import { isThenable } from './thenable.ts'
import { Seats, type WebSocketServer } from './websocket-server.ts'

/** One registration of the plugin: what its routes share. */
export interface Scope {
  readonly hub: UpgradeHub
  readonly server: WebSocketServer
  readonly settings: PluginSettings
}

// In a route's config: it takes WebSocket handshakes.
const WEBSOCKET_ROUTE = Symbol('fastify-websocket-stream.route')
// By the options of a route as onRoute sees them, what became of it. The hooks of an outer scope see it before those of an inner.
const routes = new WeakMap<RouteOptions, WebSocketRoute>()

export function isWebSocketRoute (request: FastifyRequest): boolean {
  return WEBSOCKET_ROUTE in request.routeOptions.config
}

/**
 * The onRoute hook: turns a route with `websocket` or `wsHandler` into one that serves both HTTP and WebSocket, as an
 * ordinary Fastify handler behind all its hooks. When scopes are nested, the innermost sets the options.
 */
export function declareRoute (scope: Scope, route: RouteOptions): void {
  const declared = routes.get(route)
  if (declared !== undefined) {
    declared.adopt(scope)
    return
  }
  const { websocket, wsHandler } = route
  if (wsHandler !== undefined && typeof wsHandler !== 'function') throw new TypeError('invalid wsHandler function')
  if (websocket !== undefined && typeof websocket !== 'boolean' && !isPlainObject(websocket)) {
    throw new TypeError('the route option websocket must be true, false or an object of options')
  }
  if (!websocket && wsHandler === undefined) return
  const isHead = route.method === 'HEAD' // Fastify's own twin of a GET route
  if (route.method !== 'GET' && !isHead) throw new Error('websocket handler can only be declared in GET method')
  const handler = (wsHandler ?? route.handler) as WebSocketHandler
  if (wsHandler === undefined) route.handler = (_request, reply) => { reply.callNotFound() }
  if (isHead) return
  const options = typeof websocket === 'object' ? websocket : {}
  const webSocketRoute = new WebSocketRoute(handler, route.handler, options, scope)
  route.handler = function (request, reply) { return webSocketRoute.handle(this, request, reply) }
  route.config = { ...route.config, [WEBSOCKET_ROUTE]: true } as NonNullable<RouteOptions['config']>
  routes.set(route, webSocketRoute)
  scope.hub.addPath(route.url)
}

class WebSocketRoute {
  readonly #handler: WebSocketHandler
  readonly #httpHandler: RouteOptions['handler']
  readonly #options: WebSocketRouteOptions
  #scope: Scope
  #settings: RouteSettings
  // its own when the route sets its own limit
  readonly #seats: Seats | null

  constructor (handler: WebSocketHandler, httpHandler: RouteOptions['handler'], options: WebSocketRouteOptions, scope: Scope) {
    this.#handler = handler
    this.#httpHandler = httpHandler
    this.#options = options
    this.#seats = options.maxConnections === undefined ? null : new Seats()
    this.#scope = scope
    this.#settings = routeSettings(scope.settings, options)
  }

  adopt (scope: Scope): void {
    this.#scope = scope
    this.#settings = routeSettings(scope.settings, this.#options)
  }

  /** @throws HandshakeError for a handshake that is not right, which Fastify's error handling turns into the response */
  handle (instance: FastifyInstance, request: FastifyRequest, reply: FastifyReply): unknown {
    const { hub, server } = this.#scope
    const upgrade = hub.upgradeOf(request.raw)
    if (upgrade === undefined) return this.#httpHandler.call(instance, request, reply)
    if (upgrade.isOver) {
      reply.hijack() // nobody is there to answer
      return
    }
    const seats = this.#seats ?? server.seats
    const { key, protocol } = this.#agree(request, reply, seats)
    const leave = seats.take()
    const owner = new RequestOwner(server, this.#settings.errorHandler, instance, request, reply, leave)
    const connection = new Connection({ ...this.#settings, role: 'server', protocol }, owner)
    upgrade.accept(responseHeaders(key, protocol), (transport, head) => {
      connection.open(transport, head)
      this.#serve(instance, connection, request)
    })
    void upgrade.over.then(() => { if (connection.readyState === connection.CONNECTING) leave() })
    // All hooks run for it, onSend and onResponse included; they may add header fields or still refuse.
    reply.code(101).send()
  }

  #agree (request: FastifyRequest, reply: FastifyReply, seats: Seats): { key: string, protocol: string } {
    const { hub } = this.#scope
    try {
      if (hub.isClosing) throw serverClosing()
      const { key, protocols } = readOpeningHandshake(request.raw, hub.maxHeaderFields)
      const { maxConnections } = this.#settings
      if (seats.taken >= maxConnections) throw tooManyConnections(maxConnections)
      return { key, protocol: chooseProtocol(protocols, request.raw, this.#settings) }
    } catch (error) {
      // a custom error handler shapes the body; what the RFC demands of the head stays
      if (error instanceof HandshakeError) reply.headers(error.headers)
      throw error
    }
  }

  #serve (instance: FastifyInstance, connection: Connection, request: FastifyRequest): void {
    const settled = (): void => { connection.handlerSettled() }
    const failed = (error: unknown): void => {
      // a peer that left is no failure of the handler that it left
      if (isDisconnect(error, connection)) request.log.debug({ err: error }, 'a WebSocket handler ended with its connection')
      else connection.handlerFailed(error)
      settled()
    }
    try {
      this.#scope.server.add(connection, request.raw)
      const result = this.#handler.call(instance, connection, request)
      if (isAsyncGenerator(result)) sendAll(result, connection).then(settled, failed)
      else if (isThenable(result)) result.then(settled, failed)
      else settled()
    } catch (error) {
      failed(error)
    }
  }
}

function isAsyncGenerator (value: unknown): value is AsyncGenerator<MessageData> {
  return Object.prototype.toString.call(value) === '[object AsyncGenerator]'
}

/** Sends what a generator handler yields, each when there is room for it. Its return closes, a close returns it. */
async function sendAll (generator: AsyncGenerator<MessageData>, connection: Connection): Promise<void> {
  let returned: Promise<IteratorResult<MessageData>> | null = null
  // once; what its finally block then rejects with reaches the loop
  const giveBack = (): Promise<IteratorResult<MessageData>> => (returned ??= generator.return(undefined))
  // also while it awaits something else, which connection.signal can end
  void connection.closed.then(giveBack).catch(() => {})
  try {
    for (let result = await generator.next(); result.done !== true; result = await generator.next()) {
      if (!connection.send(result.value)) await connection.drained()
      if (connection.readyState !== connection.OPEN) await giveBack()
    }
  } catch (error) {
    void giveBack().catch(() => {}) // whatever it does then must not hold this up
    throw error
  }
  connection.close(NORMAL_CLOSURE)
}

/** Whether an error only says that this connection has ended: of a loop over its messages, or of an await that its signal aborted. */
function isDisconnect (error: unknown, connection: Connection): boolean {
  if (connection.readyState === connection.OPEN) return false
  return error instanceof ConnectionClosedError || (error instanceof Error && error.name === 'AbortError')
}

/** Answers for a connection with the request that it came from. */
class RequestOwner implements ConnectionOwner {
  readonly #server: WebSocketServer
  readonly #errorHandler: WebSocketErrorHandler | undefined
  readonly #instance: FastifyInstance
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #leave: () => void

  constructor (
    server: WebSocketServer, errorHandler: WebSocketErrorHandler | undefined, instance: FastifyInstance, request: FastifyRequest,
    reply: FastifyReply, leave: () => void
  ) {
    this.#leave = leave
    this.#server = server
    this.#errorHandler = errorHandler
    this.#instance = instance
    this.#request = request
    this.#reply = reply
  }

  onClose (connection: Connection): void {
    this.#leave()
    this.#server.remove(connection)
  }

  onError (error: unknown, connection: Connection): void {
    if (this.#errorHandler === undefined) {
      this.#giveUp(error, connection)
      return
    }
    const failed = (thrown: unknown): void => { this.#giveUp(thrown, connection) }
    try {
      const result = this.#errorHandler.call(this.#instance, error, connection, this.#request, this.#reply)
      if (isThenable(result)) result.then(undefined, failed)
    } catch (thrown) {
      failed(thrown)
    }
  }

  #giveUp (error: unknown, connection: Connection): void {
    try {
      this.#request.log.error({ err: error }, 'a WebSocket handler or listener failed')
    } catch {
      // anything can be thrown, even what no logger can print
    }
    connection.closeFailed()
  }
}

function isPlainObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
