import type { IncomingMessage, OutgoingHttpHeaders, Server } from 'node:http'
import type { RequestOptions, Server as HttpsServer } from 'node:https'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { WebSocketConnection } from './connection.ts'
import type { InvalidMessageHandler } from './messages.ts'
import type { TopicsOptions, TopicsTable } from './topics.ts'

/**
 * Gets what a handler, a listener or a send callback threw or rejected with, and decides what happens to the connection. Without
 * it the error is logged with `request.log` and the connection is closed with 1011.
 */
export type WebSocketErrorHandler = (
  // any: handlers for @fastify/websocket declare Error, but any value can be thrown
  this: FastifyInstance, error: any, connection: WebSocketConnection, request: FastifyRequest, reply: FastifyReply
) => unknown

/** `origin` is the Origin header field. If it throws or rejects, the handshake is refused with the error's statusCode, or 500. */
export type OriginFunction<Request = FastifyRequest> = (origin: string, request: Request) => boolean | Promise<boolean>

/**
 * Which pages may open a WebSocket: `'same-origin'`, `'*'` for all, an origin such as `'https://example.com'` or `'file://'`, `'null'`
 * for opaque origins, a RegExp that has to match the whole header field (`^(?:...)$`), a list of these, or a function.
 */
export type OriginRule<Request = FastifyRequest> = string | RegExp | ReadonlyArray<string | RegExp> | OriginFunction<Request>

/**
 * As in `ws`: returns whether to accept the client, or takes a second parameter and calls it. `origin` is undefined without an Origin header
 * field, although @types/ws declares it as a string.
 */
export type VerifyClient = {
  // a method, as method parameters are bivariant: functions typed by @types/ws are accepted
  verify (
    info: { origin: string | undefined, secure: boolean, req: IncomingMessage },
    callback: (isWelcome: boolean, statusCode?: number, message?: string, headers?: OutgoingHttpHeaders) => void
  ): boolean | Promise<boolean> | void
}['verify']

/** How messages are compressed if the peer supports permessage-deflate. RFC 7692. */
export interface PerMessageDeflateOptions {
  /**
   * Messages may refer to earlier ones: they get smaller, at the cost of up to 64 KiB per connection and about 50 to 250 µs of CPU per
   * sent message. Default: false, each message is compressed on its own.
   */
  contextTakeover?: boolean | undefined
  /** Maximum window size, as base-2 logarithm: 9 to 15. Default: 15. */
  windowBits?: number | undefined
  /** zlib's compression level, 0 to 9. Default: 3. */
  level?: number | undefined
  /** zlib's memLevel, 1 to 9. Default: 8. */
  memLevel?: number | undefined
  /** Messages of fewer bytes are sent uncompressed. Default: 1024. */
  threshold?: number | undefined
  /** How many messages too large for the event loop are compressed at a time in the process, and how many inflated. Default: 4. */
  concurrency?: number | undefined
}

/** How much a peer may send. A frame that has begun is always accepted, and counts against later ones. */
export interface RateLimitOptions {
  /** Messages and control frames (except Close) per second. Default: no limit. */
  messages?: number | undefined
  /** Bytes per second, as on the wire: compressed, with frame headers. Default: no limit. */
  bytes?: number | undefined
  /** Seconds of unused allowance that may be used at once. Default: 1. */
  burst?: number | undefined
  /**
   * What happens to a peer that sends more. `'close'`: it is closed with 1013. `'wait'`: it is read at that rate, and TCP makes it wait; its Pings
   * and Close wait behind earlier messages. Default: 'close'.
   */
  onExceeded?: 'close' | 'wait' | undefined
  /** Milliseconds that a frame may be delayed; a peer that would need more is closed with 1013. Default: 10 000. */
  maxWait?: number | undefined
}

