import type { EventEmitter } from 'node:events'
import type { Duplex, DuplexOptions, Readable, Writable } from 'node:stream'
import type { ReadableStream, WritableStream } from 'node:stream/web'
import type { IsRaw, RawMessage, Received, Sendable } from './messages.ts'
import type { PublishOptions, PublishResult, SubscribeOptions, SubscribeResult, TopicGap } from './topics.ts'

/** The data of a message: a string (or number) for text; bytes, or a list of pieces of them, for binary. */
export type MessageData = string | number | NodeJS.ArrayBufferView | ArrayBufferLike | Blob | readonly Uint8Array[]

export interface SendOptions {
  /** Whether to send as binary rather than text. Default: text for a string or a number, otherwise binary. */
  binary?: boolean | undefined
  /** Whether to compress, if permessage-deflate was negotiated. Default: true. */
  compress?: boolean | undefined
  /** False: further calls send more fragments of the same message. Default: true. RFC 6455 §5.4. */
  fin?: boolean | undefined
  /** Accepted for compatibility with `ws` and ignored: clients mask, servers do not. */
  mask?: boolean | undefined
}

/** A message for many connections, created only by prepare(). */
export interface PreparedMessage {
  readonly [Symbol.toStringTag]: 'PreparedMessage'
  /** Bytes, uncompressed. */
  readonly length: number
}

export interface PrepareOptions {
  /** As in SendOptions. */
  binary?: boolean | undefined
  compress?: boolean | undefined
}

/** Called when the bytes have been handed to the operating system, or with the reason why they never will be. */
export type SendCallback = (error?: Error) => void

export type BinaryType = 'nodebuffer' | 'arraybuffer' | 'fragments' | 'blob'

/** 0 CONNECTING, 1 OPEN, 2 CLOSING, 3 CLOSED. */
export type ReadyState = 0 | 1 | 2 | 3

/** How a connection ended. */
export interface CloseInfo {
  /** The code of the peer's Close frame; 1005 if it had none, 1006 if there was no Close frame. RFC 6455 §7.1.5. */
  readonly code: number
  readonly reason: string
  /** Both sides sent a Close frame, and everything up to and including ours was handed to the operating system. */
  readonly wasClean: boolean
  /** Our own Close frame (code 1005: it had none); null if none was sent. */
  readonly sent: { readonly code: number, readonly reason: string } | null
  /** Who or what caused the end. */
  readonly cause: CloseCause
}

/**
 * `peer`: the peer's Close frame. `local`: close() or terminate(). `protocol`: the peer broke the protocol. `handler`: a handler, listener
 * or callback failed. `slow`: more than `maxBufferedAmount` was unsent. `stalled`: the peer took no bytes for `stallTimeout`. `rate`: the peer
 * exceeded `rateLimit`. `silent`: no answer to a heartbeat. `shutdown`: the app is closing, or drain(). `transport`: it ended without a Close frame.
 */
export type CloseCause = 'peer' | 'local' | 'protocol' | 'handler' | 'slow' | 'stalled' | 'rate' | 'silent' | 'shutdown' | 'transport'

/** What identifies a connection in logs and metrics. */
export interface ConnectionInfo {
  /** Unique across processes; never sent on the wire. */
  readonly id: string
  /** The pattern of its route, such as `/room/:id`; '' without a route. */
  readonly route: string
  /** The peer's address, like `request.ip` (`trustProxy` applies); undefined if there is none, as on a Unix domain socket. */
  readonly ip: string | undefined
  /** Milliseconds since 1970, like Date.now(); 0 before it is open. */
  readonly openedAt: number
  readonly httpVersion: '1.1' | '2.0'
}

/** The arguments of each event's listeners. */
export interface ConnectionEvents<Receive = RawMessage> {
  /**
   * One message. Text comes as a Buffer of valid UTF-8, as with `ws`; binary by `binaryType`. On a route with `schema.receive` it is a validated
   * value.
   */
  message: IsRaw<Receive> extends true ? [data: Buffer, isBinary: boolean] : [message: Receive, isBinary: false]
  /** Emitted once, as the last event: after all messages and after 'error'. */
  close: [code: number, reason: Buffer]
  /** The peer broke the protocol, a client could not connect, or a stream of the connection failed unheard. A listener is optional. */
  error: [error: Error]
  ping: [data: Buffer]
  pong: [data: Buffer]
  /** After send() returned false: everything unsent is out. */
  drain: []
  /** More than `maxBufferedAmount` bytes were unsent, or `maxBehind` for a subscriber: the connection is closed with 1013. */
  slow: []
  /** Messages of a topic are missing. */
  gap: [gap: TopicGap]
  /** On clients only: a server's connection is open when its handler gets it. */
  open: []
}

