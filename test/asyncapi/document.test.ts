// What the document says of a route.
import Fastify, { type FastifyInstance, type FastifyPluginCallback, type RouteShorthandOptions } from 'fastify'
import { jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import fluent from 'fluent-json-schema'
import { test, type Test } from 'tap'
import { Type } from 'typebox'
import { z } from 'zod'
import { asyncapi, type AsyncApiDocument, type AsyncApiOptions } from '../../lib/asyncapi/index.ts'
import websocket from '../../lib/index.ts'

type Routes = (app: FastifyInstance) => unknown

async function documentOf (t: Test, routes: Routes, options: AsyncApiOptions = {}): Promise<AsyncApiDocument> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(websocket)
  await app.register(asyncapi, options)
  await routes(app)
  await app.ready()
  return app.asyncapi()
}

/** A route that does nothing. */
function declare (app: FastifyInstance, path: string, schema: object = {}, options: RouteShorthandOptions = {}): void {
  app.get(path, { ...options, websocket: true, schema }, () => {})
}

const SAY = { type: 'object', properties: { type: { const: 'say' }, text: { type: 'string' } }, required: ['type'] }
const SIT = { type: 'object', properties: { type: { const: 'sit' } }, required: ['type'] }
const OTHER = { '~standard': { version: 1, vendor: 'other', jsonSchema: { input: () => ({ type: 'number' }), output: () => ({ type: 'string' }) } } }
const BINDINGS = { ws: { method: 'GET', bindingVersion: '0.1.0' } }

test('a route is a channel, a direction an operation, and a member of a union a message', async t => {
  const document = await documentOf(t, app => { declare(app, '/chat', { receive: { anyOf: [SAY, SIT] }, send: SAY }) })
  const message = (name: string): object => ({ $ref: `#/channels/chat/messages/${name}` })
  t.strictSame(document, {
    asyncapi: '3.1.0',
    info: { title: 'WebSocket API', version: '1.0.0' },
    defaultContentType: 'application/json',
    channels: {
      chat: {
        address: '/chat',
        messages: { say: { name: 'say', payload: SAY }, sit: { name: 'sit', payload: SIT } },
        bindings: BINDINGS
      }
    },
    operations: {
      'chat.receive': { action: 'receive', channel: { $ref: '#/channels/chat' }, messages: [message('say'), message('sit')] },
      'chat.send': { action: 'send', channel: { $ref: '#/channels/chat' }, messages: [message('say')] }
    }
  })
})

test('a direction without a schema is no operation: nobody knows what is said', async t => {
  const { channels, operations } = await documentOf(t, app => {
    declare(app, '/')
    app.get('/none', { websocket: true }, () => {})
    declare(app, '/one', { send: true })
    app.route({ method: 'GET', url: '/both', schema: { receive: false }, handler: async () => 'x', wsHandler () {} })
    app.get('/http', async () => 'x')
  })
  t.strictSame(Object.keys(channels), ['root', 'none', 'one', 'both'])
  t.strictSame(channels.root, { address: '/', bindings: BINDINGS })
  t.strictSame(Object.keys(operations), ['one.send', 'both.receive'])
  t.strictSame([channels.one.messages, channels.both.messages], [{ send: { name: 'send', payload: {} } }, { receive: { name: 'receive', payload: { not: {} } } }])
})

test('a message is called what its schema is, else by its tag, its title, or its place', async t => {
  const closed = { type: 'object', additionalProperties: false }
  const { channels, operations, components } = await documentOf(t, app => {
    app.addSchema({ $id: 'https://a.example/Said.json', title: 'Somebody spoke', description: 'To all.', ...SAY })
    declare(app, '/tagged', { receive: { oneOf: [{ $id: 'Say', ...SAY }, { ...SIT, description: 'Rest.' }] }, send: { $ref: 'https://a.example/Said.json#' } })
    declare(app, '/numbers', { receive: { anyOf: [1, 2].map(v => ({ type: 'object', properties: { v: { const: v } }, required: ['v'] })) } })
    declare(app, '/untagged', { receive: { anyOf: [closed, { title: 'A text', type: 'string' }, true] }, send: { title: 'A text', type: 'string' } })
    declare(app, '/same', { receive: { anyOf: [SAY, { $ref: '#/$defs/sit' }], $defs: { sit: SIT } }, send: { anyOf: [SIT, SAY] } })
    declare(app, '/more', { receive: { type: 'object', required: ['id'], properties: { id: { type: 'integer' } }, anyOf: [SAY, SIT] } })
  })
  t.strictSame(channels.tagged.messages, {
    Say: { name: 'Say', payload: { $ref: '#/components/schemas/Say' } },
    sit: { name: 'sit', description: 'Rest.', payload: { ...SIT, description: 'Rest.' } },
    'Said.json': { name: 'Said.json', title: 'Somebody spoke', description: 'To all.', payload: { $ref: '#/components/schemas/Said.json' } }
  })
  t.strictSame(Object.keys(components!.schemas), ['Say', 'Said.json', 'sit'])
  t.strictSame(Object.keys(channels.numbers.messages), ['1', '2'])
  t.strictSame(Object.keys(channels.untagged.messages), ['receive-1', 'A_text', 'receive-3'], 'one that is received and sent is one message')
  t.strictSame(Object.entries(channels.untagged.messages).map(([key, { name }]: any) => key === name), [true, true, true])
  t.strictSame(operations['untagged.send'].messages, [{ $ref: '#/channels/untagged/messages/A_text' }])
  t.strictSame(Object.keys(channels.same.messages), ['say', 'sit', 'sit-2'])
  t.strictSame(channels.more.messages.sit.payload, { type: 'object', required: ['id'], properties: { id: { type: 'integer' } }, allOf: [SIT] })
})

