import type { IncomingMessage, OutgoingHttpHeaders, Server } from 'node:http'
import type { RequestOptions, Server as HttpsServer } from 'node:https'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { WebSocketConnection } from './connection.ts'
import type { InvalidMessageHandler } from './messages.ts'
import type { TopicsOptions, TopicsTable } from './topics.ts'

/**
 * Gets what a handler, a listener or a send callback threw or rejected with. It decides what becomes of the connection: by
 * default the error is logged with `request.log` and the connection is closed with 1011.
 */
export type WebSocketErrorHandler = (
  // any: mostly an Error, which handlers for @fastify/websocket say, but everything can be thrown
  this: FastifyInstance, error: any, connection: WebSocketConnection, request: FastifyRequest, reply: FastifyReply
) => unknown

/** `origin` is the Origin header field. A rejection or a throw refuses with its statusCode, or 500. */
export type OriginFunction<Request = FastifyRequest> = (origin: string, request: Request) => boolean | Promise<boolean>

/**
 * Whose pages may open a WebSocket: `'same-origin'`, `'*'` for all, an origin such as `'https://example.com'` or `'file://'`, `'null'`
 * for documents without one, a RegExp for the whole header field (it is read as `^(?:...)$`), a list of these, or a function.
 */
export type OriginRule<Request = FastifyRequest> = string | RegExp | ReadonlyArray<string | RegExp> | OriginFunction<Request>

/**
 * As in `ws`: returns whether the client is welcome, or takes a second parameter and calls it. `origin` is undefined where there is no such
 * header field, also in functions that @types/ws types, which says that it is a string.
 */
export type VerifyClient = {
  // a method, as the parameters of those may be less than what they get
  verify (
    info: { origin: string | undefined, secure: boolean, req: IncomingMessage },
    callback: (isWelcome: boolean, statusCode?: number, message?: string, headers?: OutgoingHttpHeaders) => void
  ): boolean | Promise<boolean> | void
}['verify']

/** How messages are compressed where the peer can do that too. RFC 7692. */
export interface PerMessageDeflateOptions {
  /**
   * A message may refer back to those before it: smaller, at the cost of up to 64 KiB for each connection and some 50 to 250 us of
   * CPU for each message that is sent. Default: false, each message stands alone.
   */
  contextTakeover?: boolean | undefined
  /** The largest window, as a power of two: 9 to 15. Default: 15. */
  windowBits?: number | undefined
  /** Of zlib, 0 to 9. Default: 3. */
  level?: number | undefined
  /** Of zlib, 1 to 9. Default: 8. */
  memLevel?: number | undefined
  /** Messages of fewer bytes are sent as they are. Default: 1024. */
  threshold?: number | undefined
  /** How many messages that are too large for the event loop are compressed, and how many inflated, at a time in the process. Default: 4. */
  concurrency?: number | undefined
}

/** How much a peer may send. What it has begun to send is taken, and paid for by what comes next. */
export interface RateLimitOptions {
  /** For each second: messages, and control frames as a Ping (but for Close). Default: no limit. */
  messages?: number | undefined
  /** For each second: bytes as they come in, compressed or not, headers of frames included. Default: no limit. */
  bytes?: number | undefined
  /** Seconds of which what was not used may be used at once. Default: 1. */
  burst?: number | undefined
  /**
   * What becomes of a peer that sends more: `'close'`, it is closed with 1013. `'wait'`: it is read at that pace, and TCP makes it wait; its Pings, and
   * a Close, wait behind the messages before them. Default: 'close'.
   */
  onExceeded?: 'close' | 'wait' | undefined
  /** Milliseconds that it may have to wait; it is closed with 1013 if it would be more. Default: 10 000. */
  maxWait?: number | undefined
}