export interface ConnectionEvent<Receive = RawMessage, Send = RawMessage> {
  readonly type: string
  readonly target: WebSocketConnection<Receive, Send>
}
export interface MessageEvent<Receive = RawMessage, Send = RawMessage> extends ConnectionEvent<Receive, Send> {
  readonly type: 'message'
  /** A string for text, binary by `binaryType`; the type matches `ws` and omits Blob. With `schema.receive` a value. */
  readonly data: IsRaw<Receive> extends true ? string | Buffer | ArrayBuffer | Buffer[] : Receive
}
/** Also takes the options of node:stream. */
export interface ToDuplexOptions extends Omit<DuplexOptions, 'objectMode' | 'autoDestroy' | 'read' | 'write' | 'writev' | 'final' | 'destroy' | 'construct'> {
  /** True: a stream of messages, each a string or a Buffer. Default: false, a byte stream. */
  readonly objectMode?: boolean | undefined
  /** Whether writes are sent as binary. Default: true for a byte stream; in objectMode like send(). */
  readonly binary?: boolean | undefined
  /** Byte streams only: larger writes are split into messages of this many bytes. Default: 64 KiB. */
  readonly messageSize?: number | undefined
}

export interface MessageWebStreams<Receive = RawMessage, Send = RawMessage> {
  readonly readable: ReadableStream<Received<Receive>>
  readonly writable: WritableStream<Sendable<Send> | PreparedMessage>
  /** Never rejects. */
  readonly closed: Promise<CloseInfo>
}

/** A message that is read as it arrives. Destroying it skips the rest. */
export interface IncomingMessageReadable extends Readable {
  /** False: text; its bytes are UTF-8, validated as they arrive. */
  readonly isBinary: boolean
}

export interface MessageStreamsOptions {
  /** Maximum bytes of a message, instead of the connection's maxPayload; a larger one fails the connection with 1009. Default: no limit. */
  readonly maxPayload?: number | undefined
  /** Leaving the loop early closes the connection with 1000. Default: true. */
  readonly closeOnReturn?: boolean | undefined
}

export interface CreateMessageStreamOptions {
  /** Whether to send as binary rather than text. Default: true. */
  readonly binary?: boolean | undefined
  /** Buffered bytes from which write() returns false. Default: the connection's. */
  readonly highWaterMark?: number | undefined
}

/** What went through a connection. Bytes include frame headers. */
export interface ConnectionStats {
  /** Milliseconds since it was opened; after the end, how long it was open. */
  readonly duration: number
  readonly messagesReceived: number
  /** Accepted by send(). */
  readonly messagesSent: number
  readonly bytesReceived: number
  /** Taken by the transport. */
  readonly bytesSent: number
}

/** What a connection buffers. */
export interface ConnectionLoad {
  readonly info: ConnectionInfo
  /** Bytes of received messages not yet consumed. */
  readonly held: number
  /** Bytes accepted by send() but not yet taken by the transport, like `bufferedAmount`. */
  readonly unsent: number
  /** How many topics it is subscribed to. */
  readonly topics: number
  /**
   * Why reading is paused. `rate`: by `rateLimit`. `paused`: by pause(). `unsent`: the peer first has to take what was sent. `consumer`: held
   * messages wait for a consumer. Null: it is not paused.
   */
  readonly waiting: 'rate' | 'paused' | 'unsent' | 'consumer' | null
}

export interface CloseEvent<Receive = RawMessage, Send = RawMessage> extends ConnectionEvent<Receive, Send>, Pick<CloseInfo, 'code' | 'reason' | 'wasClean'> {
  readonly type: 'close'
}
export interface ErrorEvent<Receive = RawMessage, Send = RawMessage> extends ConnectionEvent<Receive, Send> {
  readonly type: 'error'
  readonly error: Error
  readonly message: string
}

/** The events of addEventListener(), with the objects that listeners get. */
export interface ConnectionEventMap<Receive = RawMessage, Send = RawMessage> {
  open: ConnectionEvent<Receive, Send>
  message: MessageEvent<Receive, Send>
  close: CloseEvent<Receive, Send>
  error: ErrorEvent<Receive, Send>
}

