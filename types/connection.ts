import type { EventEmitter } from 'node:events'
import type { Duplex, DuplexOptions, Readable, Writable } from 'node:stream'
import type { ReadableStream, WritableStream } from 'node:stream/web'
import type { IsRaw, RawMessage, Received, Sendable } from './messages.ts'
import type { PublishOptions, PublishResult, SubscribeOptions, SubscribeResult, TopicGap } from './topics.ts'

/** What a message can be given as: text as a string (or number), binary as bytes, or as the pieces of them in order. */
export type MessageData = string | number | NodeJS.ArrayBufferView | ArrayBufferLike | Blob | readonly Uint8Array[]

export interface SendOptions {
  /** Sent as binary or as text. Default: text for a string or a number, else binary. */
  binary?: boolean | undefined
  /** Whether to compress, once permessage-deflate is agreed. */
  compress?: boolean | undefined
  /** False: more fragments of the same message follow, by further calls. Default: true. RFC 6455 §5.4. */
  fin?: boolean | undefined
  /** Taken from code for `ws`, and ignored: a client masks, a server does not. */
  mask?: boolean | undefined
}

/** What prepare(), and nothing else, makes of a message that goes to many. */
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

/** Called once the bytes were handed to the operating system, or with the reason why they never will be. */
export type SendCallback = (error?: Error) => void

export type BinaryType = 'nodebuffer' | 'arraybuffer' | 'fragments' | 'blob'

/** 0 CONNECTING, 1 OPEN, 2 CLOSING, 3 CLOSED. */
export type ReadyState = 0 | 1 | 2 | 3

/** How a connection ended. */
export interface CloseInfo {
  /** The code of the peer's Close frame; 1005 when that had none, 1006 when there was no Close frame. RFC 6455 §7.1.5. */
  readonly code: number
  readonly reason: string
  /** Both sides sent a Close frame, and all that was sent before ours was handed over to the kernel, as was ours. */
  readonly wasClean: boolean
  /** What our own Close frame said (1005: nothing); null when none was sent. */
  readonly sent: { readonly code: number, readonly reason: string } | null
  /** Who or what brought the end about. */
  readonly cause: CloseCause
}

/**
 * `peer`: its Close frame. `local`: close() or terminate(). `protocol`: the peer broke the protocol (its Close would have been answered).
 * `handler`: a handler, listener or callback failed. `slow`: more than `maxBufferedAmount` was unsent. `stalled`: nothing was taken for
 * `stallTimeout`. `rate`: more came than `rateLimit` allows. `silent`: no answer to a heartbeat. `shutdown`: the app closes, or drain().
 * `transport`: it ended without a Close frame.
 */
export type CloseCause = 'peer' | 'local' | 'protocol' | 'handler' | 'slow' | 'stalled' | 'rate' | 'silent' | 'shutdown' | 'transport'

/** What a connection can be told from others by; it says nothing of what went through it. */
export interface ConnectionInfo {
  /** Of this connection alone, in logs and metrics of any number of processes; never on the wire. */
  readonly id: string
  /** The pattern of the route that it was opened on, such as `/room/:id`; '' without a route. */
  readonly route: string
  /** The peer's address, as `request.ip`, so that `trustProxy` counts; undefined where there is none, such as on a Unix domain socket. */
  readonly ip: string | undefined
  /** Milliseconds since 1970, as Date.now(); 0 before it is open. */
  readonly openedAt: number
  readonly httpVersion: '1.1' | '2.0'
}

/** The arguments of each event's listeners. */
export interface ConnectionEvents<Receive = RawMessage> {
  /**
   * One message. Text comes as a Buffer of valid UTF-8, as with `ws`; binary as `binaryType` says. On a route with `schema.receive` it is a value that
   * the schema allows.
   */
  message: IsRaw<Receive> extends true ? [data: Buffer, isBinary: boolean] : [message: Receive, isBinary: false]
  /** Once, the last event: after all messages and after 'error'. */
  close: [code: number, reason: Buffer]
  /** The peer broke the protocol. Nobody needs to listen for the process to survive. */
  error: [error: Error]
  ping: [data: Buffer]
  pong: [data: Buffer]
  /** After a send() that returned false: the unsent bytes are out. */
  drain: []
  /** More than `maxBufferedAmount` bytes were unsent, or of a topic's subscriber more than `maxBehind`: the connection is closed with 1013. */
  slow: []
  /** Messages of a topic are missing. */
  gap: [gap: TopicGap]
  /** In the client role only: a server's connection is open when its handler gets it. */
  open: []
}

