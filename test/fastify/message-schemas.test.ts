// schema.receive and schema.send are compiled when the app gets ready, with what Fastify compiles the schemas of that scope with.
import { createRequire } from 'node:module'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type RouteShorthandOptions } from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import fluent from 'fluent-json-schema'
import swagger from '@fastify/swagger'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import { test, type Test } from 'tap'
import { Type } from 'typebox'
import { z } from 'zod'
import websocket from '../../lib/index.ts'

type AjvClass = new (options?: object) => { compile (schema: unknown): (value: unknown) => boolean }
const Ajv = createRequire(createRequire(import.meta.url).resolve('@fastify/ajv-compiler'))('ajv').default as AjvClass

async function createApp (t: Test, options: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = Fastify(options)
  await app.register(websocket)
  t.teardown(() => app.close())
  return app
}

/** A route that answers with the JSON of what it has received. */
function receiving (app: FastifyInstance, path: string, receive: unknown, options: RouteShorthandOptions = {}): void {
  app.get(path, { ...options, websocket: true, schema: { receive } }, connection => {
    connection.on('message', (message: unknown) => { connection.send(JSON.stringify(message)) })
  })
}

/** A route that sends what it has received. */
function sending (app: FastifyInstance, path: string, send: unknown, options: RouteShorthandOptions = {}): void {
  app.get(path, { ...options, websocket: true, schema: { send } }, connection => {
    connection.on('message', data => { connection.send(JSON.parse(String(data)) as string) })
  })
}

/** The answer to a message, or the Close frame that it was answered with. */
async function ask (app: FastifyInstance, path: string, text: string): Promise<string> {
  const client = await app.injectWS(path)
  client.send(text)
  const answer = await client.receive()
  client.terminate()
  if (answer !== null) return String(answer)
  const { code, reason } = await client.closed
  return `${code} ${reason}`
}

const member = (type: string, properties: object = {}, required: string[] = []): object =>
  ({ type: 'object', properties: { type: { const: type }, ...properties }, required: ['type', ...required], additionalProperties: false })
const SAY = member('say', { text: { type: 'string' } }, ['text'])
const MOVE = member('move', { x: { type: 'integer' } }, ['x'])

test('an app without any other schema compiles them', async t => {
  const app = await createApp(t)
  receiving(app, '/receive', { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] })
  sending(app, '/send', { type: 'object', properties: { a: { type: 'integer' } } })
  t.equal(await ask(app, '/receive', '{"a":"5","b":1}'), '{"a":5,"b":1}')
  t.equal(await ask(app, '/receive', '{}'), "1007 message must have required property 'a'")
  t.equal(await ask(app, '/send', '{"a":5,"secret":1}'), '{"a":5}')
})

test('each scope has its own schemas and compilers', async t => {
  const app = await createApp(t)
  app.addSchema({ $id: 'name', type: 'string', maxLength: 3 })
  receiving(app, '/parent', { type: 'object', properties: { name: { $ref: 'name#' } } })
  await app.register(async child => {
    child.addSchema({ $id: 'age', type: 'integer' })
    receiving(child, '/child', { type: 'object', properties: { name: { $ref: 'name#' }, age: { $ref: 'age#' } } })
    sending(child, '/child/send', { type: 'object', properties: { age: { $ref: 'age#' } } })
  })
  await app.register(async strict => {
    const ajv = new Ajv({ coerceTypes: false })
    strict.setValidatorCompiler(({ schema }) => ajv.compile(schema))
    strict.setSerializerCompiler(() => value => `strict ${JSON.stringify(value)}`)
    receiving(strict, '/strict', { type: 'object', properties: { age: { type: 'integer' } } })
    sending(strict, '/strict/send', { type: 'object' })
  })
  t.equal(await ask(app, '/parent', '{"name":"Eva"}'), '{"name":"Eva"}')
  t.equal(await ask(app, '/parent', '{"name":"Adam"}'), '1007 message/name must NOT have more than 3 characters')
  t.equal(await ask(app, '/child', '{"name":"Eva","age":"5"}'), '{"name":"Eva","age":5}')
  t.equal(await ask(app, '/child', '{"name":"Adam"}'), '1007 message/name must NOT have more than 3 characters')
  t.equal(await ask(app, '/child/send', '{"age":5,"name":1}'), '{"age":5}')
  t.equal(await ask(app, '/strict', '{"age":"5"}'), '1007 message/age must be integer')
  t.equal(await ask(app, '/strict/send', '{"age":5}'), 'strict {"age":5}')
})

