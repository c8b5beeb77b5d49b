// The catalogue of all errors. Each knows its own close code or status code; only Connection turns one into a Close frame, and only
// a handshake turns one into an HTTP response.
import type { OutgoingHttpHeaders } from 'node:http'
import type { CloseInfo } from '../types/connection.ts'
import type { InvalidMessage, MessageIssue } from '../types/messages.ts'

/** The peer broke RFC 6455 during a connection, which fails with `closeCode`. */
export class ProtocolError extends Error {
  override readonly name: string = 'ProtocolError'
  /** Stable, for programs; `WS_ERR_...`. */
  readonly code: string
  readonly closeCode: number

  constructor (code: string, closeCode: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.closeCode = closeCode
  }
}

/** A message that `schema.receive` does not allow. Without onInvalidMessage it fails the connection, like a protocol error. */
export class MessageError extends ProtocolError implements InvalidMessage {
  override readonly name = 'MessageError'
  declare readonly validation?: readonly MessageIssue[]
  readonly validationContext = 'message'
  declare readonly data: Buffer

  constructor (
    code: string, closeCode: number, message: string, data: Buffer, { validation, ...options }: ErrorOptions & { validation?: readonly MessageIssue[] } = {}
  ) {
    super(code, closeCode, message, options)
    if (validation !== undefined) this.validation = validation
    Object.defineProperty(this, 'data', { value: data }) // not enumerable, so that loggers do not print it
  }
}