/** May be async. What it throws or rejects with goes to the errorHandler. */
export type ConnectionListener<Event extends keyof ConnectionEvents, Receive = RawMessage, Send = RawMessage> =
  (this: WebSocketConnection<Receive, Send>, ...args: ConnectionEvents<Receive>[Event]) => unknown

type Listener<Event> = ((event: Event) => unknown) | { handleEvent (event: Event): unknown }

export interface ListenerOptions {
  /** Removes the listener after the first event. Default: false. */
  readonly once?: boolean | undefined
  /** Removes the listener when aborted; if already aborted, none is added. */
  readonly signal?: AbortSignal | undefined
}

export interface ReceiveOptions {
  /** Aborting it rejects with its reason. */
  readonly signal?: AbortSignal | undefined
  /** Milliseconds after which receive() rejects with a TimeoutError. Default: none. */
  readonly timeout?: number | undefined
}

/**
 * One WebSocket connection, with the interface of a server-side socket of `ws`. It is assignable to `WebSocket` of @types/ws, so some members have
 * a narrower type for reading than for setting. On a route with `schema.receive` or `schema.send`, messages in that direction are values instead
 * of text and bytes. A function for any connection takes a `WebSocketConnection<any, any>`.
 */
export interface WebSocketConnection<Receive = RawMessage, Send = RawMessage> extends EventEmitter {
  readonly CONNECTING: 0
  readonly OPEN: 1
  readonly CLOSING: 2
  readonly CLOSED: 3
  readonly readyState: ReadyState
  /** The subprotocol negotiated in the opening handshake; '' for none. */
  readonly protocol: string
  /** The extensions negotiated in the opening handshake; '' for none. */
  readonly extensions: string
  /** The URL that a client connected to; '' on a server. */
  readonly url: string
  /** The form of binary messages. Default: 'nodebuffer'. May also be 'blob' when read, which the type omits. */
  get binaryType (): Exclude<BinaryType, 'blob'>
  set binaryType (type: BinaryType)
  /** Bytes accepted by send(), ping() and pong() but not yet taken by the transport, frame headers included. */
  readonly bufferedAmount: number
  /** The last measured round trip (`heartbeat.rtt`), in milliseconds; null until there is one. */
  readonly rtt: number | null
  /** True between pause() and resume(): no messages are delivered. */
  readonly isPaused: boolean
  /** Resolves when the connection is closed; never rejects. */
  readonly closed: Promise<CloseInfo>
  /** Aborted as soon as either side sends Close or the transport is gone; its reason is a ConnectionClosedError. */
  readonly signal: AbortSignal
  /** What identifies it in logs and metrics: a new object each time. */
  readonly info: ConnectionInfo
  /** What went through it so far; after the end, in total. */
  stats (): ConnectionStats
  /** The underlying stream, for libraries that read its addresses. Null before open. */
  readonly _socket: Duplex | null

  /**
   * Sends one message, or with `fin: false` a fragment of one. Messages sent in one tick leave in one write.
   * @returns false if `highWaterMark` bytes or more are waiting: wait for 'drain' or drained() before the next, or memory grows;
   * also false if the connection is not open: nothing is sent and `callback` gets a ConnectionClosedError
   *
   * On a route with `schema.send` it takes a value, even a string, which is sent as JSON with only the properties of the schema. Bytes are sent
   * unchanged, as a binary message.
   * @throws TypeError for data of another type, Error while CONNECTING, and for a prepared message inside one begun with `fin: false`;
   * with `schema.send` a SchemaError for a value that cannot be serialized (FST_WS_SERIALIZATION), and for `binary` or `fin` (FST_WS_TYPED)
   */
  send (data: Sendable<Send>, callback?: SendCallback): boolean
  send (data: Sendable<Send>, options?: IsRaw<Send> extends true ? SendOptions : Pick<SendOptions, 'compress'>, callback?: SendCallback): boolean
  send (message: PreparedMessage, callback?: SendCallback): boolean

  /**
   * Prepares a message for many connections, like the exported prepare(). On a route with `schema.send` it takes a value, which is serialized once.
   * Every connection sends it unchanged, whatever the schema of its own route.
   * @throws like send() for `data`, TypeError for a Blob
   */
  prepare (data: Sendable<Send>, options?: IsRaw<Send> extends true ? PrepareOptions : Pick<PrepareOptions, 'compress'>): PreparedMessage

  /**
   * Waits until send() would return true. A loop that sends without pause also yields the event loop here every 2 ms. Never rejects.
   * @returns whether to go on. False: the connection is closing or closed, and nothing more will be sent
   */
  drained (): Promise<boolean>

