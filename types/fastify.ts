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

/** What a route's connections receive: what its generics say, else what the type provider makes of `schema.receive`. */
export type ReceivedBy<RouteGeneric, Schema, TypeProvider extends FastifyTypeProvider> =
  RouteGeneric extends { Receive: infer Receive } ? Receive
    : Schema extends { receive: infer Receive }
      ? [Receive] extends [undefined] ? RawMessage : (TypeProvider & { schema: Receive })['validator']
      : RawMessage

/** What a route's connections are sent: what its generics say, else what the type provider makes of `schema.send`. */
export type SentBy<RouteGeneric, Schema, TypeProvider extends FastifyTypeProvider> =
  RouteGeneric extends { Send: infer Send } ? Send
    : Schema extends { send: infer Send }
      ? [Send] extends [undefined] ? RawMessage : (TypeProvider & { schema: Send })['serializer']
      : RawMessage

type Primitive = string | number | bigint | boolean | symbol | null | undefined | void

/** What a handler returns is its own business, but a generator must yield what send() takes. */
export type HandlerResult<Send> =
  AsyncGenerator<Sendable<Send> | PreparedMessage, unknown, any> | (object & { readonly throw?: never }) | Primitive

/**
 * Gets each connection of a route when it is open. What it throws or rejects with goes to the errorHandler. Messages that
 * come while an async handler awaits something are held until it listens; once it has settled without a listener they are
 * discarded. The type parameters are those of @fastify/websocket.
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
 * As the declaration of a route takes it. A conditional type, so that the compiler puts in what it has inferred of the schema before it looks at the
 * handler: the literals that a generator yields would be strings otherwise.
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

/** Counted since the start. What opened and is not open any more was closed: `opened` is `open` and the sum of `closes`. */
export interface WebSocketServerStats extends Omit<ConnectionStats, 'duration'> {
  /** Connections that are not closed yet. */
  readonly open: number
  /** Connections since the start. */
  readonly opened: number
  /** Handshakes that were answered otherwise. */
  readonly refused: number
  /** By close code, as in CloseInfo, how many connections ended with it. */
  readonly closes: Readonly<Record<number, number>>
}

/** By the pattern of the route; what was refused before it was known which, under ''. */
export type WebSocketRouteStats = Readonly<Record<string, WebSocketServerStats>>

/** `draining`: since drain(). `closing`: since app.close() or close(). `closed`: and all connections have ended. */
export type WebSocketServerState = 'open' | 'draining' | 'closing' | 'closed'

export interface DrainOptions {
  /** Milliseconds in which handshakes are still taken, until load balancers have noticed. Default: 0. */
  readonly delay?: number | undefined
  /** Milliseconds from the first connection that is closed to the last. Default: 10 000; 0: all at once. */
  readonly spread?: number | undefined
  /** Of the Close frames. Default: 1012, the server restarts. */
  readonly code?: number | undefined
  /** Of the Close frames, up to 123 bytes. Default: ''. */
  readonly reason?: string | undefined
  /** When it is aborted, what is left is closed at once. */
  readonly signal?: AbortSignal | undefined
}

type ConnectionListener = (connection: WebSocketConnection, request: IncomingMessage) => unknown
type HeadersListener = (headers: string[], request: IncomingMessage) => unknown

/** The connections of one registration of the plugin, in the shape of a server of `ws`. */
export interface WebSocketServerFacade extends EventEmitter {
  /** The connections that are not closed yet. A Set as with `ws`, to be read alone. */
  readonly clients: Set<WebSocketConnection>
  /** The options of this registration. What is changed here counts for handshakes from then on, where a route has no other. */
  readonly options: WebSocketRouteOptions
  /** Takes no more connections, closes none, and calls back when the last has ended; with an error when it has been closed before. */
  close (callback?: (error?: Error) => void): void
  /** What connections of this registration subscribe to and publish on. */
  readonly topics: TopicsTable
  /** As `topics.publish()`. */
  publish: TopicsTable['publish']
  /** What a ready check asks: whether clients are welcome. */
  readonly state: WebSocketServerState
  /**
   * Lets the connections of all registrations of this HTTP server go, before app.close(), while HTTP goes on. For `delay` handshakes are still
   * taken; then they get 503 (`FST_WS_CLOSING`), and the connections are closed one by one, in a random order, over `spread`. On HTTP/2 a session
   * is told to go (GOAWAY) before its first connection is closed. app.close() closes what is left at once.
   * @returns resolves when all are gone: after `delay`, `spread` and shutdownTimeout at the latest, when those that have not answered are
   * dropped. Later calls get the promise of the first
   * @throws TypeError or RangeError for a wrong option
   */
  drain (options?: DrainOptions): Promise<void>
  /** Sums over all connections of this registration; with `{ routes: true }`, those of each route too. */
  stats (options?: { readonly routes?: false | undefined }): WebSocketServerStats
  stats (options: { readonly routes: true }): WebSocketServerStats & { readonly routes: WebSocketRouteStats }
  /**
   * The connections in which most waits, the heaviest first, for somebody who looks for what fills the memory. One walk over all.
   * @param options.top how many. Default: 20
   * @throws TypeError for a number that is none
   */
  inspect (options?: { readonly top?: number | undefined }): ConnectionLoad[]
  /** Emitted before the route's handler gets the connection. */
  on (event: 'connection', listener: ConnectionListener): this
  /** Emitted before a 101 with the lines of its head. Header fields that are added to them go out with it. */
  on (event: 'headers', listener: HeadersListener): this
  on (event: 'close', listener: () => unknown): this
  /** For code that asks a server of `ws` for more: 'error' and 'listening' are never emitted. */
  on (event: string | symbol, listener: (...args: any[]) => unknown): this
  once (event: 'connection', listener: ConnectionListener): this
  once (event: 'headers', listener: HeadersListener): this
  once (event: 'close', listener: () => unknown): this
  once (event: string | symbol, listener: (...args: any[]) => unknown): this
}

