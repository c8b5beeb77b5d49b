import type { RouteOptions } from 'fastify'

/** A JSON document by AsyncAPI 3.1. */
export interface AsyncApiDocument {
  asyncapi: string
  info: { title: string, version: string, [key: string]: any }
  channels: Record<string, any>
  operations: Record<string, any>
  components?: Record<string, any>
  [key: string]: any
}

/** The parts of the document that routes do not provide, copied unchanged. */
export interface AsyncApiFoundation {
  /** Default: '3.1.0'. For tools that do not know that yet; the document is the same. */
  asyncapi?: '3.0.0' | '3.1.0' | undefined
  /** Default: `{ title: 'WebSocket API', version: '1.0.0' }`. */
  info?: { title?: string | undefined, version?: string | undefined, [key: string]: unknown } | undefined
  /** By name: `{ host, protocol, pathname?, security?, ... }`. Default: none. */
  servers?: Record<string, object> | undefined
  /** `securitySchemes`, to which `schema.security` of routes refers, and any other components. */
  components?: Record<string, Record<string, unknown>> | undefined
  [key: string]: unknown
}

/** A route to be documented, in the form that @fastify/swagger passes to its own `transform`. */
export interface AsyncApiTransformInput {
  /** The route's schema, with `receive` also as `body` and `send` also as `response[101]`, as transforms for @fastify/swagger expect. */
  schema: Record<string, any>
  url: string
  route: RouteOptions
  /** For transforms that choose the dialect of JSON Schema by the version of OpenAPI. */
  openapiObject: { openapi: '3.1.0' }
}

export interface AsyncApiTransformed {
  schema: object
  url: string
}

export interface AsyncApiOptions {
  /** The parts of the document that routes do not provide. */
  document?: AsyncApiFoundation | undefined
  /** The document is served on this path plus `.json` and `.yaml`; false: not served. Default: '/asyncapi'. */
  path?: string | false | undefined
  /**
   * Converts schemas of other libraries to JSON Schema. Not needed for those with Standard JSON Schema, such as zod (4.2 and newer) and ArkType.
   * A transform written for @fastify/swagger fits. May hide a route by returning a schema with `hide: true`.
   */
  transform?: ((input: AsyncApiTransformInput) => AsyncApiTransformed) | undefined
  /** Routes with this tag are not documented. Default: 'X-HIDDEN'. */
  hiddenTag?: string | undefined
}

/** Returns the document of an app: a copy as an object, or text in YAML. @throws SchemaError (FST_WS_ASYNCAPI) before the app is ready */
export interface GetAsyncApi {
  (options?: { yaml?: false | undefined }): AsyncApiDocument
  (options: { yaml: true }): string
}

interface AsyncApiMembers {
  readonly asyncapi: GetAsyncApi
}

/** The keys of @fastify/swagger for HTTP routes, with identical types, so that both can be loaded. */
interface DocumentationKeys {
  /** True: not documented. */
  hide?: boolean
  deprecated?: boolean
  tags?: readonly string[]
  summary?: string
  description?: string
  externalDocs?: { url: string, description?: string }
  /** Names of `components.securitySchemes`, with scopes; one entry of the list suffices. */
  security?: ReadonlyArray<{ [securityLabel: string]: readonly string[] }>
  operationId?: string
}

declare module 'fastify' {
  interface FastifyInstance extends AsyncApiMembers {}
  interface FastifySchema extends DocumentationKeys {}
}