  /** Writes sent messages now instead of at the end of the tick, as far as the operating system takes them: for use before long synchronous work. */
  flush (): void

  /**
   * Sends a Ping of up to 125 bytes. RFC 6455 §5.5.2.
   * @throws RangeError for more than 125 bytes
   */
  ping (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback): void
  ping (data?: MessageData, mask?: boolean, callback?: (error: Error) => void): void
  /** Sends an unsolicited Pong of up to 125 bytes; Pings are answered automatically. RFC 6455 §5.5.3. */
  pong (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback): void
  pong (data?: MessageData, mask?: boolean, callback?: (error: Error) => void): void

  /**
   * Starts the closing handshake: sends pending messages, then a Close frame, and waits up to `closeTimeout` (ms, default 5 000) for
   * the peer's. Later calls do nothing. RFC 6455 §7.1.2.
   * @param code 1000 to 1003, 1007 to 1014 or 3000 to 4999. Default: none, which the peer sees as 1005
   * @param reason up to 123 bytes of UTF-8
   * @throws TypeError or RangeError for a code or reason that a Close frame must not carry
   */
  close (code?: number, reason?: string | Uint8Array): void

  /** Drops the connection at once: no Close frame, no more messages, close code 1006. */
  terminate (): void

  /** Stops the delivery of messages. Up to `highWaterMark` bytes are held, then the peer has to wait. */
  pause (): void
  /** Resumes delivery after pause(). Like with a Readable, messages without a consumer are discarded from now on. */
  resume (): void

  /**
   * Resolves with the next message: a string for text, a Buffer for binary, with `schema.receive` a value; null once the connection is closed,
   * cleanly or not. Messages that arrive before the next call are held. Rejects with a ReaderBusyError if there is another reader, and on timeout
   * or abort, which take no message.
   */
  receive (options?: ReceiveOptions): Promise<Received<Receive> | null>
  /**
   * Iterates over the messages, like `for await` over the connection, with backpressure. Ends after a closing handshake, and throws a
   * ConnectionClosedError after any other end.
   * @param options.closeOnReturn leaving the loop early closes the connection with 1000. Default: true
   * @throws ReaderBusyError if there is another reader
   */
  iterator (options?: { closeOnReturn?: boolean | undefined }): AsyncIterableIterator<Received<Receive>, undefined>
  [Symbol.asyncIterator] (): AsyncIterableIterator<Received<Receive>, undefined>

  /**
   * The connection as a byte stream or, with objectMode, as a stream of messages (`string` for text, `Buffer` for binary), with
   * backpressure both ways. Each write is one message, binary unless `binary: false`; a byte stream does not keep message boundaries
   * when read. end() closes with 1000 and finishes when the peer has answered; destroy() terminates. The peer's Close ends reading;
   * while something is piped into the stream, it is answered when that ends, at the latest after `closeTimeout`. Any other end of the
   * connection is a ConnectionClosedError. On a route with a schema for messages it is a stream of values, only in objectMode.
   * @throws ReaderBusyError if there is another reader, SchemaError (FST_WS_TYPED) for a byte stream or `binary` on a route with a schema
   */
  toDuplex (options?: ToDuplexOptions): Duplex
  /**
   * The connection as WHATWG Streams of messages, with backpressure both ways. Closing the writable closes with 1000, aborting it
   * with 1011, cancelling the readable with 1000 (for an Error with 1011). The peer's Close ends reading, as in toDuplex().
   * @throws ReaderBusyError if there is another reader
   */
  toWeb (): MessageWebStreams<Receive, Send>
  /**
   * Iterates over messages of any size as they arrive, each a Readable with backpressure, in constant memory. Asking for the next
   * one skips the rest of the one before. A message cut off by the end of the connection is destroyed with a ConnectionClosedError.
   * `'message'` listeners are not called meanwhile.
   * @throws ReaderBusyError if there is another reader, SchemaError (FST_WS_TYPED) on a route with `schema.receive`
   */
  messageStreams (options?: MessageStreamsOptions): AsyncIterableIterator<IncomingMessageReadable, undefined>
  /**
   * Sends one message of any size, in constant memory: writes become fragments, and end() sends the last. Messages sent meanwhile wait
   * behind it and count in bufferedAmount. Destroying it mid-message closes the connection with 1011, as a message cannot be taken
   * back; close() cuts it off.
   * @throws Error while CONNECTING, or inside a message begun with `fin: false`; SchemaError (FST_WS_TYPED) on a route with `schema.send`
   */
  createMessageStream (options?: CreateMessageStreamOptions): Writable