/** The application's mistake with a schema for messages: an invalid schema, or an operation that a connection with a schema does not support. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError'
  /** Stable, for programs; `FST_WS_...`. */
  readonly code: string

  constructor (code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** An opening handshake that failed: sent as an HTTP response by a server, thrown to the caller on a client. */
export class HandshakeError extends Error {
  override readonly name = 'HandshakeError'
  /** Stable, for programs; `FST_WS_...`. */
  readonly code: string
  /** The status of the response; on a client undefined if there was none. */
  readonly statusCode: number | undefined
  /** On a server: header fields for the response, such as Sec-WebSocket-Version. On a client: those of the server's response. */
  readonly headers: Readonly<Record<string, string | string[]>>
  /** On a client: the body of the server's response, up to 64 KiB. */
  readonly body: string | undefined

  constructor (
    code: string, statusCode: number | undefined, message: string, headers: Record<string, string | string[]> = {},
    { body, ...options }: ErrorOptions & { body?: string | undefined } = {}
  ) {
    super(message, options)
    this.code = code
    this.statusCode = statusCode
    this.headers = headers
    this.body = body
  }
}

/** The connection is closing or closed: a message was not sent, or no more will come. */
export class ConnectionClosedError extends Error {
  override readonly name = 'ConnectionClosedError'
  readonly code = 'WS_ERR_CONNECTION_CLOSED'
  /** The code of the Close frame that ended the connection, the peer's or ours; 1006 if there was none; undefined if not known yet. */
  readonly closeCode: number | undefined
  /** How the connection was closed, if reconnect() gave up because of that. */
  readonly closeInfo: CloseInfo | undefined
  readonly #connection: unknown

  constructor (
    message: string,
    { connection, closeCode, closeInfo, ...options }: ErrorOptions & { connection?: unknown, closeCode?: number | undefined, closeInfo?: CloseInfo } = {}
  ) {
    super(message, options)
    this.closeCode = closeCode
    this.closeInfo = closeInfo
    this.#connection = connection
  }

  /** Whether the error is about `connection` and not another one. @internal */
  isOf (connection: unknown): boolean {
    return this.#connection === connection
  }
}

/** The connection already has a reader: an iterator, a stream or a pending receive(). */
export class ReaderBusyError extends Error {
  override readonly name = 'ReaderBusyError'
  readonly code = 'WS_ERR_READER_BUSY'
}

const isRefusal = (statusCode: number | null | undefined): statusCode is number =>
  Number.isInteger(statusCode) && statusCode! >= 400 && statusCode! <= 599
const quote = (value: string | undefined): string =>
  value === undefined ? 'none' : JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}...` : value)
const fieldsOf = (headers: OutgoingHttpHeaders): Record<string, string | string[]> => Object.fromEntries(
  Object.entries(headers).flatMap(([name, value]) => value === undefined ? [] : [[name, typeof value === 'number' ? String(value) : value]])
)
const messageOf = (thrown: unknown): string => thrown instanceof Error ? thrown.message : String(thrown)
const hex = (value: number): string => `0x${value.toString(16).toUpperCase()}`

// Framing, RFC 6455 §5
export const unmaskedFrame = () => new ProtocolError('WS_ERR_EXPECTED_MASK', 1002, 'a client must mask its frames')
export const maskedFrame = () => new ProtocolError('WS_ERR_UNEXPECTED_MASK', 1002, 'a server must not mask its frames')
export const reservedBit = (bit: 1 | 2 | 3) =>
  new ProtocolError(bit === 1 ? 'WS_ERR_UNEXPECTED_RSV_1' : 'WS_ERR_UNEXPECTED_RSV_2_3', 1002, `RSV${bit} is set without an extension that defines it`)
export const unknownOpcode = (opcode: number) =>
  new ProtocolError('WS_ERR_INVALID_OPCODE', 1002, `opcode ${hex(opcode)} is reserved`)
export const fragmentedControlFrame = (opcode: number) =>
  new ProtocolError('WS_ERR_EXPECTED_FIN', 1002, `a control frame (opcode ${hex(opcode)}) must not be fragmented`)
export const oversizedControlFrame = () =>
  new ProtocolError('WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH', 1002, 'a control frame carries at most 125 bytes')
export const unexpectedContinuation = () =>
  new ProtocolError('WS_ERR_INVALID_OPCODE', 1002, 'a continuation frame came without a message to continue')
export const expectedContinuation = (opcode: number) =>
  new ProtocolError('WS_ERR_INVALID_OPCODE', 1002, `a new data frame (opcode ${hex(opcode)}) came inside a fragmented message`)
export const paddedLength = (length: number, bits: 16 | 64) =>
  new ProtocolError('WS_ERR_INVALID_PAYLOAD_LENGTH', 1002, `a payload of ${length} bytes must not be announced in ${bits} bits`)
export const negativeLength = () =>
  new ProtocolError('WS_ERR_INVALID_PAYLOAD_LENGTH', 1002, 'the most significant bit of a 64-bit payload length must be 0')
export const unsafeLength = () =>
  new ProtocolError('WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH', 1009, 'a payload of more than 2^53 - 1 bytes is not supported')
export const oversizedMessage = (length: number, limit: number) =>
  new ProtocolError('WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', 1009, `a message of at least ${length} bytes is over the limit (maxPayload) of ${limit}`)
export const unexpectedEnd = () =>
  new ProtocolError('WS_ERR_UNEXPECTED_END', 1002, 'the stream ended in the middle of a frame or of a fragmented message')

// rateLimit is not a protocol rule. Not 1008, after which clients do not reconnect
export const rateExceeded = () => new ProtocolError('WS_ERR_RATE_LIMIT', 1013, 'too many messages')

// Content, RFC 6455 §5.5.1, §7.4, §8.1
export const invalidText = () => new ProtocolError('WS_ERR_INVALID_UTF8', 1007, 'a text message is not valid UTF-8')
export const invalidDeflate = () => new ProtocolError('WS_ERR_INVALID_DEFLATE', 1007, 'a compressed message is not valid DEFLATE data')
export const shortClosePayload = () =>
  new ProtocolError('WS_ERR_INVALID_CLOSE_PAYLOAD', 1002, 'a Close frame\'s payload of 1 byte cannot hold a close code')
export const invalidCloseCode = (code: number) =>
  new ProtocolError('WS_ERR_INVALID_CLOSE_CODE', 1002, `close code ${code} must not appear in a Close frame`)
export const invalidCloseReason = () =>
  new ProtocolError('WS_ERR_INVALID_UTF8', 1007, 'a close reason is not valid UTF-8')

// Messages by schema, RFC 6455 §7.4.1
export const notJson = (data: Buffer, reason: string) => new MessageError('FST_WS_JSON', 1007, `message is not JSON: ${reason}`, data)
export const binaryMessage = (data: Buffer) =>
  new MessageError('FST_WS_BINARY', 1003, 'binary messages are not allowed: a schema requires JSON', data)
export const invalidMessage = (data: Buffer, message: string, validation: readonly MessageIssue[], options?: ErrorOptions) =>
  new MessageError('FST_WS_VALIDATION', 1007, message, data, { validation, ...options })
export const schemaNotBuilt = (direction: 'receive' | 'send', url: string, cause: unknown) =>
  new SchemaError('FST_WS_SCHEMA_BUILD', `schema.${direction} of the WebSocket route ${url} cannot be compiled: ${messageOf(cause)}`, { cause })
export const asyncValidator = () => new SchemaError('FST_WS_ASYNC_VALIDATOR',
  'the validator of schema.receive returned a promise: validators of messages must be synchronous')
export const notTyped = (what: string, direction: 'receive' | 'send') =>
  new SchemaError('FST_WS_TYPED', `${what} is for text and bytes: the route of this connection has schema.${direction}, and its messages are values`)
export const notSerializable = (reason: string, options?: ErrorOptions) =>
  new SchemaError('FST_WS_SERIALIZATION', `a message cannot be serialized by schema.send: ${reason}`, options)
export const notWebSocket = (direction: 'receive' | 'send', url: string) => new SchemaError('FST_WS_SCHEMA_ROUTE',
  `schema.${direction} of the route ${url} describes WebSocket messages, but the route takes no WebSockets: websocket: true or a wsHandler is missing`)
export const documentNotMade = (url: string, cause: unknown) =>
  new SchemaError('FST_WS_ASYNCAPI', `the WebSocket route ${url} cannot be documented: ${messageOf(cause)}`, { cause })
export const documentTooEarly = () => new SchemaError('FST_WS_ASYNCAPI', 'asyncapi() was called before the app was ready')

// The client's opening handshake, RFC 6455 §4.2.1
export const wrongMethod = (method: string | undefined) =>
  new HandshakeError('FST_WS_METHOD', 405, `the opening handshake must be a GET request, not ${quote(method)}`, { allow: 'GET' })
export const wrongHttpVersion = (version: string) =>
  new HandshakeError('FST_WS_HTTP_VERSION', 400, `the opening handshake needs HTTP/1.1, not HTTP/${version}`)
export const tooManyHeaderFields = (limit: number) =>
  new HandshakeError('FST_WS_HEADERS', 431, `the opening handshake must have fewer than ${limit} header fields`)
export const wrongHost = (count: number) =>
  new HandshakeError('FST_WS_HOST', 400, `the opening handshake needs exactly one Host header field, not ${count}`)
export const wrongUpgrade = (value: string | undefined) =>
  new HandshakeError('FST_WS_UPGRADE', 400, `the Upgrade header field must contain "websocket", it is ${quote(value)}`)
export const wrongConnection = (value: string | undefined) =>
  new HandshakeError('FST_WS_CONNECTION', 400, `the Connection header field must contain "Upgrade", it is ${quote(value)}`)
export const handshakeWithBody = () =>
  new HandshakeError('FST_WS_BODY', 400, 'the opening handshake must not have a body')
export const wrongKey = (value: string | undefined) =>
  new HandshakeError('FST_WS_KEY', 400, `the Sec-WebSocket-Key header field must appear once and hold 16 bytes in base64, it is ${quote(value)}`)
export const wrongVersion = (value: string | undefined) =>
  new HandshakeError('FST_WS_VERSION', 426, `the Sec-WebSocket-Version header field must be 13, it is ${quote(value)}`,
    // RFC 9110 §15.5.22: a 426 must have an Upgrade field, §7.8: which Connection must list
    { 'sec-websocket-version': '13', upgrade: 'websocket', connection: 'close, Upgrade' })
// not 426, which requires an Upgrade field, and HTTP/2 has none
export const wrongVersionOverHttp2 = (value: string | undefined) =>
  new HandshakeError('FST_WS_VERSION', 400, `the sec-websocket-version header field must be 13, it is ${quote(value)}`, { 'sec-websocket-version': '13' })
// RFC 9110 §15.5.22, §7.8
export const lostUpgrade = (upgrade: string | undefined, connection: string | undefined) =>
  new HandshakeError('FST_WS_UPGRADE_REQUIRED', 426, `this opening handshake has lost its upgrade: the Upgrade header field is ${quote(upgrade)}, ` +
    `Connection is ${quote(connection)}. A proxy has dropped them: configure it to pass them on, over HTTP/1.1 ` +
    '(nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade")',
  { upgrade: 'websocket', connection: 'Upgrade' })
// not 426: HTTP/2 has neither status 101 nor an Upgrade field
export const lostConnect = () =>
  new HandshakeError('FST_WS_UPGRADE_REQUIRED', 400,
    'this is an HTTP/1.1 opening handshake: over HTTP/2 it must be an extended CONNECT (RFC 8441), to which a proxy has to convert it')
export const endedHandshake = () =>
  new HandshakeError('FST_WS_END_STREAM', 400, 'the opening handshake must leave its stream open')
export const wrongProtocolField = (value: string | undefined) =>
  new HandshakeError('FST_WS_PROTOCOL', 400, `the Sec-WebSocket-Protocol header field must be a list of different tokens, it is ${quote(value)}`)
export const wrongExtensionsField = (value: string | undefined) =>
  new HandshakeError('FST_WS_EXTENSIONS', 400, `the Sec-WebSocket-Extensions header field is malformed: ${quote(value)}`)

// Our server's own refusals
export const unofferedProtocol = (value: unknown) =>
  new HandshakeError('FST_WS_HANDLE_PROTOCOLS', 500, `handleProtocols returned ${quote(String(value))}, which the client did not offer`)
export const declaredTooEarly = (url: string | undefined) =>
  new HandshakeError('FST_WS_DECLARED_TOO_EARLY', 500, `the route GET ${url} was declared before fastify-websocket-stream had loaded, and takes no WebSocket ` +
    'handshakes: await the registration of the plugin first, or declare the route in a plugin that is registered after it')
export const serverClosing = () =>
  new HandshakeError('FST_WS_CLOSING', 503, 'the server is closing', { 'retry-after': '1' })
export const tooManyFromAddress = (limit: number) =>
  new HandshakeError('FST_WS_TOO_MANY_FROM_ADDRESS', 429, `there are ${limit} connections from this address already, which is the limit (maxConnectionsPerAddress)`)
export const tooManyConnections = (limit: number) =>
  new HandshakeError('FST_WS_TOO_MANY_CONNECTIONS', 503, `there are ${limit} connections already, which is the limit (maxConnections)`)
export const handshakeTimedOut = (milliseconds: number) =>
  new HandshakeError('FST_WS_HANDSHAKE_TIMEOUT', 503, `the opening handshake was not answered within ${milliseconds} ms`)
export const wrongOrigin = (origin: string) =>
  new HandshakeError('FST_WS_ORIGIN', 403, `pages of ${quote(origin)} must not open a WebSocket here: the option origin does not allow it`)
/** @param host the one compared with the origin; a proxy may have changed it */
export const otherOrigin = (origin: string, host: string | undefined, isSecure: boolean) =>
  new HandshakeError('FST_WS_ORIGIN', 403, `pages of ${quote(origin)} must not open a WebSocket here: the option origin allows pages of the same origin, ` +
    `and this request is for ${quote(isSecure && host !== undefined ? `https://${host}` : host)}. ` +
    'If a proxy changes the host, let it pass on the Host header field, or set trustProxy if it sends X-Forwarded-Host; ' +
    'to allow other origins, list them in the option origin')
export const repeatedOrigin = () =>
  new HandshakeError('FST_WS_ORIGIN', 403, 'the opening handshake must not have more than one Origin header field (option origin)')
export const notVerified = (statusCode?: number | null, message?: string | null, headers?: OutgoingHttpHeaders | null) =>
  new HandshakeError('FST_WS_VERIFY_CLIENT', isRefusal(statusCode) ? statusCode : 401, message ?? 'verifyClient refused the handshake', fieldsOf(headers ?? {}))
export const admissionFailed = (cause: unknown) =>
  new HandshakeError('FST_WS_ADMISSION', 500, 'the server failed to decide whether to accept the client', {}, { cause })
export const socketTaken = () => new ConnectionClosedError('another response is using the socket of the handshake')
export const clientLeft = () => new ConnectionClosedError('the client has left before its handshake was answered')

export const connectTimedOut = (milliseconds: number) =>
  new HandshakeError('FST_WS_HANDSHAKE_TIMEOUT', 504, `the server has not answered the opening handshake within ${milliseconds} ms`)

/** @param proxy host and port */
export const proxyRefused = (proxy: string, statusCode: number, headers?: Record<string, string | string[]>, body?: string) =>
  new HandshakeError('FST_WS_PROXY', statusCode, `the proxy ${proxy} has refused the connection with ${statusCode}`, headers, { body })

/** @param what the server does not support */
export const http2Missing = (what: string) =>
  new HandshakeError('FST_WS_HTTP2', 501, `the option http2 asks for HTTP/2, and the server ${what}`)
export const sessionWithoutRoom = () =>
  new HandshakeError('FST_WS_HTTP2', 503, 'the server allows no stream at all (SETTINGS_MAX_CONCURRENT_STREAMS)')

// reconnect()
export const lookUpTimedOut = (milliseconds: number) =>
  new HandshakeError('FST_WS_HANDSHAKE_TIMEOUT', 504, `url() and headers() have not answered within ${milliseconds} ms`)
export const notComingBack = (closeInfo: CloseInfo) => new ConnectionClosedError(
  `the connection was closed with ${closeInfo.sent === null || closeInfo.cause === 'peer' ? '' : `${closeInfo.sent.code} by this side, `}` +
  `close code ${closeInfo.code}${closeInfo.reason === '' ? '' : ` (${closeInfo.reason})`}, and reconnect() does not try again`,
  { closeCode: closeInfo.code, closeInfo })

// The server's opening handshake, as a client sees it, RFC 6455 §4.1
export const unexpectedResponse = (statusCode: number, headers?: Record<string, string | string[]>, body?: string) =>
  new HandshakeError('FST_WS_UNEXPECTED_RESPONSE', statusCode, `Unexpected server response: ${statusCode}`, headers, { body })
export const wrongRedirect = (statusCode: number, location: string, reason: string) =>
  new HandshakeError('FST_WS_REDIRECT', statusCode, `the redirect to ${quote(location)} is not followed: ${reason}`, { location })
/** With Node's error code. */
export const unanswered = (cause: Error & { code: string }) => new HandshakeError(
  cause.code, undefined, `the opening handshake failed, as ${cause.code.startsWith('HPE_') ? 'its answer is not HTTP' : 'it was not answered'}: ${cause.message}`,
  {}, { cause })
export const wrongAccept = (value: string | undefined, expected: string) =>
  new HandshakeError('FST_WS_ACCEPT', 101, `the Sec-WebSocket-Accept header field must be ${quote(expected)}, it is ${quote(value)}`)
export const unexpectedProtocol = (value: string | undefined) =>
  new HandshakeError('FST_WS_PROTOCOL', 101, `the server chose the subprotocol ${quote(value)}, which was not offered`)
export const unexpectedExtensions = (value: string) =>
  new HandshakeError('FST_WS_EXTENSIONS', 101, `the server chose extensions that were not offered: ${quote(value)}`)
export const wrongServerUpgrade = (field: string, value: string | undefined) =>
  new HandshakeError('FST_WS_UPGRADE', 101, `the server's ${field} header field does not switch to WebSocket, it is ${quote(value)}`)

