import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { WebSocketPluginOptions } from '../types/options.ts'
import { UpgradeHub } from './hub.ts'
import { pluginSettings } from './options.ts'
import { declareRoute, isWebSocketRoute, type Scope } from './routes.ts'
import { WebSocketServer } from './websocket-server.ts'

// async, so that what is wrong with the options rejects the registration
const plugin: FastifyPluginAsync<WebSocketPluginOptions> = async (fastify, options) => {
  if (Object.hasOwn(fastify, 'websocketServer')) throw new Error('fastify-websocket-stream is registered twice in one scope')

  const settings = pluginSettings(options)
  const hub = UpgradeHub.of(fastify.server, fastify.routing.bind(fastify), settings)
  const scope: Scope = { hub, server: new WebSocketServer(), settings }
  hub.onClose(() => scope.server.shutdown(settings.shutdownTimeout))

  fastify.decorate('websocketServer', scope.server)
  if (!fastify.hasRequestDecorator('ws')) {
    fastify.decorateRequest('ws', { getter () { return hub.upgradeOf(this.raw) !== undefined } })
  }

  fastify.addHook('onRoute', route => { declareRoute(scope, route) })

  // A handshake on a route that only speaks HTTP finds what it would find without that route.
  fastify.addHook('onRequest', (request, reply, next) => {
    if (hub.upgradeOf(request.raw) !== undefined && !request.is404 && !isWebSocketRoute(request)) reply.callNotFound()
    else next()
  })

  fastify.addHook('preClose', async () => { await hub.close() })
}

export const fastifyWebsocket = fp(plugin, { fastify: '5.x', name: 'fastify-websocket-stream' })