test('a compiler may be that of the route, and one for each part of a request knows which part it is asked for', async t => {
  const app = await createApp(t)
  const asked: unknown[] = []
  const body = new Ajv({ coerceTypes: false })
  app.setValidatorCompiler(request => {
    asked.push({ ...request, schema: 0 })
    if (request.httpPart !== 'body') throw new Error('no such part')
    return body.compile(request.schema)
  })
  receiving(app, '/part', { type: 'integer' })
  receiving(app, '/own', { type: 'integer' }, { validatorCompiler: () => value => ({ value: `own ${String(value)}` }) })
  sending(app, '/own/send', {}, { serializerCompiler: ({ httpStatus, url }) => value => `${String(httpStatus)} ${url} ${JSON.stringify(value)}` })
  t.equal(await ask(app, '/part', '"5"'), '1007 message must be integer')
  t.equal(await ask(app, '/own', '5'), '"own 5"')
  t.equal(await ask(app, '/own/send', '5'), '101 /own/send 5')
  t.strictSame(asked, [{ schema: 0, method: 'GET', url: '/part', httpPart: 'body' }])
})

test('a schema that cannot be compiled fails ready(), with the route, the direction and the cause', async t => {
  const failures: Array<[schema: object, message: RegExp]> = [
    [{ receive: { type: 'strin' } }, /^schema\.receive of the WebSocket route \/broken cannot be compiled: .*type/],
    [{ receive: { $ref: 'missing#' } }, /^schema\.receive .*missing/],
    [{ receive: { anyOf: [SAY, member('b', { text: { type: 'strin' } })] } }, /^schema\.receive .*type/],
    [{ receive: { anyOf: [SAY, { $ref: '#/%zz' }] } }, /^schema\.receive .*URI/],
    [{ send: { $ref: 'missing#' } }, /^schema\.send .*missing/],
    [{ send: { anyOf: [SAY, member('b', { text: { $ref: '#/none' } })] } }, /^schema\.send /],
    [{ send: { type: 'strin' } }, /^schema\.send of the WebSocket route \/broken cannot be compiled/]
  ]
  for (const [schema, message] of failures) {
    const app = await createApp(t)
    app.get('/broken', { websocket: true, schema }, () => {})
    await t.rejects(Promise.resolve(app.ready()), { name: 'SchemaError', code: 'FST_WS_SCHEMA_BUILD', message, cause: Error }, JSON.stringify(schema))
  }
})

test('a plain schema may be built by fluent-json-schema, be true, or be false', async t => {
  const app = await createApp(t)
  receiving(app, '/fluent', fluent.default.object().prop('title', fluent.default.string().minLength(2)))
  sending(app, '/fluent/send', fluent.default.object().prop('title', fluent.default.string()))
  receiving(app, '/true', true)
  receiving(app, '/false', false)
  sending(app, '/true/send', true)
  t.equal(await ask(app, '/fluent', '{"title":"ab"}'), '{"title":"ab"}')
  t.equal(await ask(app, '/fluent', '{"title":"a"}'), '1007 message/title must NOT have fewer than 2 characters')
  t.equal(await ask(app, '/fluent/send', '{"title":"a","b":1}'), '{"title":"a"}')
  t.equal(await ask(app, '/true', '[{}]'), '[{}]')
  t.equal(await ask(app, '/false', '{}'), '1007 message boolean schema is false')
  t.equal(await ask(app, '/true/send', '{"a":[1]}'), '{"a":[1]}')
})

