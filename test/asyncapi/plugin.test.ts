import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createRequire } from 'node:module'
import Fastify, { type FastifyInstance } from 'fastify'
import swagger from '@fastify/swagger'
import { test, type Test } from 'tap'
import { asyncapi } from '../../lib/asyncapi/index.ts'
import websocket from '../../lib/index.ts'

const { load } = createRequire(import.meta.url)('js-yaml') as { load: (text: string) => unknown }
const SCHEMA = { receive: { type: 'string' } }

function create (t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

function declare (app: FastifyInstance, url: string, schema: object = SCHEMA): void {
  app.get(url, { websocket: true, schema }, () => {})
}

test('the document is there when the app is ready: as an object of one\'s own, as JSON and as YAML', async t => {
  const app = create(t)
  await app.register(websocket)
  await app.register(asyncapi)
  declare(app, '/a')
  t.throws(() => app.asyncapi(), { name: 'SchemaError', code: 'FST_WS_ASYNCAPI', message: /before the app was ready/ })
  t.throws(() => app.asyncapi({ yaml: true }), { code: 'FST_WS_ASYNCAPI' })
  await app.ready()
  const document = app.asyncapi()
  document.channels.b = {}
  t.strictSame(Object.keys(app.asyncapi({ yaml: false }).channels), ['a'])
  t.strictSame(load(app.asyncapi({ yaml: true })), app.asyncapi())
  const [json, yaml] = [await app.inject('/asyncapi.json'), await app.inject('/asyncapi.yaml')]
  t.strictSame([json.statusCode, json.headers['content-type'], json.json()], [200, 'application/json; charset=utf-8', app.asyncapi()])
  t.strictSame([yaml.statusCode, yaml.headers['content-type'], yaml.body], [200, 'application/yaml; charset=utf-8', app.asyncapi({ yaml: true })])
})

test('it is served where the option says, in the scope that it is registered in, or nowhere', async t => {
  const app = create(t)
  await app.register(websocket)
  await app.register(async scope => { await scope.register(asyncapi, { path: '/docs/events' }); declare(scope, '/a') }, { prefix: '/v1' })
  await app.register(async scope => { await scope.register(asyncapi, { path: false }); declare(scope, '/b') }, { prefix: '/v2' })
  t.strictSame(Object.keys((await app.inject('/v1/docs/events.json')).json().channels), ['v1_a'], 'each scope has its own')
  for (const path of ['/asyncapi.json', '/v1/asyncapi.json', '/v2/asyncapi.json', '/v2/asyncapi.yaml']) t.equal((await app.inject(path)).statusCode, 404, path)
})

test('hooks of the scope guard it as any route', async t => {
  const app = create(t)
  app.addHook('onRequest', async (_request, reply) => reply.code(401).send('no'))
  await app.register(websocket)
  await app.register(asyncapi)
  t.equal((await app.inject('/asyncapi.json')).statusCode, 401)
})

test('it has all WebSocket routes of its scope, whichever was declared first', async t => {
  const app = create(t)
  await app.register(websocket)
  declare(app, '/before')
  app.register(asyncapi)
  declare(app, '/beside')
  app.register(async scope => { declare(scope, '/within') }, { prefix: '/scope' })
  await app.ready()
  t.strictSame(Object.values(app.asyncapi().channels).map(({ address }) => address), ['/before', '/beside', '/scope/within'])
})

test('without the plugin for WebSocket there is nothing to document', async t => {
  const app = create(t)
  await app.register(asyncapi)
  app.get('/', async () => 'x')
  await app.ready()
  t.strictSame(app.asyncapi().channels, {})
})

test('documents for HTTP and for WebSocket stand beside each other', async t => {
  const app = create(t)
  await app.register(swagger, { openapi: {} })
  await app.register(websocket)
  await app.register(asyncapi)
  declare(app, '/socket', { ...SCHEMA, tags: ['x'] })
  app.route({ method: 'GET', url: '/both', schema: SCHEMA, handler: async () => 'x', wsHandler () {} })
  await app.ready()
  t.strictSame(Object.keys(app.swagger().paths!), ['/both'])
  t.strictSame(Object.keys(app.asyncapi().channels), ['socket', 'both'])
})

test('a wrong option rejects the registration, by name', async t => {
  const wrong: Array<[options: object, message: RegExp]> = [
    [{ openapi: {} }, /unknown option openapi of asyncapi: there are document, path, transform, hiddenTag/],
    [{ document: null }, /document of asyncapi must be an object/],
    [{ path: 'docs' }, /path of asyncapi must be a path that begins with \//],
    [{ path: true }, /path of asyncapi/],
    [{ transform: {} }, /transform of asyncapi must be a function/],
    [{ hiddenTag: 5 }, /hiddenTag of asyncapi must be a string/]
  ]
  for (const [options, message] of wrong) {
    const app = create(t)
    await t.rejects(Promise.resolve(app.register(asyncapi, options)), { name: 'TypeError', message }, JSON.stringify(options))
  }
  const app = create(t)
  await app.register(asyncapi, { prefix: '/x', logLevel: 'warn' } as object)
})

// of what a process has loaded
const LOADED = `
import { registerHooks } from 'node:module'
const loaded = []
registerHooks({ load (url, context, nextLoad) { loaded.push(url); return nextLoad(url, context) } })
const before = process.argv[1] === 'before' ? (await import('fastify')).default() : null
await import(process.argv[2])
console.log(loaded.some(url => url.includes('/lib/asyncapi/')), loaded.some(url => url.includes('/lib/')))
if (before !== null) {
  await before.register((await import('${new URL('../../lib/index.ts', import.meta.url).href}')).default)
  await before.register((await import(process.argv[2])).asyncapi)
  before.get('/a', { websocket: true }, () => {})
  await before.ready()
  console.log(Object.keys(before.asyncapi().channels).join())
}
`

/** What a process says that imports a file of lib. */
async function run (when: 'before' | 'after', file: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', LOADED, when, new URL(`../../lib/${file}`, import.meta.url).href])
  return stdout.trim().split('\n')
}

test('nothing of it is loaded by who does not import it', async t => {
  t.strictSame(await run('after', 'index.ts'), ['false true'])
  t.strictSame(await run('after', 'asyncapi/index.ts'), ['true true'])
})

test('an app that was made before the import has its routes from then on', async t => {
  t.strictSame(await run('before', 'asyncapi/index.ts'), ['true true', 'a'])
})
