import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import Fastify, { type FastifyInstance, type FastifySchema } from 'fastify'
import { test } from 'tap'
import websocket, { fastifyWebsocket } from '../../lib/index.ts'
import { echo, handshake, listen, request, serve, text, within } from '../helpers/http.ts'

test('the plugin is registered under its name, for the versions of Fastify that package.json names', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const { peerDependencies } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as
    { peerDependencies: { fastify: string } }
  const meta = (fastifyWebsocket as unknown as Record<symbol, { fastify: string }>)[Symbol.for('plugin-meta')]
  t.equal(meta?.fastify, peerDependencies.fastify)
  t.equal(peerDependencies.fastify, '^5.0.0 || ^6.0.0')
  t.equal(fastifyWebsocket, websocket)
  await app.register(websocket)
  t.equal(app.hasPlugin('fastify-websocket-stream'), true)
  t.equal(app.hasDecorator('websocketServer'), true)
  t.equal(app.hasRequestDecorator('ws'), true)
})

test('the plugin can be registered by all that register() takes', async t => {
  const registrations: Array<(app: FastifyInstance) => unknown> = [
    app => app.register(websocket),
    app => app.register(import('../../lib/index.ts')),
    app => app.register(websocket, () => ({ maxPayload: 5 })),
    app => { app.register(websocket).after(error => { t.equal(error, null) }) }
  ]
  for (const register of registrations) {
    const app = Fastify()
    register(app)
    // behind the plugin, and before it has loaded
    app.register(async scope => { scope.get('/ws', { websocket: true }, echo) })
    const site = await listen(t, app)
    t.strictSame(await (await site.open('/ws')).write(text('Hello')).contents(1), ['Hello'])
  }
})

test('a second registration in one scope is rejected by name', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(websocket)
  const again = (async () => { await app.register(websocket) })()
  await t.rejects(within(2000, again, 'an answer'), { message: 'fastify-websocket-stream is registered twice in one scope' })
})

test('a second registration in a scope within is rejected by name, through ready()', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(async scope => {
    scope.register(websocket)
    scope.register(websocket)
  })
  const ready = (async () => { await app.ready() })()
  await t.rejects(within(2000, ready, 'an answer'), { message: 'fastify-websocket-stream is registered twice in one scope' })
})

test('a scope and one within, or scopes side by side, may register it each', async t => {
  const app = Fastify()
  await app.register(websocket)
  const servers = [app.websocketServer]
  for (const prefix of ['/a', '/b']) {
    await app.register(async scope => {
      t.equal(scope.websocketServer, app.websocketServer, 'that of the scope around')
      await scope.register(websocket)
      servers.push(scope.websocketServer)
      scope.get('/ws', { websocket: true }, echo)
    }, { prefix })
  }
  const site = await listen(t, app)
  t.equal(new Set(servers).size, 3)
  await site.open('/a/ws')
  await site.open('/b/ws')
  await site.open('/b/ws')
  t.strictSame(servers.map(({ clients }) => clients.size), [0, 1, 2])
})

test('nothing outside the scope that registers the plugin has its decorators or its routes', async t => {
  const app = Fastify()
  app.get('/http', async request => ({ ws: 'ws' in request }))
  app.register(async scope => {
    await scope.register(websocket)
    scope.get('/ws', { websocket: true }, echo)
  })
  const site = await listen(t, app)
  t.equal(app.hasDecorator('websocketServer'), false)
  t.equal((await site.ask(request('/http'))).body, '{"ws":false}')
  await site.open('/ws')
})

test('an app that has a request decorator of the name ws keeps it, and works', async t => {
  const app = Fastify()
  app.decorateRequest('ws', 'mine' as never)
  await app.register(websocket)
  app.get('/http', async ({ ws }) => ({ ws }))
  app.get('/ws', { websocket: true }, (connection, { ws }) => { connection.send(String(ws)) })
  const site = await listen(t, app)
  t.match(await site.ask(request('/http')), { statusCode: 200, body: '{"ws":"mine"}' })
  t.match(await site.ask(handshake('/http')), { statusCode: 404 })
  t.strictSame(await (await site.open('/ws')).contents(1), ['mine'])
})