/** Options of every connection: of routes, upgrade() and connect(). */
export interface ConnectionOptions {
  /** Largest message accepted, in bytes; a larger one fails the connection with 1009. Default: 1 MiB. */
  maxPayload?: number | undefined
  /**
   * Bytes of received messages that may wait for a consumer before the peer has to wait, and unsent bytes from which send()
   * returns false. Default: 64 KiB.
   */
  highWaterMark?: number | undefined
  /**
   * Unsent bytes beyond which the connection emits 'slow' and is closed with 1013, as its sender ignores backpressure. A single
   * message on an empty queue may be larger. Default: 16 MiB.
   */
  maxBufferedAmount?: number | undefined
  /** Milliseconds that unsent bytes may wait without any progress before the connection is dropped. Default: 60 000. */
  stallTimeout?: number | undefined
  /**
   * Milliseconds that messages are held while the handler neither listens nor reads; then they are discarded, with a warning. Default: 10 000; for
   * connect() and upgrade() no limit.
   */
  holdTimeout?: number
  /**
   * After `interval` milliseconds of silence a Ping is sent; after `timeout` more the connection is dropped (1006). With `rtt`, a further Ping every
   * `rtt` milliseconds measures `connection.rtt`. Default: `{ interval: 30_000, timeout: 30_000 }`; false for none.
   */
  heartbeat?: { interval: number, timeout: number, rtt?: number | undefined } | false | undefined
  /**
   * How many messages may be with async 'message' listeners at a time; the next wait until promises settle, with backpressure.
   * 1: one after the other. The peer's Close waits for them too. Default: no limit, as with `ws`.
   */
  messageConcurrency?: number | undefined
  /** How much the peer may send; false: no limit. Default: false. */
  rateLimit?: RateLimitOptions | false | undefined
  /** Milliseconds to wait for the peer in each step of closing. Default: 5 000. */
  closeTimeout?: number | undefined
  /** Compression, if the peer supports it: true, or options. Default: false. */
  perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined
}

/** How a server answers handshakes. */
export interface HandshakeOptions<Request = FastifyRequest> {
  /** Chooses the subprotocol from those the client offers; false for none. Default: the first offered. */
  handleProtocols?: ((protocols: Set<string>, request: IncomingMessage) => string | false) | undefined
  /** The subprotocols that the server supports, in its order of preference; none in common means no subprotocol. */
  protocols?: readonly string[] | undefined
  /**
   * Which pages may open a WebSocket; others get 403. Applies to requests with an Origin header field, which browsers send. Default:
   * `'same-origin'`: host and port of the page are those of the request; the scheme must match too if the client is known to use TLS.
   */
  origin?: OriginRule<Request> | undefined
  /** Accepts or refuses handshakes instead of `origin`, as in `ws`; refuses with 401 unless it gives another status. */
  verifyClient?: VerifyClient | undefined
}

/** Options of a registration, for all its routes, and of a single route. */
export interface WebSocketRouteOptions extends ConnectionOptions, HandshakeOptions {
  /** Maximum number of connections of the registration, or of the route if set there; further handshakes get 503. Default: no limit. */
  maxConnections?: number | undefined
  /**
   * Maximum number of connections from one address, of the registration, or of the route if set there; further handshakes get 429. The address is
   * `request.ip`, so set `trustProxy` behind a proxy; for IPv6 it is the /64 network, which is what one client has. `key` returns another key to
   * count by; null: not limited. Default: no limit.
   */
  maxConnectionsPerAddress?: number | { max: number, key?: ((request: FastifyRequest) => string | null | undefined) | undefined } | undefined
  errorHandler?: WebSocketErrorHandler | undefined
  /**
   * Gets messages that `schema.receive` of a route does not allow: it may answer, close the connection or ignore them. Without it the
   * connection fails with 1007, or with 1003 for a binary message.
   */
  onInvalidMessage?: InvalidMessageHandler | undefined
  /**
   * The level at which the end of a connection is logged, with its close code, duration, messages and bytes. Default: 'info', or
   * 'silent' if the request is not logged either (Fastify's logController or disableRequestLogging).
   */
  closeLogLevel?: string | undefined
}

