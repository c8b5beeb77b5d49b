// What onRoute makes of a route that speaks WebSocket, and of one that does not.
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler, RouteOptions } from 'fastify'
import type { WebSocketHandler } from '../../types/fastify.ts'
import { notWebSocket } from '../errors.ts'
import { findLostUpgrade } from '../protocol/server-handshake.ts'
import { WebSocketRoute, type Scope } from './websocket-route.ts'

// In a route's config, what became of it: it takes WebSocket handshakes, or (null) none. The hooks of an outer scope see it before
// those of an inner, which may belong to another copy of this package.
const WEBSOCKET_ROUTE = Symbol.for('fastify-websocket-stream.route')
// In a route's schema: its `hide` is ours, not the user's.
const HIDDEN = Symbol.for('fastify-websocket-stream.hidden')
type Config = { readonly [WEBSOCKET_ROUTE]?: WebSocketRoute | null } | undefined

/** Tells whether a route asks for WebSocket. */
export function speaksWebSocket ({ websocket, wsHandler }: RouteOptions): boolean {
  return Boolean(websocket) || (wsHandler ?? undefined) !== undefined
}

/** Tells whether declareRoute() has made of it what takes handshakes. */
export function isWebSocketRoute ({ config }: RouteOptions): boolean {
  return Boolean((config as Config)?.[WEBSOCKET_ROUTE])
}

/** Tells whether the one who declared it wants no documentation of it. */
export function isHidden ({ schema }: RouteOptions): boolean {
  const { hide, [HIDDEN]: isOurs } = (schema ?? {}) as { hide?: unknown, [HIDDEN]?: true }
  return Boolean(hide) && isOurs !== true
}

/** Tells whether declareRoute() has seen the route of a request. */
export function isDeclared ({ routeOptions: { config } }: FastifyRequest): boolean {
  return (config as Config)?.[WEBSOCKET_ROUTE] !== undefined
}

/**
 * The onRoute hook: turns a route with `websocket` or `wsHandler` into one that serves both HTTP and WebSocket, as an
 * ordinary Fastify handler behind all its hooks. When scopes are nested, the innermost sets the options.
 * @param instance where the route is declared
 */
export function declareRoute (scope: Scope, instance: FastifyInstance, route: RouteOptions & { prefix?: string }): void {
  const declared = (route.config as Config)?.[WEBSOCKET_ROUTE]
  if (declared !== undefined) {
    declared?.adopt(scope)
    return
  }
  const websocket = route.websocket ?? undefined
  const wsHandler = route.wsHandler ?? undefined
  if (wsHandler !== undefined && typeof wsHandler !== 'function') throw new TypeError('invalid wsHandler function')
  if (websocket !== undefined && typeof websocket !== 'boolean' && !isPlainObject(websocket)) {
    throw new TypeError('the route option websocket must be true, false or an object of options')
  }
  if (!speaksWebSocket(route)) {
    if (websocket === undefined) checkSchema(route)
    declareHttpRoute(scope, route)
    return
  }
  const methods = [route.method].flat()
  const isHead = methods.every(method => method === 'HEAD') // Fastify's own twin of a GET route
  if (methods.some(method => method !== 'GET' && method !== 'HEAD')) throw new Error('websocket handler can only be declared in GET method')
  const handler = (wsHandler ?? route.handler) as WebSocketHandler
  if (wsHandler === undefined) route.handler = answerWithoutWebSocket
  // not for the documentation of an HTTP API; the schema is the user's own object, which other routes may share
  if (wsHandler === undefined && !isHidden(route)) route.schema = { hide: true, [HIDDEN]: true, ...route.schema } as NonNullable<RouteOptions['schema']>
  if (isHead) {
    declareHttpRoute(scope, route)
    return
  }
  const options = typeof websocket === 'object' ? websocket : {}
  const webSocketRoute = new WebSocketRoute(route.url, handler, route.handler, options, scope)
  route.handler = function (request, reply) { return webSocketRoute.handle(this, request, reply) }
  scope.schemas.add(instance, route, codec => { webSocketRoute.setCodec(codec) })
  mark(route, webSocketRoute)
  scope.router.addPath(route.url)
  // Fastify also takes the slash behind a prefix (prefixTrailingSlash)
  if (route.url === route.prefix) scope.router.addPath(`${route.url}/`)
}

/** Where nobody says that it is no WebSocket route, somebody may have forgotten to say that it is one. */
function checkSchema ({ schema, url }: RouteOptions): void {
  for (const direction of ['receive', 'send'] as const) if (schema?.[direction] !== undefined) throw notWebSocket(direction, url)
}

/** What an HTTP request gets that came to a route which speaks WebSocket alone: as if it were not there, unless it is a handshake that went amiss. */
function answerWithoutWebSocket (request: FastifyRequest, reply: FastifyReply): void {
  const error = findLostUpgrade(request.raw)
  if (error === null) reply.callNotFound()
  else reply.headers(error.headers).send(error)
}

/** A handshake on a route that only speaks HTTP finds what it would find without that route, once the hooks of the app have run. */
function declareHttpRoute ({ router }: Scope, route: RouteOptions): void {
  const refuseHandshake: onRequestHookHandler = (request, reply, next) => {
    if (router.upgradeOf(request.raw) === undefined) next()
    else reply.callNotFound()
  }
  route.onRequest = [...[route.onRequest ?? []].flat(), refuseHandshake] as onRequestHookHandler[]
  mark(route, null)
}

function mark (route: RouteOptions, as: WebSocketRoute | null): void {
  route.config = { ...route.config, [WEBSOCKET_ROUTE]: as } as NonNullable<RouteOptions['config']>
}

function isPlainObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
