import type { RouteOptions } from 'fastify'
import { test } from 'tap'
import { readRoute } from '../../lib/asyncapi/route-schemas.ts'
import type { AsyncApiOptions } from '../../types/asyncapi.ts'

const read = (schema: object | undefined, transform?: AsyncApiOptions['transform']) =>
  readRoute({ method: 'GET', url: '/a', schema } as RouteOptions, '/a', transform, part => new Error(`foreign: ${part}`))

test('messages and handshake are told from what only documents, and the parts of an HTTP route are left out', t => {
  const schema = { receive: { type: 'string' }, send: true, params: { type: 'object' }, query: { type: 'object' }, body: {}, response: {}, hide: false, summary: 'A', tags: ['a'] }
  t.strictSame(read(schema), {
    url: '/a',
    parts: { receive: { type: 'string' }, send: true, params: { type: 'object' }, querystring: { type: 'object' } },
    notes: { summary: 'A', tags: ['a'] }
  })
  t.strictSame(read(undefined), { url: '/a', parts: {}, notes: {} })
  t.end()
})

test('a transform may hide a route, change its URL, and convert messages under their own names or as body and response', t => {
  const receive = { foreign: 1 }
  const send = { foreign: 2 }
  t.equal(read({ receive }, ({ url }) => ({ schema: { hide: true }, url })), null)
  const own = read({ receive, send }, ({ schema }) => ({ schema: { ...schema, receive: { type: 'string' }, send: { type: 'number' } }, url: '/b' }))
  t.match(own, { url: '/b', parts: { receive: { type: 'string' }, send: { type: 'number' } } })
  const http = read({ receive, send }, ({ schema, url }) => ({ schema: { ...schema, body: { type: 'boolean' }, response: { 101: { type: 'null' } } }, url }))
  t.match(http, { url: '/a', parts: { receive: { type: 'boolean' }, send: { type: 'null' } } })
  t.end()
})

test('what is no JSON Schema is an error that names the part, unless it can convert itself', t => {
  class Foreign {}
  for (const part of ['receive', 'send', 'params']) t.throws(() => read({ [part]: new Foreign() }), { message: `foreign: ${part}` })
  const standard = (vendor: string) => ({ '~standard': { vendor, jsonSchema: { input: () => ({ type: 'string' }), output: () => ({ type: 'number' }) } } })
  t.match(read({ receive: standard('other'), send: standard('other') }), { parts: { receive: { type: 'string' }, send: { type: 'number' } } })
  t.match(read({ send: standard('zod') }), { parts: { send: { type: 'string' } } }, 'as its serializer encodes')
  t.end()
})