test('what is told of a route is told of its channel and its operations', async t => {
  const { channels, operations } = await documentOf(t, app => {
    declare(app, '/a', { summary: 'Short', description: 'Long.', deprecated: true, tags: ['x', 'y', 'x'], externalDocs: { url: 'https://a.example' }, operationId: 'act', receive: SAY })
    declare(app, '/b', { operationId: 'act', receive: SAY, send: SAY, tags: [] })
  })
  const told = { summary: 'Short', description: '**Deprecated.**\n\nLong.', tags: [{ name: 'x' }, { name: 'y' }], externalDocs: { url: 'https://a.example' } }
  t.match(channels.a, told)
  t.match(operations.act, told)
  t.strictSame(Object.keys(operations), ['act', 'act.receive', 'act.send'])
  t.strictSame(Object.keys(channels.b), ['address', 'messages', 'bindings'])
})

test('parameters are told in words, as they have no schema', async t => {
  const { channels } = await documentOf(t, app => {
    app.addSchema({ $id: 'Id', type: 'integer', minimum: 1 })
    const params = {
      type: 'object',
      properties: {
        id: { $ref: 'Id#' },
        size: { description: 'How large.', type: 'integer', enum: [1, 2], default: 1, examples: [2, 'x'] },
        kind: { const: 'a' }
      }
    }
    declare(app, '/:id(^\\d+$)/:size/:kind/:other/*', { params })
    declare(app, '/optional/:id?', { params: { $ref: '#/$defs/p', $defs: { p: params } } })
    declare(app, '/boolean/:id', { params: true })
  })
  t.strictSame(channels.id_size_kind_other_wildcard.address, '/{id}/{size}/{kind}/{other}/{wildcard}')
  t.strictSame(channels.id_size_kind_other_wildcard.parameters, {
    id: { description: '(matches ^\\d+$, type: integer, minimum: 1)' },
    size: { description: 'How large. (type: integer)', enum: ['1', '2'], default: '1', examples: ['2', 'x'] },
    kind: { enum: ['a'] },
    other: {},
    wildcard: { description: '(the rest of the path)' }
  })
  t.strictSame(channels.optional_id.parameters, { id: { description: '(optional, with the slash before it, type: integer, minimum: 1)' } })
  t.strictSame(channels.boolean_id.parameters, { id: {} })
})

test('query and headers are what the binding says of the handshake', async t => {
  const strings = (name: string): object => ({ type: 'object', properties: { [name]: { type: 'string' } } })
  const { channels } = await documentOf(t, app => {
    declare(app, '/a', { querystring: strings('q'), headers: strings('x-a') })
    declare(app, '/b', { query: strings('q') })
    declare(app, '/c', { querystring: true })
  })
  t.strictSame(['a', 'b', 'c'].map(id => channels[id].bindings.ws), [
    { method: 'GET', query: strings('q'), headers: strings('x-a'), bindingVersion: '0.1.0' },
    { method: 'GET', query: strings('q'), bindingVersion: '0.1.0' },
    { method: 'GET', query: {}, bindingVersion: '0.1.0' }
  ])
})

test('one URL with several constraints is several channels', async t => {
  const { channels } = await documentOf(t, app => {
    declare(app, '/chat')
    declare(app, '/chat', { description: 'Newer.' }, { constraints: { version: '2.0.0' } })
    declare(app, '/chat', {}, { constraints: { host: /\.example$/ } })
  })
  t.strictSame(Object.entries(channels).map(([id, { address, description }]) => [id, address, description]), [
    ['chat', '/chat', undefined], ['chat-2', '/chat', 'Newer.\n\nOnly for version 2.0.0.'], ['chat-3', '/chat', 'Only for host /\\.example$/.']
  ])
})

