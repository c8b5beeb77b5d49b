// The document is one that AsyncAPI's own parser has nothing to say against, and servers send what it says.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import Fastify, { type FastifyInstance } from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import fluent from 'fluent-json-schema'
import { test, type Test } from 'tap'
import { Type } from 'typebox'
import { z } from 'zod'
import { asyncapi, type AsyncApiDocument } from '../../lib/asyncapi/index.ts'
import websocket from '../../lib/index.ts'

// large, and asked by this test alone: .ci/provision installs it
const PARSER = new URL('../../example/asyncapi/package.json', import.meta.url)
const isInstalled = existsSync(new URL('node_modules/@asyncapi/parser', PARSER))

interface Parser {
  parse (document: string): Promise<{ diagnostics: unknown[] }>
}
type AjvClass = new (options: object) => { addSchema (schema: object, id: string): void, validate (schema: object, value: unknown): boolean }
const Ajv = createRequire(createRequire(import.meta.url).resolve('@fastify/ajv-compiler'))('ajv').default as AjvClass

const Say = Type.Object({ type: Type.Literal('say'), text: Type.String({ maxLength: 500, default: '' }) })
const Left = Type.Object({ type: Type.Literal('left'), by: Type.Union([Type.String(), Type.Null()]) }, { $id: 'Left', description: 'Somebody left.' })
const Tree = Type.Cyclic({ Tree: Type.Object({ id: Type.Integer(), kids: Type.Array(Type.Ref('Tree')) }) }, 'Tree')
const tagged = (type: string, properties: object = {}): object => ({
  type: 'object', properties: { type: { const: type }, ...properties }, required: ['type'], additionalProperties: false
})

/** A route, and what its server sends. */
interface Shape {
  path: string
  schema?: object
  options?: object
  sends?: unknown[]
}