/** What can be set for every connection, whatever it came from. */
export interface ConnectionOptions {
  /** Largest message accepted, in bytes; a larger one fails the connection with 1009. Default: 1 MiB. */
  maxPayload?: number | undefined
  /**
   * Bytes of messages that wait for a consumer before the peer has to wait, and unsent bytes from which send() returns
   * false. Default: 64 KiB.
   */
  highWaterMark?: number | undefined
  /**
   * Unsent bytes of a sender that ignores false: then comes a 'slow' event, and the connection is closed with 1013. One large
   * message on an empty queue may be larger. Default: 16 MiB.
   */
  maxBufferedAmount?: number | undefined
  /** Milliseconds that unsent bytes may wait without any progress before the connection is dropped. Default: 60 000. */
  stallTimeout?: number | undefined
  /**
   * Milliseconds that messages are held for a handler that has not taken any yet; then they are discarded, with a warning. Default: 10 000; of
   * connect() and upgrade(): no limit.
   */
  holdTimeout?: number
  /**
   * After `interval` milliseconds of silence a Ping is sent, after `timeout` more the connection is dropped (1006). With `rtt` a Ping is sent each
   * so many milliseconds, whatever else is, that measures `connection.rtt`. Default: `{ interval: 30_000, timeout: 30_000 }`; false for none.
   */
  heartbeat?: { interval: number, timeout: number, rtt?: number | undefined } | false | undefined
  /**
   * How many messages at a time may be with 'message' listeners whose promises are not settled; the next wait, and then the
   * peer. 1: one after the other. The peer's Close waits for their answers too. Default: no limit, as with `ws`.
   */
  messageConcurrency?: number | undefined
  /** How much the peer may send; false: as much as is read. Default: false. */
  rateLimit?: RateLimitOptions | false | undefined
  /** Milliseconds that the ending of a connection waits for the peer. Default: 5 000. */
  closeTimeout?: number | undefined
  /** Compression, where the peer offers it: true or in detail. Default: false. */
  perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined
}

/** How a server chooses among those who ask. */
export interface HandshakeOptions<Request = FastifyRequest> {
  /** Chooses the subprotocol from those the client offers; false for none. Default: the first offered. */
  handleProtocols?: ((protocols: Set<string>, request: IncomingMessage) => string | false) | undefined
  /** The subprotocols that the server speaks, in its order of preference; none in common means no subprotocol. */
  protocols?: readonly string[] | undefined
  /**
   * Whose pages may open a WebSocket. Asked when an Origin header field came, which only browsers send; 403 otherwise. Default:
   * `'same-origin'`: host and port of the page are those of the request; the scheme counts when the client is known to use TLS.
   */
  origin?: OriginRule<Request> | undefined
  /** Judges handshakes instead of `origin`, as in `ws`; 401 unless it says otherwise. */
  verifyClient?: VerifyClient | undefined
}

/** What can be set for all routes of a registration and for each route. */
export interface WebSocketRouteOptions extends ConnectionOptions, HandshakeOptions {
  /** Connections of the registration, or of the route if it says so, beyond which a handshake gets 503. Default: none. */
  maxConnections?: number | undefined
  /**
   * Connections from one address, of the registration, or of the route if it says so, beyond which a handshake gets 429. The address is `request.ip`,
   * so that behind a proxy `trustProxy` has to be set; of IPv6 it is the /64, which is what one client has. `key` says what counts as one
   * instead; null: that one is not limited. Default: none.
   */
  maxConnectionsPerAddress?: number | { max: number, key?: ((request: FastifyRequest) => string | null | undefined) | undefined } | undefined
  errorHandler?: WebSocketErrorHandler | undefined
  /**
   * Gets messages that `schema.receive` of a route does not allow: it may answer, close or ignore them. Without it the connection fails
   * with 1007, or with 1003 for a binary message.
   */
  onInvalidMessage?: InvalidMessageHandler | undefined
  /**
   * The level at which the end of a connection is logged, with its close code, duration, messages and bytes. Default: 'info', or
   * 'silent' for a request that is not logged either (Fastify's logController or disableRequestLogging).
   */
  closeLogLevel?: string | undefined
}

/** Calls `done`, or has no such parameter and may return a promise. */
export type WebSocketPreClose = (this: FastifyInstance, done: (error?: Error) => void) => unknown