test('who hides a route, by its schema, a tag or a transform, does not find it', async t => {
  const routes: Routes = app => {
    declare(app, '/shown')
    declare(app, '/shown-to-all', { hide: false })
    declare(app, '/hidden', { hide: true })
    declare(app, '/x', { tags: ['X-HIDDEN'] })
    declare(app, '/internal', { tags: ['internal'] })
    app.route({ method: 'GET', url: '/both', handler: async () => 'x', wsHandler () {} })
    app.route({ method: 'GET', url: '/both-hidden', schema: { hide: true }, handler: async () => 'x', wsHandler () {} })
  }
  const shown = async (options: AsyncApiOptions): Promise<string[]> => Object.keys((await documentOf(t, routes, options)).channels)
  t.strictSame(await shown({}), ['shown', 'shown-to-all', 'internal', 'both'])
  t.strictSame(await shown({ hiddenTag: 'internal' }), ['shown', 'shown-to-all', 'x', 'both'])
  t.strictSame(await shown({ transform: ({ schema, url }) => ({ schema: { ...schema, hide: url === '/shown' }, url }) }), ['shown-to-all', 'internal', 'both'])
})

test('security is a list of schemes of the document, of which one suffices', async t => {
  const bearer = { type: 'http', scheme: 'bearer' }
  const oauth = { type: 'oauth2', flows: {} }
  const { operations, channels, components } = await documentOf(t, app => {
    declare(app, '/a', { receive: SAY, security: [{ bearer: [] }, { oauth: ['read'] }] })
    declare(app, '/b', { receive: SAY, security: [{}] })
  }, { document: { components: { securitySchemes: { bearer, oauth } } } })
  t.strictSame(operations['a.receive'].security, [{ $ref: '#/components/securitySchemes/bearer' }, { ...oauth, scopes: ['read'] }])
  t.strictSame([channels.a.security, operations['b.receive'].security], [undefined, undefined])
  t.strictSame(components, { securitySchemes: { bearer, oauth }, schemas: {} })
})

test('what is given for the document is in it', async t => {
  const given = {
    asyncapi: '3.0.0' as const,
    id: 'urn:example',
    info: { title: 'Chat', license: { name: 'MIT' } },
    servers: { here: { host: 'a.example', protocol: 'wss' } },
    'x-own': 1,
    components: { schemas: { User: { type: 'string' } } }
  }
  const document = await documentOf(t, app => { declare(app, '/', { send: SAY }) }, {
    document: given, transform: ({ url }) => ({ url, schema: { send: { $ref: '#/components/schemas/User' } } })
  })
  t.match(document, { ...given, info: { title: 'Chat', version: '1.0.0', license: { name: 'MIT' } } })
  t.strictSame(document.channels.root.messages.User.payload, { $ref: '#/components/schemas/User' })
})

test('each scope knows its own schemas, and prefixes count', async t => {
  const scope = (prefix: string, type: string): [FastifyPluginCallback, { prefix: string }] => [(child, _, done) => {
    child.addSchema({ $id: 'Own', type, title: type })
    declare(child, '/:id', { receive: { $ref: 'Own#' }, send: { $ref: 'Shared' } })
    declare(child, '/', {})
    done()
  }, { prefix }]
  const { channels, components } = await documentOf(t, app => {
    app.addSchema({ $id: 'Shared', type: 'boolean' })
    app.register(...scope('/a', 'string'))
    app.register(...scope('/b', 'integer'))
  })
  t.strictSame(Object.values(channels).map(({ address }) => address), ['/a/{id}', '/a', '/b/{id}', '/b'])
  t.strictSame(components!.schemas, { Own: { type: 'string', title: 'string' }, Shared: { type: 'boolean' }, 'Own-2': { type: 'integer', title: 'integer' } })
  t.strictSame(channels.b_id.messages.Own, { name: 'Own', title: 'integer', payload: { $ref: '#/components/schemas/Own-2' } })
})