const SHAPES: Shape[] = [
  { path: '/' },
  { path: '/raw', schema: {} },
  { path: '/one', schema: { receive: { type: 'string' } } },
  { path: '/other', schema: { send: { type: 'integer' } }, sends: [5] },
  { path: '/any', schema: { receive: true, send: true }, sends: [{ a: [1] }, 'x'] },
  { path: '/never', schema: { receive: false } },
  { path: '/empty', schema: { receive: {}, send: {} }, sends: [null] },
  { path: '/typebox', schema: { receive: Type.Union([Say, Left]), send: Type.Union([Say, Left]) }, sends: [{ type: 'say', text: 'x', more: 1 }, { type: 'left', by: null }] },
  { path: '/one-of', schema: { send: { oneOf: [tagged('a'), tagged('b', { n: { type: 'integer' } })] } }, sends: [{ type: 'b', n: 5, secret: 1 }, { type: 'a' }] },
  { path: '/numbers', schema: { receive: { anyOf: [1, 2].map(v => ({ type: 'object', properties: { v: { enum: [v] } }, required: ['v'] })) } } },
  { path: '/untagged', schema: { send: { anyOf: [{ type: 'string' }, { type: 'null' }, { type: 'array', items: { type: 'integer' } }] } }, sends: ['x', null, [1, 2]] },
  { path: '/shared', schema: { receive: { $ref: 'Said#' }, send: { $ref: 'Said' } }, sends: [{ type: 'said', by: { name: 'a', friends: [{ name: 'b' }] }, room: { id: null } }] },
  { path: '/shared-union', schema: { receive: { anyOf: [{ $ref: 'Said#' }, { $ref: 'Moved#' }] }, send: { oneOf: [{ $ref: 'Moved' }, tagged('x')] } }, sends: [{ type: 'moved' }] },
  { path: '/into', schema: { receive: { $ref: 'Said#/definitions/User' }, send: { type: 'object', properties: { by: { $ref: 'Said#/definitions/User' } } } }, sends: [{ by: { name: 'x' } }] },
  { path: '/uri', schema: { send: { $ref: 'https://a.example/schemas/room.json#' } }, sends: [{ id: 5 }] },
  { path: '/local', schema: { send: { type: 'object', properties: { a: { $ref: '#/definitions/A' } }, definitions: { A: { type: 'string' } } } }, sends: [{ a: 'x' }] },
  { path: '/escaped', schema: { receive: { type: 'object', properties: { a: { $ref: '#/definitions/A~1B%20C' } }, definitions: { 'A/B C': { type: 'string' } } } } },
  { path: '/defs', schema: { receive: { $defs: { a: tagged('a'), b: tagged('b') }, anyOf: [{ $ref: '#/$defs/a' }, { $ref: '#/$defs/b' }] } } },
  { path: '/tree', schema: { receive: Tree, send: Tree }, sends: [{ id: 1, kids: [{ id: 2, kids: [] }] }] },
  { path: '/itself', schema: { receive: { $id: 'Itself', type: 'object', properties: { next: { $ref: '#' } } } } },
  { path: '/root', schema: { receive: { type: 'object', properties: { id: { type: 'integer' } }, required: ['id'], anyOf: [tagged('a'), tagged('b')] } } },
  { path: '/fluent', schema: { send: fluent.default.object().prop('a', fluent.default.string().required()) }, sends: [{ a: 'x', b: 1 }] },
  { path: '/keywords', schema: { receive: { type: 'array', prefixItems: [{ type: 'string' }], unevaluatedItems: false, minContains: 1 } }, options: { validatorCompiler: () => () => true } },
  { path: '/nullable', schema: { send: { type: 'object', properties: { a: { type: 'string', nullable: true }, b: { type: 'integer', exclusiveMinimum: 0 } } } }, sends: [{ a: null, b: 1 }] },
  { path: '/rooms/:id', schema: { params: { type: 'object', properties: { id: { type: 'integer', enum: [1, 2], default: 1, description: 'Which' } } }, receive: Say } },
  { path: '/pair/:a-:b', schema: { params: { type: 'object', properties: { a: { $ref: 'Id#' } } } } },
  { path: '/regex/:id(^\\d+$)/x.:ext', schema: { send: true } },
  { path: '/files/*', schema: { receive: true } },
  { path: '/maybe/:id?', schema: { receive: true } },
  { path: '/colon::x/a{b}', schema: { receive: true } },
  { path: '/handshake', schema: { querystring: { type: 'object', properties: { token: { type: 'string' } }, required: ['token'] }, headers: { type: 'object', properties: { 'x-a': { type: 'string' } } } } },
  { path: '/query', schema: { querystring: { $ref: 'Query#' } } },
  { path: '/told', schema: { summary: 'Short', description: 'Long\n\nlines.', tags: ['chat', 'x'], externalDocs: { url: 'https://a.example' }, operationId: 'told', deprecated: true, receive: Say } },
  { path: '/guarded', schema: { security: [{ bearer: [] }, { oauth: ['read'] }], receive: Say, send: Say }, sends: [{ type: 'say', text: 'x' }] },
  { path: '/constrained', schema: { receive: Say }, options: { constraints: { version: '1.0.0' } } },
  { path: '/constrained', schema: { receive: Left }, options: { constraints: { version: '2.0.0' } } },
  { path: '/hidden', schema: { hide: true, receive: Say } },
  { path: '/hidden/by/tag', schema: { tags: ['X-HIDDEN'], receive: Say } }
]

async function createApp (t: Test): Promise<FastifyInstance> {
  const app = Fastify({ ajv: { customOptions: { strict: false } } })
  t.teardown(() => app.close())
  await app.register(websocket, { origin: '*' })
  await app.register(asyncapi, {
    document: {
      info: { title: 'All shapes', version: '1.2.3', description: 'Of routes.', license: { name: 'MIT' }, contact: { name: 'a', url: 'https://a.example', email: 'a@a.example' } },
      id: 'urn:example:shapes',
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer' },
          oauth: { type: 'oauth2', flows: { clientCredentials: { tokenUrl: 'https://a.example/token', availableScopes: { read: 'Read' } } } }
        }
      }
    }
  })
  const user = { type: 'object', properties: { name: { type: 'string' }, friends: { type: 'array', items: { $ref: '#/definitions/User' } } } }
  app.addSchema({ $id: 'Said', ...tagged('said', { by: { $ref: '#/definitions/User' }, room: { $ref: 'https://a.example/schemas/room.json#' } }), definitions: { User: user, Unused: {} } })
  app.addSchema({ $id: 'Moved', ...tagged('moved') })
  app.addSchema({ $id: 'https://a.example/schemas/room.json', type: 'object', properties: { id: { type: 'integer', nullable: true } } })
  app.addSchema({ $id: 'Id', type: 'integer', minimum: 1 })
  app.addSchema({ $id: 'Query', type: 'object', properties: { 'x-a': { type: 'string' } } })

  const declare = (scope: FastifyInstance, { path, schema, options, sends = [] }: Shape): void => {
    scope.get(path, { ...options, websocket: true, ...(schema === undefined ? {} : { schema }) }, async function * () { for (const value of sends as string[]) yield value })
  }
  for (const shape of SHAPES) declare(app, shape)
  await app.register(async scope => {
    scope.addSchema({ $id: 'Own', type: 'string' })
    declare(scope, { path: '/', schema: { receive: { $ref: 'Own#' } } })
    scope.route({ method: 'GET', url: '/both', schema: { receive: Say, response: { 200: { type: 'string' } } }, handler: async () => 'x', wsHandler () {} })
  }, { prefix: '/v1/:tenant' })
  await app.register(async scope => {
    scope.addSchema({ $id: 'Own', type: 'integer' })
    declare(scope, { path: '/own', schema: { receive: { $ref: 'Own#' } } })
  }, { prefix: '/v2' })
  await app.register(async scope => {
    scope.setValidatorCompiler(validatorCompiler)
    scope.setSerializerCompiler(serializerCompiler)
    declare(scope, {
      path: '/zod',
      schema: {
        querystring: z.object({ q: z.string() }),
        receive: z.discriminatedUnion('type', [z.object({ type: z.literal('a'), at: z.coerce.date() }), z.object({ type: z.literal('b') }).meta({ id: 'Bee' })]),
        send: z.object({ n: z.number(), rest: z.array(z.string()).optional(), code: z.codec(z.string(), z.number(), { decode: Number, encode: String }) })
      },
      sends: [{ n: 5, code: 7, more: 1 }]
    })
  })
  await app.ready()
  return app
}