export interface ConnectionEvent<Receive = RawMessage, Send = RawMessage> {
  readonly type: string
  readonly target: WebSocketConnection<Receive, Send>
}
export interface MessageEvent<Receive = RawMessage, Send = RawMessage> extends ConnectionEvent<Receive, Send> {
  readonly type: 'message'
  /** A string for text, else as `binaryType` says. The type is that of `ws`, without the Blob that 'blob' gives. With `schema.receive` a value. */
  readonly data: IsRaw<Receive> extends true ? string | Buffer | ArrayBuffer | Buffer[] : Receive
}
/** Beside these, the options of node:stream. */
export interface ToDuplexOptions extends Omit<DuplexOptions, 'objectMode' | 'autoDestroy' | 'read' | 'write' | 'writev' | 'final' | 'destroy' | 'construct'> {
  /** A stream of messages: a string or a Buffer each. Default: false, of bytes. */
  readonly objectMode?: boolean | undefined
  /** What a write is sent as. Default: true for bytes, and in objectMode as send() does it. */
  readonly binary?: boolean | undefined
  /** Of a stream of bytes: a write of more bytes is sent as several messages. Default: 64 KiB. */
  readonly messageSize?: number | undefined
}

export interface MessageWebStreams<Receive = RawMessage, Send = RawMessage> {
  readonly readable: ReadableStream<Received<Receive>>
  readonly writable: WritableStream<Sendable<Send> | PreparedMessage>
  /** Never rejects. */
  readonly closed: Promise<CloseInfo>
}

/** A message that is read while it comes. Destroying it skips the rest. */
export interface IncomingMessageReadable extends Readable {
  /** False: its bytes are UTF-8, checked as they come. */
  readonly isBinary: boolean
}

export interface MessageStreamsOptions {
  /** Bytes of one message, instead of the connection's maxPayload; more: 1009. Default: no limit. */
  readonly maxPayload?: number | undefined
  /** Leaving the loop early closes the connection with 1000. Default: true. */
  readonly closeOnReturn?: boolean | undefined
}

export interface CreateMessageStreamOptions {
  /** Sent as binary or as text. Default: true. */
  readonly binary?: boolean | undefined
  /** Bytes from which write() returns false. Default: the connection's. */
  readonly highWaterMark?: number | undefined
}

/** What went through a connection. Bytes are those of frames, headers included. */
export interface ConnectionStats {
  /** Milliseconds since it was opened, until it was closed. */
  readonly duration: number
  readonly messagesReceived: number
  /** Accepted by send(). */
  readonly messagesSent: number
  readonly bytesReceived: number
  /** Taken by the transport. */
  readonly bytesSent: number
}

/** What waits in a connection. */
export interface ConnectionLoad {
  readonly info: ConnectionInfo
  /** Bytes of messages that came in and nobody has taken yet. */
  readonly held: number
  /** Bytes accepted by send() that the transport has not taken, as `bufferedAmount`. */
  readonly unsent: number
  /** How many topics it is subscribed to. */
  readonly topics: number
  /**
   * What its reading waits for: `rate`, the pace of `rateLimit`. `paused`: resume(). `unsent`: the peer has to take what it was sent. `consumer`: messages are held that nobody
   * takes. Null: nothing, it is read.
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

/** The events that addEventListener() knows, with the objects that its listeners get. */
export interface ConnectionEventMap<Receive = RawMessage, Send = RawMessage> {
  open: ConnectionEvent<Receive, Send>
  message: MessageEvent<Receive, Send>
  close: CloseEvent<Receive, Send>
  error: ErrorEvent<Receive, Send>
}

/** May be async: what it rejects with goes where what it throws goes, to the errorHandler. */
export type ConnectionListener<Event extends keyof ConnectionEvents, Receive = RawMessage, Send = RawMessage> =
  (this: WebSocketConnection<Receive, Send>, ...args: ConnectionEvents<Receive>[Event]) => unknown

type Listener<Event> = ((event: Event) => unknown) | { handleEvent (event: Event): unknown }

export interface ListenerOptions {
  /** Listens to one event. Default: false. */
  readonly once?: boolean | undefined
  /** Listens until it is aborted, and not at all when it is already. */
  readonly signal?: AbortSignal | undefined
}

export interface ReceiveOptions {
  /** Gives up when it is aborted, with its reason. */
  readonly signal?: AbortSignal | undefined
  /** Milliseconds after which it gives up with a TimeoutError. Default: none. */
  readonly timeout?: number | undefined
}

/**
 * One WebSocket connection, shaped like a server-side socket of `ws`: to the compiler too it is a `WebSocket` of @types/ws. That is why some
 * members can be read as less than what they can be set to. On a route with `schema.receive` or `schema.send` values stand in that direction
 * where text and bytes do else: a function that takes any connection takes a `WebSocketConnection<any, any>`.
 */
export interface WebSocketConnection<Receive = RawMessage, Send = RawMessage> extends EventEmitter {
  readonly CONNECTING: 0
  readonly OPEN: 1
  readonly CLOSING: 2
  readonly CLOSED: 3
  readonly readyState: ReadyState
  /** The subprotocol agreed in the opening handshake; '' for none. */
  readonly protocol: string
  /** The extensions agreed in the opening handshake; '' for none. */
  readonly extensions: string
  /** The URL that a client connected to; '' on a server. */
  readonly url: string
  /** What binary messages arrive as. Default: 'nodebuffer'. 'blob' can be read as well, whatever the type says. */
  get binaryType (): Exclude<BinaryType, 'blob'>
  set binaryType (type: BinaryType)
  /** Bytes that send(), ping() and pong() took and the transport has not, frame headers included. */
  readonly bufferedAmount: number
  /** Milliseconds that the peer took to answer the last Ping that measures (`heartbeat.rtt`); null until there is one. */
  readonly rtt: number | null
  /** Between pause() and resume(): no message is delivered. */
  readonly isPaused: boolean
  /** Resolves when the connection is closed; never rejects. */
  readonly closed: Promise<CloseInfo>
  /** Aborted when the connection is closed. */
  readonly signal: AbortSignal
  /** What it can be told from others by: a new object each time. */
  readonly info: ConnectionInfo
  /** What went through so far; after the end, in all. */
  stats (): ConnectionStats
  /** The stream underneath, for libraries that look at its addresses. Null before open. */
  readonly _socket: Duplex | null