/** Either calls `done`, or takes no parameter and may return a promise. */
export type WebSocketPreClose = (this: FastifyInstance, done: (error?: Error) => void) => unknown

/** Further options of a `ws` server. */
interface ForeignOptions {
  server?: Server | HttpsServer | undefined
  perMessageDeflate?: boolean | object | undefined
  // any: an interface such as ServerOptions of @types/ws is not assignable to a record of unknown
  [name: string]: any
}

export interface WebSocketPluginOptions extends WebSocketRouteOptions {
  /**
   * Runs when the app begins to close, to close connections in its own way. Those it leaves open are closed afterwards as
   * usual.
   */
  preClose?: WebSocketPreClose | undefined
  /**
   * The topics of this registration's connections: options for new ones, or a Topics to share. Default: those of the enclosing registration, or
   * else new ones without a broker.
   */
  topics?: TopicsOptions | TopicsTable | undefined
  /** The close code for connections that are open when the app closes. Default: 1001; 1012 means service restart. */
  shutdownCode?: number | undefined
  /** The same options and some of `ws`, where @fastify/websocket takes them. Options set directly take precedence. */
  options?: Omit<WebSocketRouteOptions, 'perMessageDeflate'> & ForeignOptions | undefined
  /** Milliseconds that hooks may take before the handshake is refused with 503. Default: 10 000. */
  handshakeTimeout?: number | undefined
  /** Milliseconds that app.close() waits for peers' Close frames before it drops their connections. Default: 5 000. */
  shutdownTimeout?: number | undefined
}

/** Gets what a listener or callback of a connection threw or rejected with. Default: a process warning, and Close 1011. */
export type StandaloneErrorHandler = (error: unknown, connection: WebSocketConnection) => unknown

/** Options of upgrade(). */
export interface UpgradeOptions extends ConnectionOptions, HandshakeOptions<IncomingMessage> {
  /** Milliseconds that origin and verifyClient may take before the handshake is refused with 503. Default: 10 000. */
  handshakeTimeout?: number | undefined
  /** Header fields to send with the 101 response. */
  headers?: OutgoingHttpHeaders | undefined
  /** The topics that the connection may subscribe to and publish on. Default: no topics. */
  topics?: TopicsTable | undefined
  errorHandler?: StandaloneErrorHandler | undefined
}

/** Options of connect(). */
export interface ConnectOptions extends ConnectionOptions {
  /** The subprotocols to offer, in order of preference. */
  protocols?: readonly string[] | undefined
  /** Header fields of the request, such as Authorization. */
  headers?: OutgoingHttpHeaders | undefined
  /** Milliseconds within which the server must answer. Default: 10 000. */
  handshakeTimeout?: number | undefined
  /** Aborting it stops connecting; it does not affect an open connection. */
  signal?: AbortSignal | undefined
  /**
   * How many redirects to follow. Credentials (Authorization, Cookie, Host, a client certificate) are not sent to another host or port, nor
   * from TLS to plain text. Default: 0, a redirect is a HandshakeError with its `headers.location`.
   */
  maxRedirects?: number | undefined
  /**
   * The proxy to use: its URL (http: or https:, optionally with user and password), or 'env' for http_proxy (ws:), https_proxy (wss:) and no_proxy
   * as in curl. It gets a CONNECT request, even for ws:; a refusal is a HandshakeError `FST_WS_PROXY` with its status. Default: false.
   */
  proxy?: 'env' | (string & {}) | URL | false | undefined
  /**
   * Use HTTP/2 (RFC 8441), on sessions shared by connections to the same origin. true: always, even for ws: without TLS. 'auto': for wss: if the
   * server supports it, otherwise HTTP/1.1, also if `request.agent` or `request.createConnection` is set. Default: false.
   */
  http2?: boolean | 'auto' | undefined
  /** Further request options of node:http or node:https: ca, rejectUnauthorized, localAddress, createConnection, agent, ... */
  request?: Omit<RequestOptions, 'headers' | 'signal'> | undefined
  errorHandler?: StandaloneErrorHandler | undefined
}
