import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { WebSocketPluginOptions, WebSocketPreClose } from '../../types/options.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { declaredTooEarly } from '../errors.ts'
import { HandshakeRouter } from './handshake-router.ts'
import { injectWS } from './inject.ts'
import { pluginSettings } from '../options/settings.ts'
import { readAlias } from '../options/ws-alias.ts'
import { RoutePaths } from './route-paths.ts'
import { declareRoute, isDeclared } from './declare-route.ts'
import { hasPlugin, knowsRoutes } from './early-routes.ts'
import { MessageSchemas } from './message-schemas.ts'
import { isThenable } from '../promises.ts'
import { requestLogging } from './request-logging.ts'
import { ScopeTopics } from './scope-topics.ts'
import type { Scope } from './websocket-route.ts'
import { WebSocketServer } from './websocket-server.ts'

// async, so that invalid options reject the registration
const plugin: FastifyPluginAsync<WebSocketPluginOptions> = async (fastify, options) => {
  if (Object.hasOwn(fastify, 'websocketServer')) throw new Error('fastify-websocket-stream is registered twice in one scope')

  hasPlugin(fastify)
  const settings = pluginSettings(options)
  const alias = options.options === undefined ? null : readAlias(options.options)
  for (const warning of alias?.warnings ?? []) fastify.log.warn(warning)
  const { routerOptions = {}, ...serverOptions } = fastify.initialConfig
  const paths = new RoutePaths(serverOptions, routerOptions)
  const router = HandshakeRouter.of(alias?.server ?? fastify.server, fastify.initialConfig, fastify.routing.bind(fastify), settings, paths)
  const around = fastify.websocketServer as WebSocketServer | undefined
  const topics = new ScopeTopics(options.topics, around?.scopeTopics ?? null, fastify.log)
  const server = new WebSocketServer(settings, router, topics)
  router.add(server)
  const hasLogLevel = (options.closeLogLevel ?? alias?.options.closeLogLevel) !== undefined
  const schemas = new MessageSchemas()
  const scope: Scope = { router, server, schemas, isLogDisabled: hasLogLevel ? null : requestLogging(fastify) }
  router.onClose(async () => {
    try {
      if (settings.preClose !== undefined) await runPreClose(fastify, settings.preClose, settings.shutdownTimeout)
    } finally {
      await server.shutdown()
    }
  })

  fastify.decorate('websocketServer', server)
  const injected = new Set<WebSocketConnection>()
  fastify.decorate('injectWS', async (...args) => {
    await fastify.ready()
    return injectWS(router.server, connection => {
      injected.add(connection)
      void connection.closed.then(() => injected.delete(connection))
    }, ...args)
  })
  // messages that a test has not read must not delay the close of its app
  router.onClose(async () => { for (const connection of injected) connection.resume() })
  if (!fastify.hasRequestDecorator('ws')) {
    fastify.decorateRequest('ws', { getter () { return router.upgradeOf(this.raw) !== undefined } })
  }

  fastify.addHook('onRoute', function (route) { declareRoute(scope, this, route) })
  fastify.addHook('onReady', async () => { schemas.compile() })

  fastify.addHook('onRequest', (request, reply, next) => {
    const upgrade = router.upgradeOf(request.raw)
    if (upgrade === undefined) {
      next()
      return
    }
    upgrade.refusalListener = server
    upgrade.asker = request
    if (upgrade.response !== reply.raw) {
      // Another 'upgrade' listener has also passed this handshake to the router, with its own response: drop that one.
      reply.raw.detachSocket(request.raw.socket)
      reply.hijack()
    } else if (!request.is404 && !isDeclared(request)) {
      if (knowsRoutes(fastify)) reply.callNotFound() // as on any HTTP-only route
      else reply.send(upgrade.named(declaredTooEarly(request.routeOptions.url)))
    } else {
      upgrade.onRefusal(error => { reply.headers(error.headers).send(error) })
      upgrade.limit(settings.handshakeTimeout)
      next()
    }
  })

  // Fastify adds its own onClose hook, which closes all routes and then calls preClose hooks one after the other, before those of onReady.
  // The last one added is the first to be called, so this one is told before any preClose hook of the app.
  fastify.addHook('onReady', async () => { fastify.addHook('onClose', async () => { router.beginClosing() }) })
  fastify.addHook('preClose', async () => { await router.close() })
  fastify.addHook('onReady', async () => { await topics.start() })
  fastify.addHook('onClose', async () => {
    router.release()
    await topics.close()
  })
  closeWithServer(fastify.server, router)
}

/** If a preClose hook rejects, Fastify skips those after it and closes its server, which would wait for open connections. */
function closeWithServer (server: FastifyInstance['server'], router: HandshakeRouter): void {
  const close = server.close.bind(server)
  server.close = callback => {
    router.close().catch(() => {}) // reported by our preClose hook
    return close(callback)
  }
}

/** Resolves when `preClose` is done or `timeout` (ms) has passed. */
async function runPreClose (instance: FastifyInstance, preClose: WebSocketPreClose, timeout: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<void>(resolve => { timer = setTimeout(resolve, timeout) })
  const done = new Promise<void>((resolve, reject) => {
    const callback = (error?: Error): void => { if (error) reject(error); else resolve() }
    const result: unknown = preClose.call(instance, callback)
    if (preClose.length === 0) resolve(result as Promise<void>)
    else if (isThenable(result)) result.then(undefined, reject)
  })
  await Promise.race([done, tooLong]).finally(() => { clearTimeout(timer) })
}

export const fastifyWebsocket = fp(plugin, { fastify: '^5.0.0 || ^6.0.0', name: 'fastify-websocket-stream' })