test('what says itself what its JSON Schema is needs no transform: zod, and what fluent-json-schema and TypeBox build', async t => {
  const Tree = z.object({ get kids () { return z.array(Tree) } }).meta({ id: 'Tree' })
  const { channels, components } = await documentOf(t, async app => {
    declare(app, '/fluent', { receive: fluent.default.object().prop('a', fluent.default.string()) })
    declare(app, '/typebox', { receive: Type.Union([Type.Object({ type: Type.Literal('say') }), Type.Object({ type: Type.Literal('sit') })]) })
    await app.register(async scope => {
      scope.setValidatorCompiler(validatorCompiler)
      scope.setSerializerCompiler(serializerCompiler)
      declare(scope, '/zod', {
        querystring: z.object({ q: z.coerce.number().default(1) }),
        receive: z.discriminatedUnion('type', [z.object({ type: z.literal('say'), at: z.coerce.date(), n: z.string().transform(Number) }), z.object({ type: z.literal('grow'), tree: Tree })]),
        send: z.object({ n: z.number().default(1), at: z.codec(z.iso.datetime(), z.date(), { decode: text => new Date(text), encode: date => date.toISOString() }) })
      })
      declare(scope, '/other', { send: OTHER }, { serializerCompiler: () => JSON.stringify })
    })
  })
  t.match(channels.fluent.messages.receive.payload, { type: 'object', properties: { a: { type: 'string' } } })
  t.strictSame(Object.keys(channels.typebox.messages), ['say', 'sit'])
  t.strictSame(channels.zod.bindings.ws.query, { type: 'object', properties: { q: { default: 1, type: 'number' } } })
  const { say, grow, send } = channels.zod.messages
  t.strictSame(say.payload, { type: 'object', properties: { type: { type: 'string', const: 'say' }, at: {}, n: { type: 'string' } }, required: ['type', 'at', 'n'] })
  t.match(grow.payload, { properties: { tree: { $ref: '#/components/schemas/Tree' } } })
  t.match(send.payload, { properties: { n: { default: 1, type: 'number' }, at: { type: 'string', format: 'date-time' } }, required: ['at'] }, 'which is encoded')
  t.strictSame(channels.other.messages.send.payload, { type: 'string' })
  t.match(components!.schemas.Tree, { properties: { kids: { items: { $ref: '#/components/schemas/Tree' } } } })
})

test('a transform for @fastify/swagger does here, too', async t => {
  const routes: Routes = async app => {
    app.setValidatorCompiler(validatorCompiler)
    app.setSerializerCompiler(serializerCompiler)
    declare(app, '/zod/:id', {
      params: z.object({ id: z.string() }), tags: ['x'], receive: z.object({ a: z.string() }), send: z.object({ at: z.date() }), response: { 200: z.string() }
    })
    declare(app, '/none')
  }
  const { channels } = await documentOf(t, routes, { transform: jsonSchemaTransform })
  const { messages, parameters, tags } = channels.zod_id
  t.match(messages.receive.payload, { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] })
  t.match(messages.send.payload, { properties: { at: { type: 'string', format: 'date-time' } } })
  t.strictSame([parameters, tags], [{ id: { description: '(type: string)' } }, [{ name: 'x' }]])
  t.strictSame(channels.none, { address: '/none', bindings: BINDINGS })
})

test('a transform may change the URL, and what is received and sent, by those names', async t => {
  const seen: unknown[] = []
  const { channels } = await documentOf(t, app => { declare(app, '/a', { receive: SAY, send: SIT, response: { 200: SIT }, custom: 1 }) }, {
    transform ({ schema, url, route, openapiObject }) {
      seen.push(JSON.parse(JSON.stringify(schema)), url, route.method, openapiObject)
      return { schema: { ...schema, receive: { type: 'string' }, send: undefined }, url: `/v1${url}/:id` }
    }
  })
  t.strictSame(seen, [{ receive: SAY, send: SIT, custom: 1, body: SAY, response: { 101: SIT } }, '/a', 'GET', { openapi: '3.1.0' }])
  t.strictSame([channels.v1_a_id.address, channels.v1_a_id.messages], ['/v1/a/{id}', { receive: { name: 'receive', payload: { type: 'string' } } }])
})

test('what cannot be documented makes ready() reject, with the route and the cause', async t => {
  class Foreign { readonly kind = 'own' }
  const compile: RouteShorthandOptions = { validatorCompiler: () => () => true, serializerCompiler: () => JSON.stringify }
  const routes: Array<[routes: Routes, message: RegExp, options?: AsyncApiOptions]> = [
    [app => { declare(app, '/a', { receive: new Foreign() }, compile) }, /^the WebSocket route \/a cannot be documented: schema\.receive is not JSON Schema, .* transform/],
    [app => { declare(app, '/a', { send: 5 }, compile) }, /route \/a .*schema\.send is not JSON Schema/],
    [app => { declare(app, '/a', { receive: { $ref: 'Missing#' } }, compile) }, /route \/a .*the \$ref "Missing#" cannot be resolved/],
    [app => { declare(app, '/a', { receive: SAY, security: [{ toString: [] }] }) }, /route \/a .*schema\.security names "toString", which document\.components\.securitySchemes/],
    [app => { declare(app, '/a') }, /route \/a .*failed/, { transform () { throw new Error('failed') } }]
  ]
  for (const [declared, message, options] of routes) {
    await t.rejects(documentOf(t, declared, options), { name: 'SchemaError', code: 'FST_WS_ASYNCAPI', message, cause: Error }, String(message))
  }
})
