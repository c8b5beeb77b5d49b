// The schemas of a route's messages and handshake, as JSON Schema.
import type { RouteOptions } from 'fastify'
import type { AsyncApiOptions } from '../../types/asyncapi.ts'
import { plain } from '../messages/plain.ts'
import { isSchema, type Schema } from './references.ts'

const PARTS = ['receive', 'send', 'params', 'querystring', 'headers'] as const
export type Part = typeof PARTS[number]

export interface RouteSchemas {
  /** In Fastify's syntax. */
  readonly url: string
  readonly parts: Readonly<Partial<Record<Part, unknown>>>
  /** The rest of the route's schema: summary, tags and other documentation. */
  readonly notes: Schema
}

// status of the response that opens a connection
const SWITCHING = 101

/**
 * @param onForeign creates the error for a schema that is not JSON Schema
 * @returns null for a route that the transform hides
 */
export function readRoute (
  route: RouteOptions, declaredUrl: string, transform: AsyncApiOptions['transform'], onForeign: (part: Part) => Error
): RouteSchemas | null {
  const { hide: _, body: __, response: ___, query, ...given } = (route.schema ?? {}) as Record<string, unknown>
  const { receive, send } = given
  let schema: Record<string, unknown> = query === undefined ? given : { ...given, querystring: query }
  let url = declaredUrl
  if (transform !== undefined) {
    const input = {
      ...schema,
      ...(receive === undefined ? {} : { body: receive }),
      ...(send === undefined ? {} : { response: { [SWITCHING]: send } })
    }
    const transformed = transform({ schema: input, url, route, openapiObject: { openapi: '3.1.0' } })
    url = transformed.url
    const { body, response, hide, ...rest } = transformed.schema as Record<string, unknown>
    if (hide === true) return null
    // a transform may have converted receive and send; one that does not know them has converted body and response
    schema = {
      ...rest,
      receive: rest.receive === receive ? body : rest.receive,
      send: rest.send === send ? (response as Record<number, unknown> | undefined)?.[SWITCHING] : rest.send
    }
  }
  const parts: Partial<Record<Part, unknown>> = {}
  for (const part of PARTS) {
    if (schema[part] !== undefined) parts[part] = toJsonSchema(schema[part], part, onForeign)
    delete schema[part]
  }
  return { url, parts, notes: schema }
}

function toJsonSchema (given: unknown, part: Part, onForeign: (part: Part) => Error): unknown {
  const schema = plain(given)
  if (typeof schema === 'boolean') return schema
  const convert = converterOf(schema, part)
  if (convert !== undefined) return convert({ target: 'draft-07', libraryOptions: { unrepresentable: 'any' } })
  if (!isSchema(schema) || !isPlain(schema)) throw onForeign(part)
  return schema
}

type Convert = (options: object) => unknown

/** The converter of a schema that implements Standard JSON Schema (standardschema.dev). */
function converterOf (schema: unknown, part: Part): Convert | undefined {
  const { vendor, jsonSchema } = (Object(schema) as { '~standard'?: { vendor?: string, jsonSchema?: { input?: Convert, output?: Convert } } })['~standard'] ?? {}
  // zod's serializer encodes, which leads from the output of a schema back to its input
  return part === 'send' && vendor !== 'zod' ? jsonSchema?.output : jsonSchema?.input
}

function isPlain (schema: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(schema)
  return prototype === null || prototype === Object.prototype
}
