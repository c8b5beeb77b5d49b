// Routes -> an AsyncAPI document: a channel for each route, an operation for each direction that has a schema, a message for each kind of message.
// AsyncAPI describes the server's point of view: it receives what `schema.receive` allows.
import type { FastifyInstance, RouteOptions } from 'fastify'
import type { AsyncApiDocument, AsyncApiOptions } from '../../types/asyncapi.ts'
import { documentNotMade } from '../errors.ts'
import { toAddress, type PathParameter } from './address.ts'
import { Components } from './components.ts'
import { Identifiers } from './identifiers.ts'
import { toMessages, type Direction, type DocumentedMessage } from './messages.ts'
import { follow, isSchema, outermost, type FindShared, type Schema } from './references.ts'
import { readRoute, type RouteSchemas } from './route-schemas.ts'

// 3.0.0 would do, but AsyncAPI's parser warns that there is a newer version
const VERSION = '3.1.0'
// the only version that the parser knows
const BINDING_VERSION = '0.1.0'
const DIRECTIONS = ['receive', 'send'] as const

/** A route that takes WebSocket handshakes. */
export interface DeclaredRoute {
  /** Where it was declared. */
  readonly instance: FastifyInstance
  readonly route: RouteOptions
  /** The URL as declared. */
  readonly url: string
}

interface Draft extends RouteSchemas {
  readonly constraints: RouteOptions['constraints']
  readonly findShared: FindShared
  readonly messages: Partial<Record<Direction, DocumentedMessage[]>>
  readonly query?: unknown
  readonly headers?: unknown
}

/** @throws SchemaError with the route and the cause */
export function buildDocument (routes: readonly DeclaredRoute[], { document = {}, transform }: AsyncApiOptions): AsyncApiDocument {
  const { info, components: own = {}, ...rest } = document
  const components = new Components(own.schemas ?? {}, unknownReference)
  const drafts = routes.flatMap(({ instance, route, url }) => documenting(url, () => {
    const read = readRoute(route, url, transform, foreignSchema)
    return read === null ? [] : [draft(instance, route, read, components)]
  }))
  const schemas = { ...own.schemas, ...components.finish() }
  const channels: AsyncApiDocument['channels'] = {}
  const operations: AsyncApiDocument['operations'] = {}
  const identifiers = { channels: new Identifiers(), operations: new Identifiers() }
  for (const each of drafts) {
    documenting(each.url, () => {
      const id = identifiers.channels.take(toAddress(each.url).address.replaceAll(/[{}]/g, ''), 'root')
      const { messages, messagesOf } = nameMessages(each.messages)
      channels[id] = toChannel(each, messages)
      for (const direction of DIRECTIONS) {
        if (messagesOf[direction] === undefined) continue
        const name = identifiers.operations.take(operationName(each, id, direction), direction)
        operations[name] = {
          action: direction,
          channel: { $ref: `#/channels/${id}` },
          ...notes(each),
          ...security(each.notes, own.securitySchemes ?? {}),
          messages: messagesOf[direction].map(message => ({ $ref: `#/channels/${id}/messages/${message}` }))
        }
      }
    })
  }
  return {
    asyncapi: VERSION,
    info: { title: 'WebSocket API', version: '1.0.0', ...info },
    defaultContentType: 'application/json',
    ...rest,
    channels,
    operations,
    ...(Object.keys({ ...own, ...schemas }).length === 0 ? {} : { components: { ...own, schemas } })
  } as AsyncApiDocument
}

function documenting<Result> (url: string, make: () => Result): Result {
  try {
    return make()
  } catch (cause) {
    throw documentNotMade(url, cause)
  }
}

const unknownReference = (reference: string): Error => new Error(`the $ref ${JSON.stringify(reference)} cannot be resolved`)
const foreignSchema = (part: string): Error =>
  new Error(`schema.${part} is not JSON Schema, and cannot be converted to it: the option transform of asyncapi can do that`)

/** The parts of a route with schemas, whose components are named only when all routes are known. */
function draft (instance: FastifyInstance, { constraints }: RouteOptions, read: RouteSchemas, components: Components): Draft {
  const findShared: FindShared = id => instance.getSchema(id)
  const { receive, send, querystring, headers } = read.parts
  const add = (schema: unknown): unknown => components.add(schema, outermost(schema, findShared))
  return {
    ...read,
    constraints,
    findShared,
    messages: {
      ...(receive === undefined ? {} : { receive: toMessages(receive, 'receive', findShared, components) }),
      ...(send === undefined ? {} : { send: toMessages(send, 'send', findShared, components) })
    },
    ...(querystring === undefined ? {} : { query: add(querystring) }),
    ...(headers === undefined ? {} : { headers: add(headers) })
  }
}

