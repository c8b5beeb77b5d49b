// Routes that ask for WebSocket where the plugin cannot hear of it: onRoute tells a plugin of no route that was declared before it
// had loaded, or outside of its scope. Fastify then takes their handler for one of HTTP.
import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { isWebSocketRoute, speaksWebSocket } from './declare-route.ts'
import { WebSocketServer } from './websocket-server.ts'

export interface Declaration {
  /** Where it was declared. */
  readonly instance: FastifyInstance
  readonly route: RouteOptions
  /** As it was declared: Fastify changes that of a route at the end of a prefix, which has two. */
  readonly url: string
  /** Its own: other plugins put another in its place. */
  readonly handler: unknown
}

// By their initialConfig, which all scopes of one app have in common: the routes of those whose routes are known from the first on, as this file
// was there before them; those that have the plugin.
const known = new WeakMap<object, readonly Declaration[]>()
const registered = new WeakSet<object>()

/** Tells whether an app that ready() has let pass has no routes but those that speak HTTP alone, beside those that the plugin knows. */
export function knowsRoutes (app: FastifyInstance): boolean {
  return known.has(app.initialConfig)
}

/** All routes of an app that speak WebSocket, in the order of their declaration; undefined where they are not known. */
export function declarationsIn (app: FastifyInstance): Declaration[] | undefined {
  return known.get(app.initialConfig)?.filter(({ instance, route }) => isRoute(instance, route))
}

/** The plugin is somewhere in `app`. */
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
      'the route in a plugin that is registered behind it')
  }
  const outside = unheard.filter(({ instance }) => serverOf(instance) === undefined)
  if (outside.length === 0) return
  const message = `${list(outside)} speaks WebSocket, but fastify-websocket-stream is not registered in `
  if (registered.has(outside[0]!.instance.initialConfig)) throw new Error(`${message}its scope: a registration counts for its own scope and those within`)
  // it may be meant for another plugin, of which we know nothing
  process.emitWarning(`${message}the app: its handler will be called with an HTTP request`, 'WebSocketWarning')
}

/** Not one that an onRoute hook has refused. */
function isRoute (instance: FastifyInstance, { method, url, constraints = {} }: RouteOptions): boolean {
  return [method].flat().some(method => instance.hasRoute({ method, url, constraints }))
}

/** Undefined where no plugin for WebSocket is registered, ours or another's. */
function serverOf (instance: FastifyInstance): unknown {
  return instance.hasDecorator('websocketServer') ? instance.websocketServer : undefined
}

function list (declarations: readonly Declaration[]): string {
  return declarations.map(({ route: { method, url } }) => `the route ${[method].flat().join(', ')} ${url}`).join(', ')
}

// Fastify's own word for every app that is made from now on
subscribe('fastify.initialization', message => { watch((message as { fastify: FastifyInstance }).fastify) })
