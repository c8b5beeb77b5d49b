// schema.receive and schema.send of routes: compiled once, when the app becomes ready, by the compilers of the scope that declares the route.
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import { schemaNotBuilt } from '../errors.ts'
import { createJsonParser, type JsonParser } from '../messages/json-parser.ts'
import { createUnionValidate, MessageDecoder } from '../messages/message-decoder.ts'
import { createUnionSerialize, MessageEncoder, type Serialize } from '../messages/message-encoder.ts'
import { plain } from '../messages/plain.ts'
import { findTaggedUnion, unionMembers, type Tag } from '../messages/tagged-union.ts'
import { createValidate, isAjvs, type CompiledValidator, type Validate } from '../messages/validation.ts'

/** Converts messages of a route to values and back; a direction without a schema is absent. */
export interface MessageCodec {
  readonly decoder?: MessageDecoder
  readonly encoder?: MessageEncoder
}

type Route = Pick<RouteOptions, 'url' | 'schema' | 'validatorCompiler' | 'serializerCompiler'>

interface Declaration {
  /** Where it was declared. */
  readonly instance: FastifyInstance
  readonly route: Route
  readonly onCompiled: (codec: MessageCodec) => void
}

/** The routes of one registration that have schemas for messages. */
export class MessageSchemas {
  readonly #declarations: Declaration[] = []

  /**
   * To be called when a route is declared, before Fastify reads its schema.
   * @param onCompiled called when the app becomes ready
   */
  add (instance: FastifyInstance, route: Route, onCompiled: (codec: MessageCodec) => void): void {
    const { schema } = route
    if (schema?.receive === undefined && schema?.send === undefined) return
    route.schema = withCompilers(schema)
    this.#declarations.push({ instance, route, onCompiled })
  }

  /** @throws SchemaError with the route, the direction and the cause */
  compile (): void {
    for (const { instance, route, onCompiled } of this.#declarations) {
      const { receive, send } = route.schema!
      const decoder = receive === undefined ? undefined : building('receive', route, () => createDecoder(instance, route, plain(receive)))
      const encoder = send === undefined ? undefined : building('send', route, () => createEncoder(instance, route, plain(send)))
      onCompiled({ ...(decoder === undefined ? {} : { decoder }), ...(encoder === undefined ? {} : { encoder }) })
      dropHelpers(route.schema!)
    }
  }
}

// Fastify sets up a scope's compilers only if a route has something to compile: these are empty placeholders.
const NO_BODY = { content: {} }
const NO_RESPONSE = {}

/** Returns a copy, as other routes may share the schema object. */
function withCompilers (schema: FastifySchema): FastifySchema {
  return {
    ...schema,
    ...(schema.receive !== undefined && schema.body === undefined ? { body: NO_BODY } : {}),
    ...(schema.send !== undefined && schema.response === undefined ? { response: NO_RESPONSE } : {})
  }
}

/** Removes the placeholders, which would confuse generators of API documentation. */
function dropHelpers (schema: FastifySchema): void {
  if (schema.body === NO_BODY) delete schema.body
  if (schema.response === NO_RESPONSE) delete schema.response
}

function building<Codec> (direction: 'receive' | 'send', { url }: Route, build: () => Codec): Codec {
  try {
    return build()
  } catch (cause) {
    throw schemaNotBuilt(direction, url, cause)
  }
}

function createDecoder (instance: FastifyInstance, route: Route, schema: unknown): MessageDecoder {
  const { url } = route
  const compiler = (route.validatorCompiler ?? instance.validatorCompiler) as NonNullable<FastifyInstance['validatorCompiler']>
  const compile = (part: unknown): CompiledValidator => compiler({ schema: part, method: 'GET', url, httpPart: 'body' }) as CompiledValidator
  const union = findTaggedUnion(schema, reference => findSchema(instance, reference))
  if (union === null) {
    const validator = compile(schema)
    if (isAjvs(validator) && hasClosedMember(schema) && takesAway(compile(CLOSED))) warn(instance, url)
    return new MessageDecoder(createJsonParser(strictParser(instance)), createValidate(validator))
  }
  const validates = new Map<Tag, Validate>()
  for (const [tag, member] of union.members) validates.set(tag, createValidate(compile(member)))
  return new MessageDecoder(createJsonParser(strictParser(instance)), createUnionValidate(union.property, validates))
}

function createEncoder (instance: FastifyInstance, route: Route, schema: unknown): MessageEncoder {
  const { url } = route
  const compiler = (route.serializerCompiler ?? instance.serializerCompiler) as NonNullable<FastifyInstance['serializerCompiler']>
  const compile = (part: unknown): Serialize => compiler({ schema: part, method: 'GET', url, httpStatus: '101' })
  const union = findTaggedUnion(schema, reference => findSchema(instance, reference))
  if (union === null) return new MessageEncoder(compile(schema))
  const serializers = new Map<Tag, Serialize>()
  for (const [tag, member] of union.members) serializers.set(tag, compile(member))
  return new MessageEncoder(createUnionSerialize(union.property, serializers))
}

/** Finds a schema added with addSchema() by its `$id`. */
function findSchema (instance: FastifyInstance, reference: string): unknown {
  return instance.getSchema(reference.replace(/#$/, ''))
}

/** Parses JSON as the app parses bodies, with its onProtoPoisoning and onConstructorPoisoning. */
function strictParser (instance: FastifyInstance): JsonParser {
  const { onProtoPoisoning = 'error', onConstructorPoisoning = 'error' } = instance.initialConfig
  const parse = instance.getDefaultJsonParser(onProtoPoisoning, onConstructorPoisoning) as
    (request: unknown, text: string, done: (error: Error | null, value?: unknown) => void) => void
  return text => {
    let result: unknown
    parse(null, text, (error, value) => {
      if (error !== null) throw new SyntaxError('it cannot be parsed, or has a key that onProtoPoisoning or onConstructorPoisoning forbids')
      result = value
    })
    return result
  }
}

// Untagged unions

const CLOSED = { type: 'object', properties: {}, additionalProperties: false }

function hasClosedMember (schema: unknown): boolean {
  return unionMembers(schema)?.some(member => (Object(member) as { additionalProperties?: unknown }).additionalProperties === false) === true
}

/** Whether validators of this kind remove additional properties (Ajv's removeAdditional, which Fastify sets). */
function takesAway (validator: CompiledValidator): boolean {
  const value = { additional: true }
  return validator(value) === true && !('additional' in value)
}

function warn ({ log }: FastifyInstance, url: string): void {
  log.warn(`schema.receive of the WebSocket route ${url} is a union whose members no property distinguishes, and one of them forbids additional properties: ` +
    'Ajv (removeAdditional) removes fields from messages of other members. Give each member a required property with its own const, or set ' +
    'removeAdditional: false')
}
