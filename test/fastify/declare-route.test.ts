// What the onRoute hook makes of the options of a route, before Fastify has them.
import Fastify, { type FastifyRequest, type RouteOptions } from 'fastify'
import { test } from 'tap'
import { declareRoute, isDeclared, isHidden, isWebSocketRoute, speaksWebSocket } from '../../lib/fastify/declare-route.ts'
import { MessageSchemas } from '../../lib/fastify/message-schemas.ts'
import websocket from '../../lib/index.ts'
import type { Scope } from '../../lib/fastify/websocket-route.ts'

type Route = RouteOptions & { prefix?: string }

const handler = (): void => {}
const routeOf = (options: object): Route => ({ method: 'GET', url: '/ws', prefix: '', handler, ...options }) as Route

const instance = Fastify()

function newScope (): { scope: Scope, paths: string[] } {
  const paths: string[] = []
  const router = { addPath (path: string) { paths.push(path) }, upgradeOf: () => undefined }
  return { scope: { router, server: {}, schemas: new MessageSchemas(), isLogDisabled: null } as unknown as Scope, paths }
}

function declare (options: object): { route: Route, paths: string[] } {
  const { scope, paths } = newScope()
  const route = routeOf(options)
  declareRoute(scope, instance, route)
  return { route, paths }
}

const requestOf = (route: Route): FastifyRequest => ({ routeOptions: { config: route.config } }) as unknown as FastifyRequest

// a route, whether it asks for WebSocket, and whether it takes handshakes
const ROUTES: Array<[options: object, asks: boolean, takes: boolean]> = [
  [{}, false, false],
  [{ websocket: false }, false, false],
  [{ websocket: null, wsHandler: null }, false, false],
  [{ method: 'POST' }, false, false],
  [{ websocket: true }, true, true],
  [{ websocket: {} }, true, true],
  [{ websocket: { maxPayload: 5 } }, true, true],
  [{ wsHandler: handler }, true, true],
  [{ websocket: false, wsHandler: handler }, true, true],
  [{ websocket: true, method: ['GET', 'HEAD'] }, true, true],
  [{ websocket: true, method: 'HEAD' }, true, false]
]
for (const [options, asks, takes] of ROUTES) {
  const shown = JSON.stringify(options, (_name, value: unknown) => typeof value === 'function' ? 'a function' : value)
  test(`a route with ${shown} ${takes ? 'takes handshakes' : 'speaks HTTP alone'}`, async t => {
    t.equal(speaksWebSocket(routeOf(options)), asks)
    const { route, paths } = declare(options)
    t.equal(isWebSocketRoute(route), takes)
    t.equal(isDeclared(requestOf(route)), true)
    t.strictSame(paths, takes ? ['/ws'] : [])
    t.equal(Array.isArray(route.onRequest), !takes, 'which refuses handshakes that come all the same')
  })
}

test('what the plugin has not seen is not declared', async t => {
  for (const config of [undefined, {}]) t.strictSame([isDeclared(requestOf(routeOf({ config }))), isWebSocketRoute(routeOf({ config }))], [false, false])
})

const WRONG: Array<[options: object, error: { name: string, message: string | RegExp }]> = [
  [{ websocket: 'yes' }, { name: 'TypeError', message: 'the route option websocket must be true, false or an object of options' }],
  [{ websocket: [] }, { name: 'TypeError', message: 'the route option websocket must be true, false or an object of options' }],
  [{ wsHandler: {} }, { name: 'TypeError', message: 'invalid wsHandler function' }],
  [{ websocket: true, method: 'POST' }, { name: 'Error', message: 'websocket handler can only be declared in GET method' }],
  [{ wsHandler: handler, method: ['GET', 'PUT'] }, { name: 'Error', message: 'websocket handler can only be declared in GET method' }],
  [{ websocket: { maxPayload: '5' } }, { name: 'TypeError', message: /^the WebSocket option maxPayload must be/ }]
]
for (const [options, error] of WRONG) {
  test(`a route with ${JSON.stringify(options)} cannot be declared`, async t => {
    t.throws(() => declare(options), error)
  })
}

test('the route of a prefix has two paths', async t => {
  t.strictSame(declare({ websocket: true, url: '/inner', prefix: '/inner' }).paths, ['/inner', '/inner/'])
  t.strictSame(declare({ websocket: true, url: '/inner/ws', prefix: '/inner' }).paths, ['/inner/ws'])
})

test('a route of WebSocket alone is hidden from the documentation of an HTTP API, and the schema of its user stays as it is', async t => {
  const schema = Object.freeze({ querystring: {} })
  t.strictSame(Object.entries(declare({ websocket: true, schema }).route.schema!), [['hide', true], ['querystring', {}]])
  t.strictSame(Object.entries(declare({ websocket: true, schema: { hide: false } }).route.schema!), [['hide', false]], 'unless he says otherwise')
  t.equal(declare({ wsHandler: handler, schema }).route.schema, schema, 'one that serves HTTP too is shown')
})

test('the config and the onRequest hooks of a route are kept, and stand first', async t => {
  const config = Object.freeze({ own: 1 })
  t.match(declare({ websocket: true, config }).route.config, { own: 1 })
  const hooks = [(): void => {}, (): void => {}]
  t.strictSame((declare({ onRequest: hooks }).route.onRequest as unknown[]).slice(0, 2), hooks)
  t.equal((declare({ onRequest: hooks[0] }).route.onRequest as unknown[])[0], hooks[0])
})

test('a route that an outer scope has declared is not declared again', async t => {
  for (const options of [{ websocket: true }, {}]) {
    const { route } = declare(options)
    const before = { ...route }
    const { scope, paths } = newScope()
    declareRoute(scope, instance, route)
    t.strictSame([{ ...route }, paths], [before, []])
  }
})

test('a schema of messages on a route that takes no WebSockets is a mistake, unless that is said', async t => {
  for (const direction of ['receive', 'send']) {
    for (const options of [{}, { method: 'POST' }, { websocket: null }]) {
      t.throws(() => declare({ ...options, schema: { [direction]: {} } }), {
        code: 'FST_WS_SCHEMA_ROUTE', message: `schema.${direction} of the route /ws describes WebSocket messages, but the route takes no WebSockets: websocket: true or a wsHandler is missing`
      })
    }
    for (const options of [{ websocket: false }, { websocket: true }, { wsHandler: handler }]) declare({ ...options, schema: { [direction]: {} } })
  }
  declare({ schema: { receive: undefined } })
})

test('the twin for HEAD of a route with a schema of messages is none', async t => {
  const app = Fastify({ exposeHeadRoutes: true })
  t.teardown(() => app.close())
  await app.register(websocket)
  app.route({ method: 'GET', url: '/both', schema: { receive: true, send: true }, handler: async () => 'x', wsHandler () {} })
  app.get('/alone', { websocket: true, schema: { receive: true } }, () => {})
  await app.ready()
  t.equal((await app.inject({ method: 'HEAD', url: '/both' })).statusCode, 200)
})

test('whether a route is hidden from all documentation is what its user has said', async t => {
  const hidden: Array<[options: object, isHidden: boolean]> = [
    [{ websocket: true }, false], [{ websocket: true, schema: {} }, false], [{ websocket: true, schema: { hide: false } }, false],
    [{ websocket: true, schema: { hide: true } }, true], [{ wsHandler: handler, schema: { hide: true } }, true], [{ wsHandler: handler }, false]
  ]
  for (const [options, expected] of hidden) t.equal(isHidden(declare(options).route), expected, JSON.stringify(options))
})