/** What a server of `ws` has besides. */
interface ForeignOptions {
  server?: Server | HttpsServer | undefined
  perMessageDeflate?: boolean | object | undefined
  // any, as an interface such as the ServerOptions of @types/ws is no record of anything else
  [name: string]: any
}

export interface WebSocketPluginOptions extends WebSocketRouteOptions {
  /**
   * Runs when the app begins to close, to say goodbye to the connections in its own way. Those it leaves open are closed
   * afterwards as they are without it.
   */
  preClose?: WebSocketPreClose | undefined
  /**
   * What connections of this registration subscribe to and publish on: options of their own, or a Topics that others have too. Default: those of
   * the registration around this one, or else some of the process.
   */
  topics?: TopicsOptions | TopicsTable | undefined
  /** The close code for connections that are open when the app closes. Default: 1001; 1012 says that the server restarts. */
  shutdownCode?: number | undefined
  /** The same options, and some that `ws` has besides, as @fastify/websocket takes them. Those above come first. */
  options?: Omit<WebSocketRouteOptions, 'perMessageDeflate'> & ForeignOptions | undefined
  /** Milliseconds that hooks may take before the handshake is refused with 503. Default: 10 000. */
  handshakeTimeout?: number | undefined
  /** Milliseconds that app.close() waits for the peers' Close frames before it drops their connections. Default: 5 000. */
  shutdownTimeout?: number | undefined
}

/** Gets what a listener or callback of a connection threw or rejected with. Default: a warning of the process, and Close 1011. */
export type StandaloneErrorHandler = (error: unknown, connection: WebSocketConnection) => unknown

/** Of upgrade(). */
export interface UpgradeOptions extends ConnectionOptions, HandshakeOptions<IncomingMessage> {
  /** Milliseconds that origin and verifyClient may take before the handshake is refused with 503. Default: 10 000. */
  handshakeTimeout?: number | undefined
  /** Header fields that go out with the 101. */
  headers?: OutgoingHttpHeaders | undefined
  /** What the connection may subscribe to and publish on. Default: nothing. */
  topics?: TopicsTable | undefined
  errorHandler?: StandaloneErrorHandler | undefined
}

/** Of connect(). */
export interface ConnectOptions extends ConnectionOptions {
  /** The subprotocols that are offered, in the client's order of preference. */
  protocols?: readonly string[] | undefined
  /** Header fields of the request, such as Authorization. */
  headers?: OutgoingHttpHeaders | undefined
  /** Milliseconds until the server must have answered. Default: 10 000. */
  handshakeTimeout?: number | undefined
  /** Gives up connecting when it is aborted; afterwards it does nothing. */
  signal?: AbortSignal | undefined
  /**
   * How many redirects are followed. What is meant for the first server alone (Authorization, Cookie, Host, a client's certificate) does not
   * go to another host or port, nor from TLS to none. Default: 0, a redirect is a HandshakeError with its `headers.location`.
   */
  maxRedirects?: number | undefined
  /**
   * Where the connection goes through: the URL of a proxy (http: or https:, with a user and password or without), or 'env' for http_proxy (ws:),
   * https_proxy (wss:) and no_proxy, as curl reads them. It is asked by CONNECT, for ws: too; one that refuses is a HandshakeError
   * `FST_WS_PROXY` with its status. Default: false.
   */
  proxy?: 'env' | (string & {}) | URL | false | undefined
  /**
   * HTTP/2 (RFC 8441), on sessions that connections to the same origin share. true: nothing else, for ws: without TLS too. 'auto': for wss: where
   * the server speaks it, else HTTP/1.1, as for whoever says by `request.agent` or `request.createConnection` how to connect. Default: false.
   */
  http2?: boolean | 'auto' | undefined
  /** What else node:http or node:https takes for a request: ca, rejectUnauthorized, localAddress, createConnection, agent, ... */
  request?: Omit<RequestOptions, 'headers' | 'signal'> | undefined
  errorHandler?: StandaloneErrorHandler | undefined
}