  /**
   * Sends this connection what is published on `topic` from now on, until it is closed. If clients choose the topic, check that they may
   * subscribe to it.
   * @returns resolves when messages missed since `since`, or the snapshot, were sent: what you send then follows them. Rejects with the code
   * FST_WS_TOPICS_LIMIT beyond `maxTopics`, FST_WS_TOPICS_UNSUBSCRIBED if the subscription ended first, FST_WS_TOPICS_REFUSED, and with the error
   * of the snapshot. May be left unhandled
   * @throws TypeError with the code FST_WS_TOPICS_NAME or FST_WS_TOPICS_OPTION, Error with FST_WS_TOPICS_NONE if the connection has no topics (of
   * connect(), and of upgrade() without the option)
   */
  subscribe (topic: string, options?: SubscribeOptions): Promise<SubscribeResult>
  /** Ends delivery of `topic`; messages already sent still go out. @returns whether it was subscribed */
  unsubscribe (topic: string): boolean
  /** The topics this connection is subscribed to; in 'close' listeners, those it had. */
  readonly topics: ReadonlySet<string>
  /**
   * Publishes to all subscribers except this connection, which may be closed.
   * @returns resolves when the message is accepted
   * @throws like subscribe()
   */
  publish (
    topic: string, data: Exclude<Sendable<Send>, Blob> | PreparedMessage,
    options?: IsRaw<Send> extends true ? Omit<PublishOptions, 'except'> : Pick<PublishOptions, 'compress'>
  ): Promise<PublishResult>

  addEventListener<Type extends keyof ConnectionEventMap> (
    type: Type, listener: Listener<ConnectionEventMap<Receive, Send>[Type]>, options?: ListenerOptions): void
  removeEventListener<Type extends keyof ConnectionEventMap> (
    type: Type, listener: Listener<ConnectionEventMap<Receive, Send>[Type]>): void
  get onopen (): ((event: any) => any) | null
  set onopen (listener: ((event: ConnectionEvent<Receive, Send>) => unknown) | null)
  get onmessage (): ((event: any) => any) | null
  set onmessage (listener: ((event: MessageEvent<Receive, Send>) => unknown) | null)
  get onclose (): ((event: any) => any) | null
  set onclose (listener: ((event: CloseEvent<Receive, Send>) => unknown) | null)
  get onerror (): ((event: any) => any) | null
  set onerror (listener: ((event: ErrorEvent<Receive, Send>) => unknown) | null)

  // Any event name compiles, even a misspelt one: without the second signature of each this would not be assignable to EventEmitter or to
  // WebSocket of @types/ws, and with type parameters there, `socket.on()` would not compile for a union of the two.
  on<Event extends keyof ConnectionEvents> (event: Event, listener: ConnectionListener<Event, Receive, Send>): this
  on (event: string | symbol, listener: (...args: any[]) => unknown): this
  once<Event extends keyof ConnectionEvents> (event: Event, listener: ConnectionListener<Event, Receive, Send>): this
  once (event: string | symbol, listener: (...args: any[]) => unknown): this
  off<Event extends keyof ConnectionEvents> (event: Event, listener: ConnectionListener<Event, Receive, Send>): this
  off (event: string | symbol, listener: (...args: any[]) => unknown): this
  addListener<Event extends keyof ConnectionEvents> (event: Event, listener: ConnectionListener<Event, Receive, Send>): this
  addListener (event: string | symbol, listener: (...args: any[]) => unknown): this
  removeListener<Event extends keyof ConnectionEvents> (event: Event, listener: ConnectionListener<Event, Receive, Send>): this
  removeListener (event: string | symbol, listener: (...args: any[]) => unknown): this
  prependListener<Event extends keyof ConnectionEvents> (event: Event, listener: ConnectionListener<Event, Receive, Send>): this
  prependListener (event: string | symbol, listener: (...args: any[]) => unknown): this
  prependOnceListener<Event extends keyof ConnectionEvents> (event: Event, listener: ConnectionListener<Event, Receive, Send>): this
  prependOnceListener (event: string | symbol, listener: (...args: any[]) => unknown): this
  emit<Event extends keyof ConnectionEvents> (event: Event, ...args: ConnectionEvents<Receive>[Event]): boolean
  emit (event: string | symbol, ...args: any[]): boolean
}
