// Runs in a process of its own: nobody has imported the plugin before.
import Fastify, { type FastifyInstance, type FastifyPluginCallback } from 'fastify'
import { test } from 'tap'

// made before the plugin was there to see it: the imports of this file's end are later
const unseen = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { logged.push(JSON.parse(line)) } } } })
const logged: Array<{ err?: { code: string } }> = []

// its types and ours do not go together
const { default: foreign } = await import('@fastify/websocket' as string) as { default: FastifyPluginCallback }
const { default: websocket } = await import('../../lib/index.ts')
const { echo, handshake, listen, problem, request, text } = await import('../helpers/http.ts')

const EARLY = 'speaks WebSocket, but was declared before fastify-websocket-stream had loaded: await its registration first, or declare the route in a plugin that is ' +
  'registered after it'
const OUTSIDE = 'speaks WebSocket, but fastify-websocket-stream is not registered in its scope: a registration applies to its own scope and those within'

const wrongOrders: Array<[title: string, declare: (app: FastifyInstance) => unknown, message: string]> = [
  ['a registration that nobody awaits', app => {
    app.register(websocket)
    app.get('/ws', { websocket: true }, echo)
  }, `the route GET /ws ${EARLY}`],
  ['a registration behind the route', async app => {
    app.get('/ws', { websocket: { maxPayload: 5 } }, echo)
    await app.register(websocket)
  }, `the route GET /ws ${EARLY}`],
  ['wsHandler, and more than one route', app => {
    app.register(websocket)
    app.route({ method: 'GET', url: '/a', handler: async () => 'http', wsHandler: echo })
    app.route({ method: ['GET', 'HEAD'], url: '/b', handler: async () => 'http', wsHandler: echo })
    app.get('/http', async () => 'http')
  }, `the route GET /a, the route GET, HEAD /b ${EARLY}`],
  ['a registration within a scope that has the route first', app => {
    app.register(async scope => {
      scope.get('/', { websocket: true }, echo)
      await scope.register(websocket)
    }, { prefix: '/inner' })
  }, `the route GET /inner/ ${EARLY}`],
  ['a route in a scope beside that of the registration', app => {
    app.register(async scope => { await scope.register(websocket) })
    app.register(async scope => { scope.get('/ws', { websocket: true }, echo) })
  }, `the route GET /ws ${OUTSIDE}`]
]
for (const [title, declare, message] of wrongOrders) {
  test(`${title}: ready() says so`, async t => {
    const app = Fastify()
    await Promise.all([declare(app)].filter(declared => declared instanceof Promise))
    await t.rejects(Promise.resolve(app.ready()), { message })
    await app.close()
  })
}

const rightOrders: Array<[title: string, declare: (app: FastifyInstance) => unknown]> = [
  ['a registration that is awaited', async app => {
    await app.register(websocket)
    app.get('/ws', { websocket: true }, echo)
  }],
  ['a route in a plugin behind the registration', app => {
    app.register(websocket)
    app.register(async scope => { scope.get('/ws', { websocket: true }, echo) })
  }],
  ['a route in after()', app => {
    app.register(websocket)
    app.after(() => { app.get('/ws', { websocket: true }, echo) })
  }],
  ['routes that speak HTTP alone, before it', app => {
    app.get('/', async () => 'http')
    app.get('/not', { websocket: false }, async () => 'http')
    app.route({ method: 'GET', url: '/null', handler: async () => 'http', wsHandler: null as never })
    app.register(websocket)
  }],
  ['a route that was refused', async app => {
    await app.register(websocket)
    try {
      app.post('/ws', { websocket: true }, echo as never)
    } catch {}
  }]
]
for (const [title, declare] of rightOrders) {
  test(`${title}: ready() has nothing to say`, async t => {
    const app = Fastify()
    await declare(app)
    await app.ready()
    await app.close()
    t.pass()
  })
}

/** The warnings of ours that `run` causes. */
async function warningsOf (run: () => Promise<unknown>): Promise<string[]> {
  const warnings: string[] = []
  const onWarning = ({ name, message }: Error): void => { if (name === 'WebSocketWarning') warnings.push(message) }
  process.on('warning', onWarning)
  await run()
  await new Promise(resolve => { setImmediate(resolve) })
  process.off('warning', onWarning)
  return warnings
}

test('an app without the plugin is warned, as the route may be meant for another plugin', async t => {
  const app = Fastify()
  app.get('/ws', { websocket: true }, echo)
  t.strictSame(await warningsOf(async () => { await app.ready() }), [
    'the route GET /ws speaks WebSocket, but fastify-websocket-stream is not registered in the app: its handler will be called with an HTTP request'
  ])
  await app.close()
})

test('routes of another plugin are left to it', async t => {
  const apps = [Fastify(), Fastify(), Fastify()] as const
  await apps[0].register(foreign)
  apps[0].get('/ws', { websocket: true }, () => {})
  // which it does not hear of either
  apps[1].get('/ws', { websocket: true }, () => {})
  await apps[1].register(foreign)
  // one that says nothing of itself, but puts another handler in its place
  apps[2].addHook('onRoute', route => { if (route.websocket === true) route.handler = async () => 'mine' })
  apps[2].get('/ws', { websocket: true }, () => {})
  t.strictSame(await warningsOf(async () => { for (const app of apps) await app.ready() }), [])
  for (const app of apps) await app.close()
})

test('a handshake on a route that speaks HTTP alone gets 404, also where the route was declared before', async t => {
  const app = Fastify()
  app.get('/http', async () => 'http')
  await app.register(websocket)
  app.get('/ws', { websocket: true }, echo)
  const site = await listen(t, app)
  t.match(problem(await site.ask(handshake('/http'))), { statusCode: 404, message: 'Route GET:/http not found' })
  t.match(await site.ask(request('/http')), { statusCode: 200, body: 'http' })
  await site.open('/ws')
})

test('where the plugin was imported when the app was there already, the first handshake gets the error', async t => {
  unseen.get('/early', { websocket: true }, () => { t.fail('the handler ran') })
  unseen.get('/http', async () => 'http')
  await unseen.register(websocket)
  unseen.get('/ws', { websocket: true }, echo)
  unseen.get('/later', async () => 'http')
  const site = await listen(t, unseen)
  for (const path of ['/early', '/http']) {
    t.match(problem(await site.ask(handshake(path))), {
      statusCode: 500,
      code: 'FST_WS_DECLARED_TOO_EARLY',
      message: `the route GET ${path} was declared before fastify-websocket-stream had loaded, and takes no WebSocket handshakes: await the registration of the ` +
        'plugin first, or declare the route in a plugin that is registered after it'
    })
  }
  t.match(logged, [{ err: { code: 'FST_WS_DECLARED_TOO_EARLY' } }, { err: { code: 'FST_WS_DECLARED_TOO_EARLY' } }], 'the log has it')
  t.match(await site.ask(request('/http')), { statusCode: 200, body: 'http' })
  t.equal((await site.ask(handshake('/later'))).statusCode, 404)
  t.equal((await site.ask(handshake('/nowhere'))).statusCode, 404)
  const peer = await site.open('/ws')
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
})