  /**
   * Sends one message, or with `fin: false` a fragment of one. Sends of one tick leave in one write.
   * @returns false when `highWaterMark` bytes or more are waiting: wait for 'drain' or drained() before the next, or memory grows;
   * false too when the connection is not open: nothing is sent and `callback` gets a ConnectionClosedError
   *
   * On a route with `schema.send` it takes a value, which goes out as JSON with nothing in it that the schema does not have. A string is a value too.
   * Bytes go out as they are, in a binary message.
   * @throws TypeError for data of another type, Error while CONNECTING, and for a prepared message in one that was begun with `fin: false`;
   * with `schema.send` a SchemaError for what cannot be serialized (FST_WS_SERIALIZATION), and for `binary` or `fin` (FST_WS_TYPED)
   */
  send (data: Sendable<Send>, callback?: SendCallback): boolean
  send (data: Sendable<Send>, options?: IsRaw<Send> extends true ? SendOptions : Pick<SendOptions, 'compress'>, callback?: SendCallback): boolean
  send (message: PreparedMessage, callback?: SendCallback): boolean

  /**
   * Makes a message for many connections, as the export of that name does; on a route with `schema.send` of a value, which is serialized once. Each of
   * them sends it as it is, whatever its own route says.
   * @throws as send() does for `data`, TypeError for a Blob
   */
  prepare (data: Sendable<Send>, options?: IsRaw<Send> extends true ? PrepareOptions : Pick<PrepareOptions, 'compress'>): PreparedMessage

  /**
   * Waits until send() would return true, or until it is someone else's turn: whoever sends without a pause leaves the event loop to others
   * every 2 ms. Never rejects.
   * @returns whether to go on. False: the connection is closing or closed, and nothing more will be sent
   */
  drained (): Promise<boolean>

  /** Hands what was sent to the operating system now, as far as it takes it, instead of at the end of the tick: before work that takes long. */
  flush (): void

  /**
   * Sends a Ping of up to 125 bytes. RFC 6455 §5.5.2.
   * @throws RangeError for more than 125 bytes
   */
  ping (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback): void
  ping (data?: MessageData, mask?: boolean, callback?: (error: Error) => void): void
  /** Sends an unasked Pong of up to 125 bytes; pings are answered without it. RFC 6455 §5.5.3. */
  pong (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback): void
  pong (data?: MessageData, mask?: boolean, callback?: (error: Error) => void): void

  /**
   * Starts the closing handshake: what was sent goes out, then a Close frame, then up to `closeTimeout` (ms, default 5 000)
   * passes for the peer's. Later calls do nothing. RFC 6455 §7.1.2.
   * @param code 1000 to 1003, 1007 to 1014 or 3000 to 4999. Default: none, which the peer sees as 1005
   * @param reason up to 123 bytes of UTF-8
   * @throws TypeError or RangeError for a code or reason that no Close frame may carry
   */
  close (code?: number, reason?: string | Uint8Array): void

  /** Drops the connection at once: no Close frame, no more messages, close code 1006. */
  terminate (): void

