import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { WebSocketPluginOptions } from '../types/options.ts'
import { UpgradeHub } from './hub.ts'
import { pluginSettings } from './options.ts'
import { RoutePaths } from './route-paths.ts'
import { declareRoute, isWebSocketRoute, type Scope } from './routes.ts'
import { WebSocketServer } from './websocket-server.ts'

// async, so that what is wrong with the options rejects the registration
const plugin: FastifyPluginAsync<WebSocketPluginOptions> = async (fastify, options) => {
  if (Object.hasOwn(fastify, 'websocketServer')) throw new Error('fastify-websocket-stream is registered twice in one scope')

  const settings = pluginSettings(options)
  const { routerOptions = {}, ...serverOptions } = fastify.initialConfig
  const hub = UpgradeHub.of(fastify.server, fastify.routing.bind(fastify), settings, new RoutePaths(serverOptions, routerOptions))
  const scope: Scope = { hub, server: new WebSocketServer(), settings }
  hub.onClose(() => scope.server.shutdown(settings.shutdownTimeout))

  fastify.decorate('websocketServer', scope.server)
  if (!fastify.hasRequestDecorator('ws')) {
    fastify.decorateRequest('ws', { getter () { return hub.upgradeOf(this.raw) !== undefined } })
  }

  fastify.addHook('onRoute', route => { declareRoute(scope, route) })

  fastify.addHook('onRequest', (request, reply, next) => {
    const upgrade = hub.upgradeOf(request.raw)
    if (upgrade === undefined) {
      next()
    } else if (upgrade.response !== reply.raw) {
      // Another 'upgrade' listener hands every handshake to the router, with a response of its own: not this one.
      reply.raw.detachSocket(request.raw.socket)
      reply.hijack()
    } else if (!request.is404 && !isWebSocketRoute(request)) {
      reply.callNotFound() // a route that only speaks HTTP: as if there were none
    } else {
      upgrade.onRefusal(error => { reply.headers(error.headers).send(error) })
      upgrade.limit(settings.handshakeTimeout)
      next()
    }
  })

  fastify.addHook('preClose', async () => { await hub.close() })
}

export const fastifyWebsocket = fp(plugin, { fastify: '5.x', name: 'fastify-websocket-stream' })