test('a union whose members have a tag loses no field to a member that it is not', async t => {
  const app = await createApp(t)
  app.addSchema({ $id: 'say', ...SAY })
  app.addSchema({ $id: 'move', ...MOVE })
  const unions = {
    '/inline': { anyOf: [SAY, MOVE] },
    '/one-of': { oneOf: [MOVE, SAY] },
    '/named': { anyOf: [{ $ref: 'say#' }, { $ref: 'move' }] },
    '/defs': { $defs: { say: SAY, move: MOVE }, anyOf: [{ $ref: '#/$defs/say' }, { $ref: '#/$defs/move' }] },
    '/typebox': Type.Union([
      Type.Object({ type: Type.Literal('say'), text: Type.String() }, { additionalProperties: false }),
      Type.Object({ type: Type.Literal('move'), x: Type.Integer() }, { additionalProperties: false })
    ])
  }
  for (const [path, union] of Object.entries(unions)) {
    receiving(app, path, union)
    sending(app, `${path}/send`, union)
  }
  for (const path of Object.keys(unions)) {
    t.equal(await ask(app, path, '{"type":"move","x":"5","y":1}'), '{"type":"move","x":5}', path)
    t.equal(await ask(app, path, '{"type":"say","text":"Hello"}'), '{"type":"say","text":"Hello"}', path)
    t.equal(await ask(app, path, '{"type":"say"}'), "1007 message must have required property 'text'", path)
    t.equal(await ask(app, path, '{"type":"sit"}'), '1007 message/type must be equal to one of the allowed values', path)
    t.equal(await ask(app, `${path}/send`, '{"type":"move","x":5,"secret":1}'), '{"type":"move","x":5}', path)
    t.equal(await ask(app, `${path}/send`, '{"type":"sit"}'), '1011 ', path)
  }
})

test('what else the root of such a union demands counts for each member', async t => {
  const app = await createApp(t)
  const open = (type: string): object => ({ type: 'object', properties: { type: { const: type } }, required: ['type'] })
  receiving(app, '/', { type: 'object', required: ['id'], properties: { id: { type: 'integer' } }, anyOf: [open('a'), open('b')] })
  t.equal(await ask(app, '/', '{"type":"b","id":"5"}'), '{"type":"b","id":5}')
  t.equal(await ask(app, '/', '{"type":"b"}'), "1007 message must have required property 'id'")
})

test('of a union that cannot be told apart, and of which validation takes fields away, a warning tells', async t => {
  const lines: Array<{ level: number, msg: string }> = []
  const logger = { level: 'warn', stream: { write (line: string) { lines.push(JSON.parse(line) as typeof lines[0]) } } }
  const closed = (properties: object): object => ({ type: 'object', properties, additionalProperties: false })
  const union = { anyOf: [closed({ a: { type: 'string' } }), closed({ b: { type: 'string' } })] }
  const app = await createApp(t, { logger })
  receiving(app, '/silent-loss', union)
  receiving(app, '/tagged', { anyOf: [SAY, MOVE] })
  receiving(app, '/open', { anyOf: [{ type: 'object' }, { type: 'string' }] })
  receiving(app, '/own', union, { validatorCompiler: () => () => true })
  t.equal(await ask(app, '/silent-loss', '{"b":"x"}'), '{}', 'which is what it warns of')
  t.match(lines, [{ level: 40, msg: /^schema\.receive of the WebSocket route \/silent-loss is a union whose members no property distinguishes/ }])
  t.equal(lines.length, 1)

  const careful = await createApp(t, { logger, ajv: { customOptions: { removeAdditional: false } } })
  receiving(careful, '/', union)
  t.equal(await ask(careful, '/', '{"b":"x"}'), '{"b":"x"}')
  t.equal(lines.length, 1)
})

test('keys that poison prototypes are treated as the app says', async t => {
  const POISON = '{"a":1,"__proto__":{"x":1}}'
  const apps = [await createApp(t), await createApp(t, { onProtoPoisoning: 'remove' }), await createApp(t, { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'ignore' })] as const
  for (const app of apps) receiving(app, '/', {})
  const [careful, removing, ignoring] = apps
  t.match(await ask(careful, '/', POISON), /^1007 message is not JSON: it cannot be parsed, or has a key that onProtoPoisoning/)
  t.match(await ask(careful, '/', '{"constructor":{"prototype":{}}}'), /^1007 message is not JSON/)
  t.match(await ask(careful, '/', '{"\\u0061":'), /^1007 message is not JSON/)
  t.equal(await ask(removing, '/', POISON), '{"a":1}')
  t.equal(await ask(ignoring, '/', POISON), POISON)
  t.equal(await ask(careful, '/', '\uFEFF{"a":"constructor"}'), '{"a":"constructor"}')
})