  /** Stops the delivery of messages. Up to `highWaterMark` bytes of them are held, then the peer has to wait. */
  pause (): void
  /** Goes on after pause(). Messages that nobody listens for are from now on discarded, as a Readable's are. */
  resume (): void

  /**
   * Takes the next message out: a string for text, a Buffer for binary, with `schema.receive` a value. Null once the connection is closed, however.
   * Rejects with a ReaderBusyError while another reader is there, and when it gives up, which takes nothing out. What comes until the next
   * call is held.
   */
  receive (options?: ReceiveOptions): Promise<Received<Receive> | null>
  /**
   * Iterates over the messages, as `for await` over the connection does. Messages wait, and then the peer, until the next is
   * asked for. It ends after a closing handshake, and throws a ConnectionClosedError after any other end.
   * @param options.closeOnReturn leaving the loop early closes the connection with 1000. Default: true
   * @throws ReaderBusyError while another reader is there
   */
  iterator (options?: { closeOnReturn?: boolean | undefined }): AsyncIterableIterator<Received<Receive>, undefined>
  [Symbol.asyncIterator] (): AsyncIterableIterator<Received<Receive>, undefined>

  /**
   * The connection as a stream of bytes, or of messages (`string` for text, `Buffer` for binary) in objectMode, with backpressure
   * both ways. One write is one message, binary unless `binary: false`; in reading bytes the boundaries of messages are lost.
   * end() closes with 1000 and finishes when the peer has answered, destroy() terminates. The peer's Close ends reading; while
   * something is piped into the stream it is answered when that ends, at the latest after `closeTimeout`. Any other end of the
   * connection is a ConnectionClosedError. On a route with a schema for messages it is one of values, in objectMode alone.
   * @throws ReaderBusyError while another reader is there, SchemaError (FST_WS_TYPED) for bytes or `binary` where there are values
   */
  toDuplex (options?: ToDuplexOptions): Duplex
  /**
   * The connection as WHATWG Streams of messages, with backpressure both ways. Closing the writable closes with 1000, aborting it
   * with 1011, cancelling the readable with 1000. The peer's Close ends reading, as in toDuplex().
   * @throws ReaderBusyError while another reader is there
   */
  toWeb (): MessageWebStreams<Receive, Send>
  /**
   * Iterates over messages of any size while they come, each a Readable with backpressure, in constant memory. Asking for the next
   * one skips what is left of the one before. A message that ends with the connection is destroyed with a ConnectionClosedError.
   * `'message'` listeners beside it are not called.
   * @throws ReaderBusyError while another reader is there, SchemaError (FST_WS_TYPED) on a route with `schema.receive`
   */
  messageStreams (options?: MessageStreamsOptions): AsyncIterableIterator<IncomingMessageReadable, undefined>
  /**
   * Sends one message of any size, in constant memory: each write is a fragment, end() the last. What send() is given meanwhile waits
   * behind it, and counts in bufferedAmount. Destroying it in mid-message closes the connection with 1011, as a message cannot be
   * taken back; a close() cuts it off.
   * @throws Error while CONNECTING, or in a message that was begun with `fin: false`; SchemaError (FST_WS_TYPED) on a route with `schema.send`
   */
  createMessageStream (options?: CreateMessageStreamOptions): Writable

  /**
   * Has this connection sent what is published on `topic`, at once. It ends with the connection. Whoever subscribes to what a client names should know
   * which names those may be.
   * @returns resolves when what was missed since `since`, or the snapshot, was sent: what is sent then comes behind that. Rejects with the code FST_WS_TOPICS_LIMIT beyond `maxTopics`,
   * FST_WS_TOPICS_UNSUBSCRIBED when it ended before, FST_WS_TOPICS_REFUSED, and with what the snapshot rejects with. Need not be waited for
   * @throws TypeError with the code FST_WS_TOPICS_NAME or FST_WS_TOPICS_OPTION, Error with FST_WS_TOPICS_NONE where there are no topics: of
   * connect(), and of upgrade() without them
   */
  subscribe (topic: string, options?: SubscribeOptions): Promise<SubscribeResult>
  /** Nothing of `topic` is delivered afterwards; what was sent before goes out. @returns whether it was subscribed */
  unsubscribe (topic: string): boolean
  /** What this connection is subscribed to; in 'close' listeners, what it was. */
  readonly topics: ReadonlySet<string>
  /**
   * Publishes for all but this connection. A closed one may do that too.
   * @returns resolves when it is accepted
   * @throws as subscribe() does
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

  // Any name compiles, a misspelt one too: without the second signature of each this would be no EventEmitter and no WebSocket of @types/ws,
  // and with type parameters in it `socket.on()` would not compile where `socket` may be one or the other.
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