const skip = isInstalled || process.env['CI'] ? false : 'npm run asyncapi installs the parser'

async function diagnose (text: string): Promise<unknown[]> {
  const { Parser } = createRequire(PARSER)('@asyncapi/parser') as { Parser: new () => Parser }
  return (await new Parser().parse(text)).diagnostics
}

test('AsyncAPI\'s own parser has nothing to say of any shape of route', { skip }, async t => {
  const document = (await createApp(t)).asyncapi()
  t.equal(Object.keys(document.channels).length, SHAPES.length - 2 + 4)
  t.strictSame(await diagnose(JSON.stringify(document)), [])
})

test('nor of the document in YAML, or without a route, but of what is wrong', { skip }, async t => {
  const create = async (declare: (app: FastifyInstance) => void): Promise<FastifyInstance> => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(websocket)
    await app.register(asyncapi)
    declare(app)
    await app.ready()
    return app
  }
  const app = await create(app => { app.get('/rooms/:id', { websocket: true, schema: { receive: Type.Union([Say, Left]) } }, () => {}) })
  t.strictSame(await diagnose(app.asyncapi({ yaml: true })), [])
  t.strictSame(await diagnose(JSON.stringify((await create(() => {})).asyncapi())), [])
  const document = app.asyncapi()
  document.channels.rooms_id.parameters.id.schema = { type: 'string' }
  t.not((await diagnose(JSON.stringify(document))).length, 0)
})

/** Whether a text is one of the messages that an operation has. */
function isDocumented (document: AsyncApiDocument, operation: string, text: string): boolean {
  const ajv = new Ajv({ strict: false })
  ajv.addSchema({ channels: document.channels, components: document.components }, 'document')
  return document.operations[operation].messages.some(({ $ref }: { $ref: string }) => ajv.validate({ $ref: `document${$ref}/payload` }, JSON.parse(text)))
}

test('what servers send is what the document says', async t => {
  const app = await createApp(t)
  const document = app.asyncapi()
  const sending = [...SHAPES, { path: '/zod', query: '?q=x', sends: [{}] }].filter(({ sends = [] }) => sends.length > 0)
  let count = 0
  for (const { path, query = '', sends } of sending as Array<Shape & { query?: string }>) {
    const [channel] = Object.entries(document.channels).find(([, { address }]) => address === path)!
    const client = await app.injectWS(path + query, {}, { onInit (client) { client.on('message', data => { received.push(String(data)) }) } })
    const received: string[] = []
    await client.closed
    t.equal(received.length, sends!.length, path)
    for (const text of received) {
      t.ok(isDocumented(document, `${channel}.send`, text), `${path} ${text}`)
      count++
    }
  }
  t.ok(count >= 20)
  t.notOk(isDocumented(document, 'typebox.send', '{"type":"say","text":5}'), 'which not everything is')
  t.notOk(isDocumented(document, 'one-of.send', '{"type":"b","n":5,"secret":1}'))
  t.notOk(isDocumented(document, 'tree.send', '{"id":1,"kids":[{"id":"x","kids":[]}]}'), 'and references lead somewhere')
})
