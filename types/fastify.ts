import type { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type {
  ContextConfigDefault, FastifyBaseLogger, FastifyInstance, FastifyRequest, FastifySchema, FastifyTypeProvider,
  FastifyTypeProviderDefault, RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault,
  RouteGenericInterface
} from 'fastify'
import type { ConnectionStats, WebSocketConnection } from './connection.ts'
import type { ConnectOptions, WebSocketRouteOptions } from './options.ts'

/**
 * Gets each connection of a route when it is open. What it throws or rejects with goes to the errorHandler. Messages that
 * come while an async handler awaits something are held until it listens; once it has settled without a listener they are
 * discarded.
 */
export type WebSocketHandler<
  RawServer extends RawServerBase = RawServerDefault,
  RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
  RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
  RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
  ContextConfig = ContextConfigDefault,
  SchemaCompiler extends FastifySchema = FastifySchema,
  TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  Logger extends FastifyBaseLogger = FastifyBaseLogger
> = (
  this: FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider>,
  connection: WebSocketConnection,
  request: FastifyRequest<RouteGeneric, RawServer, RawRequest, SchemaCompiler, TypeProvider, ContextConfig, Logger>
) => unknown

export interface WebSocketServerStats extends Omit<ConnectionStats, 'duration'> {
  /** Connections that are not closed yet. */
  readonly open: number
  /** Connections since the start. */
  readonly opened: number
}

type ConnectionListener = (connection: WebSocketConnection, request: IncomingMessage) => unknown
type HeadersListener = (headers: string[], request: IncomingMessage) => unknown

/** The connections of one registration of the plugin, in the shape of a server of `ws`. */
export interface WebSocketServerFacade extends EventEmitter {
  /** The connections that are not closed yet. */
  readonly clients: ReadonlySet<WebSocketConnection>
  /** The options of this registration. What is changed here counts for handshakes from then on, where a route has no other. */
  readonly options: WebSocketRouteOptions
  /** Takes no more connections, closes none, and calls back when the last has ended; with an error when it has been closed before. */
  close (callback?: (error?: Error) => void): void
  /** Sums over all connections of this registration. */
  stats (): WebSocketServerStats
  /** Emitted before the route's handler gets the connection. */
  on (event: 'connection', listener: ConnectionListener): this
  /** Emitted before a 101 with the lines of its head. Header fields that are added to them go out with it. */
  on (event: 'headers', listener: HeadersListener): this
  on (event: 'close', listener: () => unknown): this
  once (event: 'connection', listener: ConnectionListener): this
  once (event: 'headers', listener: HeadersListener): this
  once (event: 'close', listener: () => unknown): this
}

/**
 * Opens a WebSocket to the app without a network, for tests. The bytes go through Node's own HTTP parser, all hooks run.
 * @param path Default: '/'
 * @param upgradeContext header fields and other options of connect(), and the client's address; what else it holds is ignored
 * @param hooks `onInit` gets the connection before the handshake, `onOpen` when it is open
 * @returns rejects when the handshake is refused, with `Unexpected server response: 401`, statusCode, headers and body
 */
export type InjectWS = (
  path?: string,
  upgradeContext?: Omit<ConnectOptions, 'request'> & { socket?: { remoteAddress?: string } },
  hooks?: { onInit?: (connection: WebSocketConnection) => void, onOpen?: (connection: WebSocketConnection) => void }
) => Promise<WebSocketConnection>

declare module 'fastify' {
  interface FastifyInstance {
    readonly websocketServer: WebSocketServerFacade
    readonly injectWS: InjectWS
  }

  interface FastifyRequest {
    /** The request is an opening handshake of a WebSocket. */
    readonly ws: boolean
  }

  interface RouteShorthandOptions<
    RawServer extends RawServerBase = RawServerDefault
  > {
    /** The handler is a WebSocketHandler; an object sets options for this route. */
    websocket?: boolean | WebSocketRouteOptions
  }

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
      opts: RouteShorthandOptions<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler,
        TypeProvider, Logger> & { websocket: true | WebSocketRouteOptions },
      handler: WebSocketHandler<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler,
        TypeProvider, Logger>
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
  > {
    /** Serves WebSocket on the URL on which `handler` serves HTTP. */
    wsHandler?: WebSocketHandler<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler,
      TypeProvider, Logger>
  }
}