// Topics
/** An error of topics: a promise rejects with it, or it is thrown if there are no topics. */
export class TopicsError extends Error {
  override readonly name = 'TopicsError'
  /** Stable, for programs; `FST_WS_TOPICS_...`. */
  readonly code: string

  constructor (code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

const withCode = <E extends Error>(error: E, code: string): E & { code: string } => Object.assign(error, { code })
const topic = (name: string): string => `the topic ${quote(name)}`

export const wrongTopic = (expected: string, given: string) => withCode(new TypeError(`a topic must be ${expected}, not ${given}`), 'FST_WS_TOPICS_NAME')
export const wrongTopicsOption = (name: string, expected: string, given: string) =>
  withCode(new TypeError(`the option ${name} of topics must be ${expected}, not ${given}`), 'FST_WS_TOPICS_OPTION')
export const unknownTopicsOption = (name: string, known: readonly string[]) =>
  withCode(new TypeError(`unknown option ${name} of topics: there are ${known.join(', ')}`), 'FST_WS_TOPICS_OPTION')
export const noTopics = () =>
  new TopicsError('FST_WS_TOPICS_NONE', 'this connection has no topics: those of connect() have none, those of upgrade() only with its option topics')
export const tooManyTopics = (limit: number) =>
  new TopicsError('FST_WS_TOPICS_LIMIT', `the connection is subscribed to ${limit} topics already, which is the limit (maxTopics)`)
export const unsubscribed = (name: string) =>
  new TopicsError('FST_WS_TOPICS_UNSUBSCRIBED', `${topic(name)} was unsubscribed, or the connection closed, before it was subscribed`)
export const brokerDown = (name: string, why: string) =>
  new TopicsError('FST_WS_TOPICS_BROKER_DOWN', `a message on ${topic(name)} was not sent to the broker, and may be published again: ${why}`)
export const brokerUncertain = (name: string, options?: ErrorOptions) =>
  new TopicsError('FST_WS_TOPICS_UNCERTAIN',
    `a message on ${topic(name)} was sent to the broker, which has not answered: it may have been published, and publishing it again may duplicate it`, options)
export const brokerRefused = (what: string, cause: unknown) =>
  new TopicsError('FST_WS_TOPICS_REFUSED', `the broker has refused ${what}: ${cause instanceof Error ? cause.message : String(cause as string)}`, { cause })
export const topicsClosed = () => new TopicsError('FST_WS_TOPICS_CLOSED', 'the topics are closed')
export const brokerLost = (cause: Error) =>
  new TopicsError('FST_WS_TOPICS_BROKER_LOST', `the broker cannot be reached, or was lost: ${cause.message}`, { cause })
export const brokerTooOld = (given: string, needed: string) =>
  new TopicsError('FST_WS_TOPICS_BROKER_TOO_OLD', `the broker is ${given}, and must be ${needed} or newer`)
export const brokerMisconfigured = (stream: string, differences: readonly string[]) =>
  new TopicsError('FST_WS_TOPICS_BROKER_CONFIG', `the stream ${stream} is not as it must be: ${differences.join('; ')}`)
export const brokerAnswer = (what: string) => new TopicsError('FST_WS_TOPICS_BROKER_ANSWER', `the answer of the broker to ${what} is not understood`)
export const wrongBrokerOption = (broker: string, name: string, expected: string, given: string) =>
  withCode(new TypeError(`the option ${name} of ${broker}() must be ${expected}, not ${given}`), 'FST_WS_TOPICS_OPTION')
export const brokerInUse = () =>
  new TopicsError('FST_WS_TOPICS_BROKER_IN_USE', 'another Topics already uses this broker: create another broker, or share that Topics')