test('zod and TypeBox compile them by their own compilers', async t => {
  const app = await createApp(t)
  await app.register(async scope => {
    scope.setValidatorCompiler(validatorCompiler)
    scope.setSerializerCompiler(serializerCompiler)
    receiving(scope, '/zod', z.discriminatedUnion('type', [z.object({ type: z.literal('say'), at: z.coerce.date() }), z.object({ type: z.literal('sit') })]))
    sending(scope, '/zod/send', z.object({ a: z.number() }))
  })
  await app.register(async scope => {
    scope.setValidatorCompiler(TypeBoxValidatorCompiler)
    receiving(scope, '/typebox', Type.Union([Type.Object({ type: Type.Literal('say'), text: Type.String() }), Type.Object({ type: Type.Literal('sit') })]))
  })
  t.equal(await ask(app, '/zod', '{"type":"say","at":0,"more":1}'), '{"type":"say","at":"1970-01-01T00:00:00.000Z"}')
  t.match(await ask(app, '/zod', '{"type":"say","at":"x"}'), /^1007 message\/at Invalid input/)
  t.match(await ask(app, '/zod', '{"type":"stand"}'), /^1007 message\/type Invalid/)
  t.equal(await ask(app, '/zod/send', '{"a":5,"b":1}'), '{"a":5}')
  t.equal(await ask(app, '/zod/send', '{"a":"5"}'), '1011 ')
  t.equal(await ask(app, '/typebox', '{"type":"say","text":"x"}'), '{"type":"say","text":"x"}')
  t.match(await ask(app, '/typebox', '{"type":"say","text":5}'), /^1007 message/)
})

test('HTTP on the same URL is neither validated nor serialized by them, and documented without them', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(swagger, { openapi: {} })
  await app.register(websocket)
  const schema = { receive: SAY, send: SAY, response: { 200: { type: 'object', properties: { page: { type: 'string' } } } } }
  const handler = async (): Promise<object> => ({ page: 'x', more: 1 })
  const both = { receive: SAY, send: SAY }
  app.route({ method: 'GET', url: '/both', schema: both, handler, wsHandler () {} })
  app.route({ method: 'GET', url: '/own', schema, handler, wsHandler () {} })
  app.get('/alone', { websocket: true, schema }, () => {})
  await app.ready()
  t.strictSame([Object.keys(both), Object.keys(schema)], [['receive', 'send'], ['receive', 'send', 'response']], 'they are their owner\'s')
  for (const headers of [{}, { 'content-type': 'application/json' }, { 'content-type': 'text/plain' }]) {
    const response = await app.inject({ url: '/both', headers })
    t.strictSame([response.statusCode, response.json()], [200, { page: 'x', more: 1 }])
  }
  t.strictSame((await app.inject('/own')).json(), { page: 'x' })
  t.equal((await app.inject({ method: 'HEAD', url: '/both' })).statusCode, 200)
  const { paths } = (app as unknown as { swagger (): { paths: Record<string, { get?: { requestBody?: unknown, responses: object } }> } }).swagger()
  t.strictSame(Object.keys(paths), ['/both', '/own'])
  t.equal(paths['/both']!.get!.requestBody, undefined)
  t.strictSame(Object.keys(paths['/both']!.get!.responses), ['200'])
})

test('of nested registrations the outer compiles a route once, and the inner one has it', async t => {
  const app = await createApp(t)
  let compiled = 0
  await app.register(async child => {
    await child.register(websocket)
    receiving(child, '/child', { type: 'integer' }, { validatorCompiler: () => { compiled++; return () => true } })
    receiving(child, '/', { type: 'integer' })
  }, { prefix: '/v1' })
  t.equal(await ask(app, '/v1/child', '5'), '5')
  for (const path of ['/v1', '/v1/']) t.equal(await ask(app, path, '"5"'), '5', path)
  t.equal(compiled, 1)
})

test('a key that is undefined is none', async t => {
  const app = await createApp(t)
  app.get('/', { websocket: true, schema: { receive: undefined, send: undefined } }, connection => {
    connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
  })
  t.equal(await ask(app, '/', 'no JSON'), 'no JSON')
})