test('inject() makes plain requests', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(websocket)
  app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') })
  app.route({ method: 'GET', url: '/both', handler: async ({ ws }) => ({ ws }), wsHandler: () => { t.fail('the handler ran') } })
  const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
  t.equal((await app.inject({ url: '/ws', headers })).statusCode, 404)
  t.equal((await app.inject({ url: '/both', headers })).body, '{"ws":false}')
})

test('an app without WebSocket routes, or that never listens, closes at once', async t => {
  const { app, site } = await serve(t, () => {})
  t.equal((await site.ask(handshake('/ws'))).statusCode, 404)
  await within(2000, Promise.resolve(app.close()), 'close')
  const silent = Fastify()
  await silent.register(websocket)
  await silent.ready()
  await within(2000, Promise.resolve(silent.close()), 'close')
})

test('the plugin leaves HTTP as it is', async t => {
  const { site } = await serve(t, app => {
    app.get('/http', async () => 'http')
    app.post('/http', async ({ body }) => body)
    app.get('/ws', { websocket: true }, echo)
  })
  const peer = await site.connect()
  t.match(await peer.write(request('/http')).answer(), { statusCode: 200, body: 'http', headers: { connection: 'keep-alive' } })
  peer.write(request('/http', { 'Content-Type': 'application/json', 'Content-Length': '7' }, { method: 'POST' }), '{"a":1}')
  t.match(await peer.answer(), { statusCode: 200, body: '{"a":1}' })
  t.match(await peer.write(request('/nowhere')).answer(), { statusCode: 404 })
})

test('the options of ws under `options` that have no effect are logged as warnings', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write (line: string) { lines.push((JSON.parse(line) as { msg: string }).msg) } } } })
  await app.register(websocket, { options: { path: '/ws', clientTracking: true, maxPayload: 5 } })
  t.strictSame(lines, ['the WebSocket option path has no effect: it is the URL of a route that decides'])
  t.equal(app.websocketServer.options.maxPayload, 5)
})

test('options.server is another server whose upgrades come to the routes', async t => {
  const server = createServer()
  const app = Fastify()
  await app.register(websocket, { options: { server } })
  app.get('/ws', { websocket: true }, echo)
  await app.ready()
  const site = await listen(t, {
    server,
    listen: async ({ port, host }) => { await once(server.listen(port, host), 'listening'); return '' },
    close: async () => {
      await app.close()
      server.close()
    }
  })
  const peer = await site.open('/ws')
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})

test('a WebSocket-only route is hidden from the documentation of the HTTP API, without a change to the schema it was given', async t => {
  const schemas: Record<string, unknown> = {}
  const schema = { tags: ['a'] }
  const shown = { hide: false }
  const app = Fastify()
  await app.register(websocket)
  app.addHook('onRoute', route => { if (route.method === 'GET') schemas[route.url] = route.schema })
  app.get('/none', { websocket: true }, echo)
  app.get('/some', { websocket: true, schema: schema as FastifySchema }, echo)
  app.get('/shown', { websocket: true, schema: shown as FastifySchema }, echo)
  app.get('/http', { schema: schema as FastifySchema }, async () => '')
  app.route({ method: 'GET', url: '/both', schema: schema as FastifySchema, handler: async () => '', wsHandler: echo })
  await app.ready()
  t.match(schemas['/none'], { hide: true })
  t.match(schemas['/some'], { hide: true, tags: ['a'] })
  t.match(schemas['/shown'], { hide: false })
  t.strictSame(Object.keys(schema), ['tags'])
  t.notOk('hide' in (schemas['/http'] as object))
  t.notOk('hide' in (schemas['/both'] as object))
  await app.close()
})