function toChannel (draft: Draft, messages: Record<string, object>): object {
  const { address, parameters } = toAddress(draft.url)
  const { query, headers } = draft
  return {
    address,
    ...notes(draft),
    ...(Object.keys(messages).length === 0 ? {} : { messages }),
    ...(parameters.length === 0 ? {} : { parameters: toParameters(parameters, draft) }),
    bindings: {
      ws: {
        method: 'GET',
        ...(query === undefined ? {} : { query }),
        ...(headers === undefined ? {} : { headers }),
        bindingVersion: BINDING_VERSION
      }
    }
  }
}

/** The names of the channel's messages, by direction. */
type MessagesOf = Partial<Record<Direction, string[] | undefined>>

/** Names messages; one that is both received and sent appears once. */
function nameMessages (drafts: Draft['messages']): { messages: Record<string, object>, messagesOf: MessagesOf } {
  const identifiers = new Identifiers()
  const known = new Map<string, string>()
  const messages: Record<string, object> = {}
  const messagesOf: MessagesOf = {}
  for (const direction of DIRECTIONS) {
    messagesOf[direction] = drafts[direction]?.map(message => {
      const signature = JSON.stringify(message)
      let name = known.get(signature)
      if (name === undefined) {
        const { base, ...described } = message
        name = identifiers.take(base, direction)
        known.set(signature, name)
        messages[name] = { name, ...described }
      }
      return name
    })
  }
  return { messages, messagesOf }
}

function operationName ({ notes: { operationId }, messages }: Draft, channel: string, direction: Direction): string {
  if (typeof operationId !== 'string') return `${channel}.${direction}`
  return messages.receive === undefined || messages.send === undefined ? operationId : `${operationId}.${direction}`
}

/** Fields common to channels and operations. AsyncAPI has no field for deprecation. */
function notes ({ notes: { summary, description, deprecated, tags, externalDocs }, constraints = {} }: Draft): object {
  const paragraphs = [
    ...(deprecated === true ? ['**Deprecated.**'] : []),
    ...(typeof description === 'string' ? [description] : []),
    ...Object.entries(constraints as Record<string, unknown>).map(([name, value]) => `Only for ${name} ${String(value)}.`)
  ]
  return {
    ...(typeof summary === 'string' ? { summary } : {}),
    ...(paragraphs.length === 0 ? {} : { description: paragraphs.join('\n\n') }),
    ...(Array.isArray(tags) && tags.length > 0 ? { tags: [...new Set(tags)].map(name => ({ name: String(name) })) } : {}),
    ...(externalDocs === undefined ? {} : { externalDocs })
  }
}

/** OpenAPI's `[{ name: scopes }]` -> AsyncAPI's list of schemes; in both, one entry suffices. */
function security ({ security: requirements }: Schema, schemes: Readonly<Record<string, unknown>>): object {
  if (!Array.isArray(requirements)) return {}
  const list = (requirements as unknown[]).flatMap(requirement => Object.entries(Object(requirement) as Record<string, unknown>).map(([name, scopes]) => {
    if (!Object.hasOwn(schemes, name)) throw new Error(`schema.security names ${JSON.stringify(name)}, which document.components.securitySchemes does not have`)
    return Array.isArray(scopes) && scopes.length > 0 ? { ...Object(schemes[name]) as object, scopes } : { $ref: `#/components/securitySchemes/${name}` }
  }))
  return list.length === 0 ? {} : { security: list }
}

/** Parameters have no schema in AsyncAPI: its rules are put into the description. */
function toParameters (parameters: readonly PathParameter[], { parts: { params }, findShared }: Draft): object {
  return Object.fromEntries(parameters.map(({ name, key, pattern, isOptional }) => {
    const schema = propertyOf(params, key, findShared)
    const { $id: _, title: __, description, default: fallback, examples, enum: values, const: value, ...others } = schema
    const rules = [
      ...(isOptional ? ['optional, with the slash before it'] : []),
      ...(key === '*' ? ['the rest of the path'] : []),
      ...(pattern === undefined ? [] : [`matches ${pattern}`]),
      ...Object.entries(others).map(([rule, said]) => `${rule}: ${typeof said === 'string' ? said : JSON.stringify(said)}`)
    ]
    const text = [...(typeof description === 'string' ? [description] : []), ...(rules.length === 0 ? [] : [`(${rules.join(', ')})`])].join(' ')
    const allowed = value === undefined ? values : [value]
    return [name, {
      ...(text === '' ? {} : { description: text }),
      ...(Array.isArray(allowed) ? { enum: allowed.map(toText) } : {}),
      ...(fallback === undefined ? {} : { default: toText(fallback) }),
      ...(Array.isArray(examples) ? { examples: examples.map(toText) } : {})
    }]
  }))
}

/** The schema of one parameter. */
function propertyOf (params: unknown, key: string, findShared: FindShared): Schema {
  if (!isSchema(params)) return {}
  const place = outermost(params, findShared)
  const resolve = (schema: unknown): Schema => {
    if (!isSchema(schema)) return {}
    const referred = typeof schema.$ref === 'string' ? follow(schema.$ref, place)?.schema : undefined
    return isSchema(referred) ? referred : schema
  }
  return resolve((Object(resolve(params).properties) as Record<string, unknown>)[key])
}

function toText (value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