/** What of connect() can be said, the client's address, and what else tests for @fastify/websocket put into a request, which is ignored. */
export type InjectWSContext = Omit<ConnectOptions, 'request' | 'maxRedirects'> &
  { socket?: { remoteAddress?: string | undefined } | undefined } &
  { readonly [Name in Exclude<keyof IncomingMessage, keyof Readable | keyof ConnectOptions | 'socket'>]?: unknown }

/**
 * Opens a WebSocket to the app without a network, for tests. The bytes go through Node's own HTTP parser, all hooks run.
 * @param path Default: '/'
 * @param upgradeContext header fields and other options of connect(), and the client's address; what else it holds is ignored
 * @param hooks `onInit` gets the connection before the handshake, `onOpen` when it is open
 * @returns rejects when the handshake is refused, with `Unexpected server response: 401`, statusCode, headers and body
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
 * Whether the types of @fastify/websocket are in the program too, of which graphql-ws and others need some. They say what these
 * properties are by themselves, and a second declaration would have to be the same: so ours are inherited, and yield.
 */
type IsDeclaredElsewhere = [RouteShorthandOptions['websocket']] extends [boolean | undefined] ? true : false
type Yielding<Type> = IsDeclaredElsewhere extends true ? any : Type

interface InstanceMembers {
  /** Where the types of @fastify/websocket are too, it has theirs: `app.getDecorator<WebSocketServerFacade>('websocketServer')`. */
  readonly websocketServer: Yielding<WebSocketServerFacade>
  /** Where the types of @fastify/websocket are too, it has theirs: `app.getDecorator<InjectWS>('injectWS')`. */
  readonly injectWS: Yielding<InjectWS>
}

interface RequestMembers {
  /** The request is an opening handshake of a WebSocket. */
  readonly ws: boolean
}

interface MessageSchemas {
  /** What a WebSocket route receives: JSON that is parsed and validated, as a body is. */
  receive?: unknown
  /** What a WebSocket route sends: values that are serialized by it, as a response is. */
  send?: unknown
}

interface MessageGenerics {
  /** What `schema.receive` allows, where no type provider says it. */
  Receive?: unknown
  /** What `schema.send` takes, where no type provider says it. */
  Send?: unknown
}

interface ShorthandMembers {
  /** The handler is a WebSocketHandler; an object sets options for this route. */
  websocket?: boolean | WebSocketRouteOptions | undefined
}

interface WithWebSocketHandler<Handler> {
  /** Serves WebSocket on the URL on which `handler` serves HTTP. */
  wsHandler?: Handler | undefined
}
type RouteMembers<Handler> = IsDeclaredElsewhere extends true ? {} : WithWebSocketHandler<Handler>

/** The options of a route whose handler gets connections, and of one that has a handler of its own for them. */
type ForConnections<Options> = Omit<Options, 'websocket' | 'handler' | 'wsHandler'> & {
  websocket: true | WebSocketRouteOptions
  wsHandler?: undefined
}
type ForBoth<Options> = Omit<Options, 'websocket' | 'wsHandler'> & { websocket?: boolean | WebSocketRouteOptions | undefined }

// In these overloads the parameter `_` is never given. A signature with a literal type among its parameters goes before all others; those
// without come in the order in which files are imported, and whether a handler's parameters are ours must not depend on that.
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
