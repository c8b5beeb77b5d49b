// The onRoute hook: sets up WebSocket routes, and makes other routes reject handshakes.
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler, RouteOptions } from 'fastify'
import type { WebSocketHandler } from '../../types/fastify.ts'
import { notWebSocket } from '../errors.ts'
import { findLostUpgrade } from '../protocol/server-handshake.ts'
import { WebSocketRoute, type Scope } from './websocket-route.ts'

// Set in a route's config once a hook has seen it: its WebSocketRoute, or null if it takes no handshakes. The hooks of an outer scope
// run before those of an inner one, which may belong to another copy of this package.
const WEBSOCKET_ROUTE = Symbol.for('fastify-websocket-stream.route')
// set in a route's schema if `hide` was added by us, not by the user
const HIDDEN = Symbol.for('fastify-websocket-stream.hidden')
type Config = { readonly [WEBSOCKET_ROUTE]?: WebSocketRoute | null } | undefined

/** Whether a route asks for WebSocket. */
export function speaksWebSocket ({ websocket, wsHandler }: RouteOptions): boolean {
  return Boolean(websocket) || (wsHandler ?? undefined) !== undefined
}

/** Whether declareRoute() has made it a WebSocket route. */
export function isWebSocketRoute ({ config }: RouteOptions): boolean {
  return Boolean((config as Config)?.[WEBSOCKET_ROUTE])
}

/** Whether the user has hidden the route from documentation. */
export function isHidden ({ schema }: RouteOptions): boolean {
  const { hide, [HIDDEN]: isOurs } = (schema ?? {}) as { hide?: unknown, [HIDDEN]?: true }
  return Boolean(hide) && isOurs !== true
}

/** Whether declareRoute() has seen the route of a request. */
export function isDeclared ({ routeOptions: { config } }: FastifyRequest): boolean {
  return (config as Config)?.[WEBSOCKET_ROUTE] !== undefined
}

/**
 * Turns a route with `websocket` or `wsHandler` into one that serves both HTTP and WebSocket, as an ordinary Fastify handler
 * that runs after all hooks. With nested scopes, the innermost sets the options.
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
  const isHead = methods.every(method => method === 'HEAD') // added by Fastify for a GET route
  if (methods.some(method => method !== 'GET' && method !== 'HEAD')) throw new Error('websocket handler can only be declared in GET method')
  const handler = (wsHandler ?? route.handler) as WebSocketHandler
  if (wsHandler === undefined) route.handler = answerWithoutWebSocket
  // hidden from HTTP API documentation; copied, as other routes may share the user's schema object
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
  // Fastify also registers the prefix with a trailing slash (prefixTrailingSlash)
  if (route.url === route.prefix) scope.router.addPath(`${route.url}/`)
}

/** Rejects message schemas on a route without `websocket`, which was probably forgotten; `websocket: false` allows them. */
function checkSchema ({ schema, url }: RouteOptions): void {
  for (const direction of ['receive', 'send'] as const) if (schema?.[direction] !== undefined) throw notWebSocket(direction, url)
}

/** Answers an HTTP request to a WebSocket-only route: with a 404, unless it is a handshake that lost its Upgrade on the way. */
function answerWithoutWebSocket (request: FastifyRequest, reply: FastifyReply): void {
  const error = findLostUpgrade(request.raw)
  if (error === null) reply.callNotFound()
  else reply.headers(error.headers).send(error)
}

/** Answers a handshake on an HTTP-only route with a 404, after the onRequest hooks of the app. */
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
