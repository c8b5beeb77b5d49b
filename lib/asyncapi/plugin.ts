// The document of an app: built when it becomes ready, from the routes in the scope of the plugin.
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { AsyncApiDocument, AsyncApiOptions, GetAsyncApi } from '../../types/asyncapi.ts'
import { documentTooEarly } from '../errors.ts'
import { isHidden, isWebSocketRoute } from '../fastify/declare-route.ts'
import { declarationsIn } from '../fastify/early-routes.ts'
import { buildDocument, type DeclaredRoute } from './document.ts'
import { toYaml } from './yaml.ts'

const OPTIONS = ['document', 'path', 'transform', 'hiddenTag'] as const

const plugin: FastifyPluginAsync<AsyncApiOptions> = async (fastify, options) => {
  checkOptions(options)
  const { path = '/asyncapi', hiddenTag = 'X-HIDDEN' } = options
  let json: string | null = null
  let yaml: string | null = null
  const document = (): AsyncApiDocument => {
    if (json === null) throw documentTooEarly()
    return JSON.parse(json) as AsyncApiDocument
  }
  const inYaml = (): string => {
    yaml ??= toYaml(document())
    return yaml
  }
  const asyncapi = (({ yaml = false } = {}) => yaml ? inYaml() : document()) as GetAsyncApi
  fastify.decorate('asyncapi', asyncapi)

  let heard: DeclaredRoute[] = []
  fastify.addHook('onRoute', function (route) { heard.push({ instance: this, route, url: route.url }) })
  // not earlier: other plugins may still change routes
  fastify.addHook('onReady', async () => {
    const routes = declarationsIn(fastify)?.filter(({ instance }) => instance.asyncapi === asyncapi) ?? heard
    const documented = routes.filter(({ route }) => isWebSocketRoute(route) && !isHidden(route) && !tagsOf(route.schema).includes(hiddenTag))
    json = JSON.stringify(buildDocument(documented, options))
    heard = []
  })

  if (path === false) return
  const schema = { hide: true }
  fastify.get(`${path}.json`, { schema }, (_request, reply) => reply.type('application/json; charset=utf-8').send(json))
  fastify.get(`${path}.yaml`, { schema }, (_request, reply) => reply.type('application/yaml; charset=utf-8').send(inYaml()))
}

function tagsOf (schema: object | undefined): readonly unknown[] {
  const { tags } = (schema ?? {}) as { tags?: unknown }
  return Array.isArray(tags) ? tags : []
}

function checkOptions (options: AsyncApiOptions): void {
  for (const name of Object.keys(options)) {
    // options of register() itself
    if (name === 'prefix' || name === 'logLevel' || name === 'logSerializers') continue
    if (!(OPTIONS as readonly string[]).includes(name)) throw new TypeError(`unknown option ${name} of asyncapi: there are ${OPTIONS.join(', ')}`)
  }
  const { document, path, transform, hiddenTag } = options as Record<typeof OPTIONS[number], unknown>
  check(document === undefined || (typeof document === 'object' && document !== null), 'document', 'an object')
  check(path === undefined || path === false || (typeof path === 'string' && path.startsWith('/')), 'path', 'a path that begins with /, or false')
  check(transform === undefined || typeof transform === 'function', 'transform', 'a function')
  check(hiddenTag === undefined || typeof hiddenTag === 'string', 'hiddenTag', 'a string')
}

function check (isRight: boolean, name: string, expected: string): void {
  if (!isRight) throw new TypeError(`the option ${name} of asyncapi must be ${expected}`)
}

/** Documents the WebSocket routes of its scope and nested ones: `app.asyncapi()`. */
export const asyncapi = fp(plugin, { fastify: '^5.0.0 || ^6.0.0', name: 'fastify-websocket-stream-asyncapi' })
