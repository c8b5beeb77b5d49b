import type { RouteOptions } from 'fastify'

/** A JSON document, as AsyncAPI 3.1 says what is in it. */
export interface AsyncApiDocument {
  asyncapi: string
  info: { title: string, version: string, [key: string]: any }
  channels: Record<string, any>
  operations: Record<string, any>
  components?: Record<string, any>
  [key: string]: any
}

/** What routes do not say: all of it goes into the document as it is. */
export interface AsyncApiFoundation {
  /** Default: '3.1.0'. For tools that do not know that yet; the document is the same. */
  asyncapi?: '3.0.0' | '3.1.0' | undefined
  /** Default: `{ title: 'WebSocket API', version: '1.0.0' }`. */
  info?: { title?: string | undefined, version?: string | undefined, [key: string]: unknown } | undefined
  /** By name: `{ host, protocol, pathname?, security?, ... }`. Default: none. */
  servers?: Record<string, object> | undefined
  /** `securitySchemes`, which a route's `schema.security` names, and whatever else is to be referred to. */
  components?: Record<string, Record<string, unknown>> | undefined
  [key: string]: unknown
}

/** A route as it is going to be documented, in the shape that @fastify/swagger gives to its own `transform`. */
export interface AsyncApiTransformInput {
  /** That of the route, with what it receives as `body` and what it sends as `response[101]`: so Fastify has them compiled, too. */
  schema: Record<string, any>
  url: string
  route: RouteOptions
  /** For transforms that ask which version of OpenAPI, and so which JSON Schema, is wanted. */
  openapiObject: { openapi: '3.1.0' }
}

export interface AsyncApiTransformed {
  schema: object
  url: string
}

export interface AsyncApiOptions {
  /** What routes do not say. */
  document?: AsyncApiFoundation | undefined
  /** The document is served on this path with `.json` and `.yaml` behind it; false: nowhere. Default: '/asyncapi'. */
  path?: string | false | undefined
  /**
   * Makes JSON Schema of what is none. Not needed for what says by itself what its JSON Schema is, as zod (4.2 and newer), ArkType and others do
   * (Standard JSON Schema). What takes a transform for @fastify/swagger has one that fits. May hide a route by `hide: true` in its schema.
   */
  transform?: ((input: AsyncApiTransformInput) => AsyncApiTransformed) | undefined
  /** Routes with this tag are not documented. Default: 'X-HIDDEN'. */
  hiddenTag?: string | undefined
}

/** The document of an app: as an object, which is a copy, or as text in YAML. After ready(). */
export interface GetAsyncApi {
  (options?: { yaml?: false | undefined }): AsyncApiDocument
  (options: { yaml: true }): string
}

interface AsyncApiMembers {
  readonly asyncapi: GetAsyncApi
}

/** What @fastify/swagger has for HTTP routes, in the same types, so that the two stand beside each other. */
interface DocumentationKeys {
  /** Not documented. */
  hide?: boolean
  deprecated?: boolean
  tags?: readonly string[]
  summary?: string
  description?: string
  externalDocs?: { url: string, description?: string }
  /** Names of `components.securitySchemes`, with scopes; one of the list suffices. */
  security?: ReadonlyArray<{ [securityLabel: string]: readonly string[] }>
  operationId?: string
}

declare module 'fastify' {
  interface FastifyInstance extends AsyncApiMembers {}
  interface FastifySchema extends DocumentationKeys {}
}
