import type { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import type {
  ContextConfigDefault, FastifyBaseLogger, FastifyInstance, FastifyRequest, FastifySchema, FastifyTypeProvider,
  FastifyTypeProviderDefault, RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault,
  RequestGenericInterface, RouteGenericInterface, RouteShorthandOptions
} from 'fastify'
import type { ConnectionLoad, ConnectionStats, PreparedMessage, WebSocketConnection } from './connection.ts'
import type { RawMessage, Sendable } from './messages.ts'
import type { ConnectOptions, WebSocketRouteOptions } from './options.ts'
import type { TopicsTable } from './topics.ts'

/** The type of messages a route's connections receive: from its generics, or else by the type provider from `schema.receive`. */
export type ReceivedBy<RouteGeneric, Schema, TypeProvider extends FastifyTypeProvider> =
  RouteGeneric extends { Receive: infer Receive } ? Receive
    : Schema extends { receive: infer Receive }
      ? [Receive] extends [undefined] ? RawMessage : (TypeProvider & { schema: Receive })['validator']
      : RawMessage

/** The type of messages a route's connections send: from its generics, or else by the type provider from `schema.send`. */
export type SentBy<RouteGeneric, Schema, TypeProvider extends FastifyTypeProvider> =
  RouteGeneric extends { Send: infer Send } ? Send
    : Schema extends { send: infer Send }
      ? [Send] extends [undefined] ? RawMessage : (TypeProvider & { schema: Send })['serializer']
      : RawMessage

type Primitive = string | number | bigint | boolean | symbol | null | undefined | void

/** A handler may return anything, but a generator must yield what send() takes. */
export type HandlerResult<Send> =
  AsyncGenerator<Sendable<Send> | PreparedMessage, unknown, any> | (object & { readonly throw?: never }) | Primitive

/**
 * Gets each connection of a route when it is open. What it throws or rejects with goes to the errorHandler. Messages that
 * arrive while an async handler awaits something are held until it listens or reads; once it has settled without doing so
 * they are discarded. The type parameters are those of @fastify/websocket.
 */
export type WebSocketHandler<
  RawServer extends RawServerBase = RawServerDefault,
  RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
  RequestGeneric extends RequestGenericInterface = RequestGenericInterface,
  ContextConfig = ContextConfigDefault,
  SchemaCompiler extends FastifySchema = FastifySchema,
  TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  Logger extends FastifyBaseLogger = FastifyBaseLogger
> = (
  this: FastifyInstance<RawServer, RawRequest, RawReplyDefaultExpression<RawServer>, Logger, TypeProvider>,
  connection: WebSocketConnection<ReceivedBy<RequestGeneric, SchemaCompiler, TypeProvider>, SentBy<RequestGeneric, SchemaCompiler, TypeProvider>>,
  request: FastifyRequest<RequestGeneric, RawServer, RawRequest, SchemaCompiler, TypeProvider, ContextConfig, Logger>
) => HandlerResult<SentBy<RequestGeneric, SchemaCompiler, TypeProvider>>

/**
 * The handler in a route declaration. A conditional type, so that the compiler substitutes the inferred schema before it checks the handler:
 * otherwise literals that a generator yields would widen to string.
 */
export type InferredWebSocketHandler<
  RawServer extends RawServerBase,
  RawRequest extends RawRequestDefaultExpression<RawServer>,
  RouteGeneric extends RouteGenericInterface,
  ContextConfig,
  SchemaCompiler extends FastifySchema,
  TypeProvider extends FastifyTypeProvider,
  Logger extends FastifyBaseLogger
> = SchemaCompiler extends infer Schema extends FastifySchema
  ? WebSocketHandler<RawServer, RawRequest, RouteGeneric, ContextConfig, Schema, TypeProvider, Logger> : never

/** Totals since the start. `opened` equals `open` plus the sum of `closes`. */
export interface WebSocketServerStats extends Omit<ConnectionStats, 'duration'> {
  /** Connections not closed yet. */
  readonly open: number
  /** Connections opened. */
  readonly opened: number
  /** Handshakes refused. */
  readonly refused: number
  /** Number of closed connections by close code, as in CloseInfo. */
  readonly closes: Readonly<Record<number, number>>
}

/** By route pattern; '' for handshakes refused before their route was known. */
export type WebSocketRouteStats = Readonly<Record<string, WebSocketServerStats>>

/** `draining`: since drain(). `closing`: since app.close() or close(). `closed`: closing, and all connections have ended. */
export type WebSocketServerState = 'open' | 'draining' | 'closing' | 'closed'

export interface DrainOptions {
  /** Milliseconds during which handshakes are still accepted, until load balancers have noticed. Default: 0. */
  readonly delay?: number | undefined
  /** Milliseconds over which connections are closed, from the first to the last. Default: 10 000; 0: all at once. */
  readonly spread?: number | undefined
  /** The close code. Default: 1012, service restart. */
  readonly code?: number | undefined
  /** The close reason, up to 123 bytes. Default: ''. */
  readonly reason?: string | undefined
  /** Aborting it closes all remaining connections at once. */
  readonly signal?: AbortSignal | undefined
}

type ConnectionListener = (connection: WebSocketConnection, request: IncomingMessage) => unknown
type HeadersListener = (headers: string[], request: IncomingMessage) => unknown

/** The connections of one registration of the plugin, with the interface of a `ws` server. */
export interface WebSocketServerFacade extends EventEmitter {
  /** The connections not closed yet. A Set for compatibility with `ws`; do not modify it. */
  readonly clients: Set<WebSocketConnection>
  /** The options of this registration. Changes apply to later handshakes, unless a route has its own value. */
  readonly options: WebSocketRouteOptions
  /** Accepts no more connections and closes none. Calls back when the last has ended, or with an error if already closed. */
  close (callback?: (error?: Error) => void): void
  /** The topics that connections of this registration subscribe to and publish on. */
  readonly topics: TopicsTable
  /** Like `topics.publish()`. */
  publish: TopicsTable['publish']
  /** For readiness checks: 'open' if new clients are welcome. */
  readonly state: WebSocketServerState
  /**
   * Closes the connections of all registrations of this HTTP server while HTTP goes on: call it before app.close(). For `delay`, handshakes are
   * still accepted; then they get 503 (`FST_WS_CLOSING`), and connections are closed one by one, in random order, over `spread`. An HTTP/2
   * session gets GOAWAY before its first connection is closed. app.close() closes the rest at once.
   * @returns resolves when all are closed: at the latest after `delay`, `spread` and shutdownTimeout, when connections that have not answered are
   * dropped. Later calls return the promise of the first
   * @throws TypeError or RangeError for an invalid option
   */
  drain (options?: DrainOptions): Promise<void>
  /** Totals over all connections of this registration; with `{ routes: true }` also by route. */
  stats (options?: { readonly routes?: false | undefined }): WebSocketServerStats
  stats (options: { readonly routes: true }): WebSocketServerStats & { readonly routes: WebSocketRouteStats }
  /**
   * The connections that buffer most, heaviest first, to find out what fills memory. Takes one pass over all connections.
   * @param options.top how many. Default: 20
   * @throws TypeError unless `top` is an integer from 1 to 10 000
   */
  inspect (options?: { readonly top?: number | undefined }): ConnectionLoad[]
  /** Emitted before the route's handler gets the connection. */
  on (event: 'connection', listener: ConnectionListener): this
  /** Emitted before a 101 response with its header lines. Header fields that listeners add are sent with it. */
  on (event: 'headers', listener: HeadersListener): this
  on (event: 'close', listener: () => unknown): this
  /** For compatibility with code for `ws`: 'error' and 'listening' are never emitted. */
  on (event: string | symbol, listener: (...args: any[]) => unknown): this
  once (event: 'connection', listener: ConnectionListener): this
  once (event: 'headers', listener: HeadersListener): this
  once (event: 'close', listener: () => unknown): this
  once (event: string | symbol, listener: (...args: any[]) => unknown): this
}

/** Options of connect(), the client's address, and other request properties that tests for @fastify/websocket pass, which are ignored. */
export type InjectWSContext = Omit<ConnectOptions, 'request' | 'maxRedirects'> &
  { socket?: { remoteAddress?: string | undefined } | undefined } &
  { readonly [Name in Exclude<keyof IncomingMessage, keyof Readable | keyof ConnectOptions | 'socket'>]?: unknown }

/**
 * Opens a WebSocket to the app without a network, for tests. The bytes pass through Node's HTTP parser, and all hooks run.
 * @param path Default: '/'
 * @param upgradeContext header fields and other options of connect(), and the client's address; other properties are ignored
 * @param hooks `onInit` gets the connection before the handshake, `onOpen` when it is open
 * @returns rejects if the handshake is refused, with `Unexpected server response: 401`, statusCode, headers and body
 */
export type InjectWS = (
  path?: string,
  upgradeContext?: InjectWSContext,
  hooks?: {
    onInit?: ((connection: WebSocketConnection) => void) | undefined
    onOpen?: ((connection: WebSocketConnection) => void) | undefined
  }
) => Promise<WebSocketConnection>

/**
 * Whether the types of @fastify/websocket are also in the program, as graphql-ws and others import them. They declare these
 * properties themselves, and a second declaration would have to be identical: ours are therefore inherited, and give way.
 */
type IsDeclaredElsewhere = [RouteShorthandOptions['websocket']] extends [boolean | undefined] ? true : false
type Yielding<Type> = IsDeclaredElsewhere extends true ? any : Type

interface InstanceMembers {
  /** If the types of @fastify/websocket are also loaded, this has theirs; then use `app.getDecorator<WebSocketServerFacade>('websocketServer')`. */
  readonly websocketServer: Yielding<WebSocketServerFacade>
  /** If the types of @fastify/websocket are also loaded, this has theirs; then use `app.getDecorator<InjectWS>('injectWS')`. */
  readonly injectWS: Yielding<InjectWS>
}

interface RequestMembers {
  /** Whether the request is a WebSocket opening handshake. */
  readonly ws: boolean
}

interface MessageSchemas {
  /** Schema of the messages a WebSocket route receives: JSON, parsed and validated like a body. */
  receive?: unknown
  /** Schema of the messages a WebSocket route sends: values, serialized like a response. */
  send?: unknown
}

interface MessageGenerics {
  /** The type of received messages, if no type provider derives it from `schema.receive`. */
  Receive?: unknown
  /** The type of sent messages, if no type provider derives it from `schema.send`. */
  Send?: unknown
}

interface ShorthandMembers {
  /** True: the handler is a WebSocketHandler. An object also sets options for this route. */
  websocket?: boolean | WebSocketRouteOptions | undefined
}

interface WithWebSocketHandler<Handler> {
  /** Serves WebSocket on the URL where `handler` serves HTTP. */
  wsHandler?: Handler | undefined
}
type RouteMembers<Handler> = IsDeclaredElsewhere extends true ? {} : WithWebSocketHandler<Handler>

/** Options of a route whose `handler` gets connections; below, of one with a separate `wsHandler`. */
type ForConnections<Options> = Omit<Options, 'websocket' | 'handler' | 'wsHandler'> & {
  websocket: true | WebSocketRouteOptions
  wsHandler?: undefined
}
type ForBoth<Options> = Omit<Options, 'websocket' | 'wsHandler'> & { websocket?: boolean | WebSocketRouteOptions | undefined }

// The parameter `_` of these overloads is never passed. TypeScript tries signatures with a literal type among their parameters first, and
// others in the order in which files are imported, on which the types of a handler's parameters must not depend.
declare module 'fastify' {
  interface FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider> extends InstanceMembers {
    route<RouteGeneric extends RouteGenericInterface = RouteGenericInterface, ContextConfig = ContextConfigDefault,
      const SchemaCompiler extends FastifySchema = FastifySchema>(
      opts: ForBoth<RouteOptions<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler, TypeProvider, Logger>> &
        { wsHandler: InferredWebSocketHandler<RawServer, RawRequest, RouteGeneric, ContextConfig, NoInfer<SchemaCompiler>, TypeProvider, Logger> },
      _?: null
    ): FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider>
    route<RouteGeneric extends RouteGenericInterface = RouteGenericInterface, ContextConfig = ContextConfigDefault,
      const SchemaCompiler extends FastifySchema = FastifySchema>(
      opts: ForConnections<RouteOptions<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler, TypeProvider, Logger>> &
        { handler: InferredWebSocketHandler<RawServer, RawRequest, RouteGeneric, ContextConfig, NoInfer<SchemaCompiler>, TypeProvider, Logger> },
      _?: null
    ): FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider>
  }

  interface FastifyRequest extends RequestMembers {}

  interface FastifySchema extends MessageSchemas {}

  interface RequestGenericInterface extends MessageGenerics {}

  interface RouteShorthandOptions<
    RawServer extends RawServerBase = RawServerDefault
  > extends ShorthandMembers {}

  interface RouteShorthandMethod<
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
    Logger extends FastifyBaseLogger = FastifyBaseLogger
  > {
    <RouteGeneric extends RouteGenericInterface = RouteGenericInterface, ContextConfig = ContextConfigDefault,
      const SchemaCompiler extends FastifySchema = FastifySchema>(
      path: string,
      opts: ForConnections<RouteShorthandOptions<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler,
        TypeProvider, Logger>>,
      handler: InferredWebSocketHandler<RawServer, RawRequest, RouteGeneric, ContextConfig, SchemaCompiler, TypeProvider, Logger>,
      _?: null
    ): FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider>
    <RouteGeneric extends RouteGenericInterface = RouteGenericInterface, ContextConfig = ContextConfigDefault,
      const SchemaCompiler extends FastifySchema = FastifySchema>(
      path: string,
      opts: ForConnections<RouteShorthandOptions<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler,
        TypeProvider, Logger>> &
        { handler: InferredWebSocketHandler<RawServer, RawRequest, RouteGeneric, ContextConfig, NoInfer<SchemaCompiler>, TypeProvider, Logger> },
      _?: null
    ): FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider>
  }

  interface RouteOptions<
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    ContextConfig = ContextConfigDefault,
    SchemaCompiler extends FastifySchema = FastifySchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
    Logger extends FastifyBaseLogger = FastifyBaseLogger
  > extends RouteMembers<InferredWebSocketHandler<RawServer, RawRequest, RouteGeneric, ContextConfig, SchemaCompiler, TypeProvider, Logger>> {}
}
