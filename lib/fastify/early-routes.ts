// Detects WebSocket routes that the plugin cannot see: its onRoute hook misses routes declared before it has loaded or outside
// its scope, and Fastify then calls their handler for HTTP requests.
import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { isWebSocketRoute, speaksWebSocket } from './declare-route.ts'
import { WebSocketServer } from './websocket-server.ts'

export interface Declaration {
  /** Where it was declared. */
  readonly instance: FastifyInstance
  readonly route: RouteOptions
  /** The URL as declared: Fastify changes that of the route when it registers a prefix with and without a trailing slash. */
  readonly url: string
  /** The handler as declared: another WebSocket plugin would replace it. */
  readonly handler: unknown
}

// Apps by their initialConfig, which all scopes of an app share: those created after this file was loaded, whose routes are all known,
// and those with the plugin registered.
const known = new WeakMap<object, readonly Declaration[]>()
const registered = new WeakSet<object>()

/** Whether all routes of an app were watched: once it is ready, those that the plugin has not seen are HTTP-only. */
export function knowsRoutes (app: FastifyInstance): boolean {
  return known.has(app.initialConfig)
}

/** All WebSocket routes of an app, in order of declaration; undefined if they were not watched. */
export function declarationsIn (app: FastifyInstance): Declaration[] | undefined {
  return known.get(app.initialConfig)?.filter(({ instance, route }) => isRoute(instance, route))
}

/** Records that the plugin is registered somewhere in `app`. */
export function hasPlugin (app: FastifyInstance): void {
  registered.add(app.initialConfig)
}

function watch (app: FastifyInstance): void {
  const declarations: Declaration[] = []
  known.set(app.initialConfig, declarations)
  app.addHook('onRoute', function (route) {
    if (!speaksWebSocket(route) || route.method === 'HEAD') return
    if (declarations.length === 0) app.addHook('onReady', async () => { check(declarations) })
    declarations.push({ instance: this, route, url: route.url, handler: route.handler })
  })
}

function check (declarations: Declaration[]): void {
  const unheard = declarations.filter(({ instance, route, handler }) => {
    const isTaken = isWebSocketRoute(route) || route.handler !== handler // by the plugin, or another
    return !isTaken && isRoute(instance, route)
  })
  const early = unheard.filter(({ instance }) => serverOf(instance) instanceof WebSocketServer)
  if (early.length > 0) {
    throw new Error(`${list(early)} speaks WebSocket, but was declared before fastify-websocket-stream had loaded: await its registration first, or declare ` +
      'the route in a plugin that is registered after it')
  }
  const outside = unheard.filter(({ instance }) => serverOf(instance) === undefined)
  if (outside.length === 0) return
  const message = `${list(outside)} speaks WebSocket, but fastify-websocket-stream is not registered in `
  if (registered.has(outside[0]!.instance.initialConfig)) throw new Error(`${message}its scope: a registration applies to its own scope and those within`)
  // only a warning: the route may be meant for a plugin that we do not know
  process.emitWarning(`${message}the app: its handler will be called with an HTTP request`, 'WebSocketWarning')
}

/** Whether the route exists: an onRoute hook may have rejected it. */
function isRoute (instance: FastifyInstance, { method, url, constraints = {} }: RouteOptions): boolean {
  return [method].flat().some(method => instance.hasRoute({ method, url, constraints }))
}

/** Undefined if no WebSocket plugin, ours or another, is registered in that scope. */
function serverOf (instance: FastifyInstance): unknown {
  return instance.hasDecorator('websocketServer') ? instance.websocketServer : undefined
}

function list (declarations: readonly Declaration[]): string {
  return declarations.map(({ route: { method, url } }) => `the route ${[method].flat().join(', ')} ${url}`).join(', ')
}

// Fastify publishes here each app created from now on
subscribe('fastify.initialization', message => { watch((message as { fastify: FastifyInstance }).fastify) })
