// in:  transport -> FrameParser -> MessageAssembler -> (Inbox, while nobody takes it) -> listeners
// out: send() -> Outbox -> FrameSerializer -> transport
// The two lines meet here and nowhere else: Ping -> Pong, Close -> Close, and what is unsent holds up what is read.
import type { Duplex } from 'node:stream'
import type {
  BinaryType, CloseInfo, MessageData, ReadyState, SendCallback, SendOptions, WebSocketConnection
} from '../types/connection.ts'
import { INTERNAL_ERROR } from './close-code.ts'
import { createClose, parseClosePayload, serializeClosePayload, type Close } from './close-payload.ts'
import { ClosingHandshake } from './closing-handshake.ts'
import { ConnectionClosedError, ProtocolError } from './errors.ts'
import { ListenableConnection } from './event-target.ts'
import { MAX_CONTROL_PAYLOAD, type Frame } from './frame.ts'
import { FrameParser, type Role } from './frame-parser.ts'
import { FrameSerializer } from './frame-serializer.ts'
import { Inbox } from './inbox.ts'
import { MessageAssembler, type Message } from './message-assembler.ts'
import { BINARY_TYPES, convertBinary, toPayload } from './message-data.ts'
import { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT } from './opcode.ts'
import { Outbox } from './outbox.ts'
import type { Transport } from './transport.ts'

const CONNECTING = 0 as const
const OPEN = 1 as const
const CLOSING = 2 as const
const CLOSED = 3 as const

export interface ConnectionSettings {
  readonly role: Role
  /** Bytes of one message; a larger one fails the connection with 1009. */
  readonly maxPayload: number
  /** Bytes of messages held for a consumer, and of sends before send() says false. */
  readonly highWaterMark: number
  /** Milliseconds for each step of the ending: the peer's Close, the end of its stream, the messages still held. */
  readonly closeTimeout: number
  readonly protocol?: string
  readonly extensions?: string
  readonly url?: string
}

/** Who answers for a connection: gets what its listeners throw, and takes it off the list before 'close'. */
export interface ConnectionOwner {
  onError (error: unknown, connection: Connection): void
  onClose (connection: Connection): void
}

export class Connection extends ListenableConnection implements WebSocketConnection {
  static readonly CONNECTING = CONNECTING
  static readonly OPEN = OPEN
  static readonly CLOSING = CLOSING
  static readonly CLOSED = CLOSED
  declare readonly CONNECTING: 0
  declare readonly OPEN: 1
  declare readonly CLOSING: 2
  declare readonly CLOSED: 3

  #binaryType: BinaryType = 'nodebuffer'
  readonly #settings: ConnectionSettings
  readonly #owner: ConnectionOwner

  #transport: Transport | null = null
  #parser: FrameParser | null = null
  #outbox: Outbox | null = null
  readonly #assembler = new MessageAssembler()
  readonly #inbox = new Inbox()
  readonly #closing = new ClosingHandshake()
  #outgoingMessage = false // a message with fin: false has begun

  // Whether a message without a listener waits for one (the handler may still attach it) or is discarded.
  #expectsConsumer = true
  #paused = false
  #reading = false
  #readScheduled = false
  // Messages count no more, but Ping, Close and the end of the stream do.
  #discards = false
  // Nothing that comes in counts any more: the connection has failed or was terminated.
  #deaf = false
  // The peer, or the transport as a whole, is done without a Close frame; sending is over.
  #ended = false
  #isTransportClosed = false
  #closed = false
  #deadline: NodeJS.Timeout | null = null

  #needsDrain = false
  #drainWaiters: Array<() => void> = []
  #closedPromise: PromiseWithResolver<CloseInfo> | null = null
  #abortController: AbortController | null = null

  constructor (settings: ConnectionSettings, owner: ConnectionOwner) {
    super()
    this.#settings = settings
    this.#owner = owner
  }

  get readyState (): ReadyState {
    if (this.#closed) return CLOSED
    if (this.#closing.started || this.#deaf || this.#ended) return CLOSING
    return this.#transport === null ? CONNECTING : OPEN
  }

  get protocol (): string { return this.#settings.protocol ?? '' }
  get extensions (): string { return this.#settings.extensions ?? '' }
  get url (): string { return this.#settings.url ?? '' }
  get bufferedAmount (): number { return this.#outbox?.bufferedAmount ?? 0 }
  get isPaused (): boolean { return this.#paused }
  get binaryType (): BinaryType { return this.#binaryType }
  // what is none of them changes nothing, as with ws and in a browser
  set binaryType (type) { if (BINARY_TYPES.has(type)) this.#binaryType = type }
  get _socket (): Duplex | null { return this.#transport?.stream ?? null }

  get closed (): Promise<CloseInfo> {
    if (this.#closedPromise === null) {
      this.#closedPromise = withResolver<CloseInfo>()
      if (this.#closed) this.#closedPromise.resolve(this.#closeInfo())
    }
    return this.#closedPromise.promise
  }

  get signal (): AbortSignal {
    if (this.#abortController === null) {
      this.#abortController = new AbortController()
      if (this.#closed) this.#abortController.abort(new ConnectionClosedError('the connection is closed'))
    }
    return this.#abortController.signal
  }

  // Opening

  /**
   * Takes over a transport whose opening handshake is done. Reading starts in a later turn, so that whoever calls can hand
   * the connection on before anything is delivered.
   * @param head bytes that came behind the handshake
   * @internal
   */
  open (transport: Transport, head: Buffer): void {
    const { role, maxPayload } = this.#settings
    this.#transport = transport
    this.#parser = new FrameParser({ role, maxPayload, ownsChunks: transport.ownsChunks })
    this.#outbox = new Outbox(transport, new FrameSerializer({ role }), {
      onWritten: callbacks => { this.#onWritten(callbacks) },
      onUnreadable: (error, callback) => { this.#onUnreadable(error, callback) }
    })
    transport.tune()
    const { stream } = transport
    stream.on('error', () => {}) // 'close' follows
    stream.on('close', () => { this.#onTransportClose() })
    stream.on('end', () => { this.#onTransportEnd() })
    stream.on('drain', () => { this.#outbox!.flush() })
    process.nextTick(() => {
      if (stream.closed) this.#onTransportClose()
      if (stream.destroyed) return
      stream.on('data', (chunk: Buffer) => { this.#onChunk(chunk) })
      this.#onChunk(head)
      if (stream.readableEnded) this.#onTransportEnd()
    })
  }

  /** The handler is done: a message that nobody listens for is from now on discarded. @internal */
  handlerSettled (): void {
    this.#expectsConsumer = false
    this.#scheduleRead()
  }

  // Receiving

  #onChunk (chunk: Buffer): void {
    if (this.#deaf) return
    this.#parser!.feed(chunk)
    this.#read()
  }

  /** Delivers what is held and then what the parser finds, for as long as somebody takes it. */
  #read (): void {
    // What a listener calls may lead back here; the loop that runs already sees what changed.
    if (this.#reading) return
    this.#reading = true
    this.#outbox!.hold()
    this.inContext(() => { this.#readLoop() })
    this.#reading = false
    this.#outbox!.release()
    this.#tryFinish()
  }

  #readLoop (): void {
    try {
      this.#deliverHeld()
      while (this.#wantsInput()) {
        const frame = this.#parser!.next()
        if (frame === null) {
          this.#transport!.stream.resume()
          return
        }
        this.#onFrame(frame)
        this.#deliverHeld()
      }
      if (!this.#deaf) this.#transport!.stream.pause()
    } catch (error) {
      if (error instanceof ProtocolError) {
        this.#failConnection(error)
      } else { // memory ran out, say: no message may be left out without a word
        this.handlerFailed(error)
        this.closeFailed()
      }
      this.#deliverHeld()
    }
  }

  #wantsInput (): boolean {
    if (this.#deaf) return false
    if (this.#inbox.bytes >= this.#settings.highWaterMark) return false
    // An echo to a peer that does not read must not pile up. Whoever obeys `false` never gets there, and two obedient
    // peers that both send cannot block each other, as a client never stops reading, nor a server that is closing.
    return this.#settings.role === 'client' || this.#closing.sent !== null ||
      this.#outbox!.bufferedAmount <= 2 * this.#settings.highWaterMark
  }

  #onFrame (frame: Frame): void {
    switch (frame.opcode) {
      case TEXT:
      case BINARY:
      case CONTINUATION: {
        const message = this.#assembler.add(frame)
        if (message !== null) this.#onMessage(message)
        break
      }
      case PING:
        if (this.readyState === OPEN) this.#outbox!.addControl(PONG, frame.payload)
        this.emitSafely('ping', frame.payload)
        break
      case PONG:
        this.emitSafely('pong', frame.payload)
        break
      case CLOSE:
        this.#inbox.add({ type: 'close', close: parseClosePayload(frame.payload) })
        this.#startDeadline()
    }
  }

  #onMessage (message: Message): void {
    if (this.#discards) return
    if (this.#inbox.isEmpty && this.#hasListener()) this.#deliver(message)
    else if (this.#holds()) this.#inbox.add({ type: 'message', message })
  }

  #hasListener (): boolean {
    return !this.#paused && !this.#discards && this.listenerCount('message') > 0
  }

  /** Whether a message that cannot be delivered now may be later. */
  #holds (): boolean {
    return !this.#discards && (this.#paused || this.#expectsConsumer || this.listenerCount('message') > 0)
  }

  #deliverHeld (): void {
    for (let entry = this.#inbox.peek(); entry !== undefined; entry = this.#inbox.peek()) {
      if (entry.type === 'message') {
        const deliver = this.#hasListener()
        if (!deliver && this.#holds()) return
        this.#inbox.shift()
        if (deliver) this.#deliver(entry.message)
      } else {
        this.#inbox.shift()
        if (entry.type === 'close') this.#answerClose(entry.close)
        else if (entry.type === 'end') this.#answerEnd()
        else if (this.listenerCount('error') > 0) this.emitSafely('error', entry.error)
      }
    }
  }

  #deliver ({ data, isBinary }: Message): void {
    // the type says Buffer, as that is what it is unless the application set binaryType
    this.emitSafely('message', isBinary ? convertBinary(data, this.binaryType) as Buffer : data, isBinary)
  }

  /** In a later turn, and once for many calls. */
  #scheduleRead (): void {
    if (this.#readScheduled || this.#transport === null) return
    this.#readScheduled = true
    process.nextTick(() => {
      this.#readScheduled = false
      this.#read()
    })
  }

  pause (): void {
    if (this.readyState === OPEN) this.#paused = true
  }

  resume (): void {
    if (!this.#paused && !this.#expectsConsumer) return
    this.#paused = false
    this.#expectsConsumer = false
    this.#scheduleRead()
  }

  protected override onConsumer (): void {
    this.#scheduleRead()
  }

  // Sending

  send (data: MessageData, options?: SendOptions | SendCallback, callback?: SendCallback): boolean {
    if (typeof options === 'function') return this.send(data, undefined, options)
    if (!this.#maySend(callback)) return false
    const payload = toPayload(data)
    const isText = options?.binary === undefined ? typeof payload === 'string' : !options.binary
    const fin = options?.fin ?? true
    this.#outbox!.add(this.#outgoingMessage ? CONTINUATION : isText ? TEXT : BINARY, fin, payload, callback ?? undefined)
    this.#outgoingMessage = !fin
    this.#needsDrain ||= this.bufferedAmount >= this.#settings.highWaterMark
    return !this.#needsDrain
  }

  drained (): Promise<void> {
    if (!this.#needsDrain) return Promise.resolve()
    return new Promise(resolve => { this.#drainWaiters.push(resolve) })
  }

  ping (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback): void {
    this.#sendControl(PING, data, mask, callback)
  }

  pong (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback): void {
    this.#sendControl(PONG, data, mask, callback)
  }

  // `mask` stands where `ws` has it; the role decides.
  #sendControl (
    opcode: typeof PING | typeof PONG, data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback
  ): void {
    const done = [data, mask, callback].find(argument => typeof argument === 'function')
    if (!this.#maySend(done)) return
    const payload = data === undefined || data === null || typeof data === 'function' ? '' : toPayload(data)
    if (payload instanceof Blob) throw new TypeError('a Blob cannot be sent in a Ping or Pong')
    const bytes = Buffer.from(payload)
    if (bytes.length > MAX_CONTROL_PAYLOAD) {
      throw new RangeError(`${bytes.length} bytes cannot be sent in a Ping or Pong, ${MAX_CONTROL_PAYLOAD} is the limit`)
    }
    this.#outbox!.addControl(opcode, bytes, done)
  }

  #maySend (callback: SendCallback | null | undefined): boolean {
    if (this.readyState === OPEN) return true
    if (this.readyState === CONNECTING) throw new Error('the connection is not open yet: readyState is CONNECTING')
    if (callback) {
      process.nextTick(() => { this.callSafely(callback, new ConnectionClosedError('the connection is closing or closed')) })
    }
    return false
  }

  #onWritten (callbacks: SendCallback[]): void {
    // our Close is on its way behind this, and who still reads is not dropped for being slow
    if (this.#closing.sent !== null) this.#startDeadline()
    for (const callback of callbacks) this.callSafely(callback)
    if (this.#needsDrain && this.bufferedAmount === 0) this.#drain()
    // reading may have waited for this
    if (this.#transport!.stream.isPaused()) this.#read()
  }

  #onUnreadable (error: Error, callback: SendCallback | undefined): void {
    if (callback !== undefined) this.callSafely(callback, error)
    this.#owner.onError(error, this)
    this.closeFailed() // a message is missing that was said to be sent
  }

  #drain (): void {
    this.#needsDrain = false
    const waiters = this.#drainWaiters
    this.#drainWaiters = []
    for (const resolve of waiters) resolve()
    if (!this.#closed) this.inContext(() => { this.emitSafely('drain') })
  }

  // Closing

  close (code?: number, reason?: string | Uint8Array): void {
    const close = createClose(code, reason)
    if (this.readyState === CONNECTING) this.terminate()
    if (this.readyState !== OPEN) return
    this.#sendClose(close)
    this.#startDeadline()
    this.#paused = false
    this.#expectsConsumer = false
    this.#scheduleRead()
  }

  terminate (): void {
    if (this.#closed) return
    this.#deaf = true
    this.#inbox.clear()
    if (this.#transport === null) process.nextTick(() => { this.#finish() })
    else this.#transport.abort()
  }

  /** The handler that this connection was given to has failed. @internal */
  handlerFailed (error: unknown): void {
    this.#owner.onError(error, this)
  }

  /** Closes with 1011, and delivers nothing more: who failed on one message is not given the next. @internal */
  closeFailed (): void {
    this.#discards = true
    this.#scheduleRead()
    if (this.readyState === OPEN) this.#abandon({ code: INTERNAL_ERROR, reason: Buffer.alloc(0) })
  }

  /** §7.1.7: fail the connection. */
  #failConnection (error: ProtocolError): void {
    this.#abandon({ code: error.closeCode, reason: Buffer.from(error.message).subarray(0, MAX_CONTROL_PAYLOAD - 2) })
    this.#inbox.add({ type: 'failure', error })
  }

  /** Sends Close and does not wait for the peer's: what it sends is no longer looked at. */
  #abandon (close: Close): void {
    this.#sendClose(close)
    this.#deaf = true
    // read on: a close with unread bytes makes TCP drop what is on its way to the peer, our Close frame too
    this.#transport!.stream.resume()
    this.#outbox!.end()
    this.#startDeadline()
  }

  #sendClose (close: Close): void {
    if (this.#closing.sent !== null) return
    this.#closing.send(close)
    this.#outbox!.add(CLOSE, true, serializeClosePayload(close))
  }

  #answerClose (close: Close): void {
    this.#closing.receive(close)
    this.#sendClose(close)
    // §7.1.1: the server closes the TCP connection first
    if (this.#settings.role === 'server') this.#outbox!.end()
    this.#startDeadline()
  }

  /** The peer will send nothing more. Like its Close, that has its turn behind the messages before it. */
  #onTransportEnd (): void {
    this.#inbox.add({ type: 'end' })
    this.#startDeadline()
    this.#read()
  }

  #answerEnd (): void {
    this.#ended = true
    this.#outbox!.end()
  }

  #onTransportClose (): void {
    if (this.#isTransportClosed) return
    this.#isTransportClosed = true
    this.#ended = true
    const error = new ConnectionClosedError('the connection was closed before the message was sent')
    for (const callback of this.#outbox!.destroy(error)) this.callSafely(callback)
    this.#startDeadline()
    this.#read()
  }

  /** One time-out for whatever the ending waits for: the peer's Close, the end of its stream, or our own consumer. */
  #startDeadline (): void {
    clearTimeout(this.#deadline ?? undefined)
    this.#deadline = setTimeout(() => { this.#onDeadline() }, this.#settings.closeTimeout)
  }

  #onDeadline (): void {
    if (this.#inbox.isEmpty) {
      this.#transport!.abort()
      return
    }
    // What waited behind messages that nobody took has its turn now.
    this.#discards = true
    this.#startDeadline()
    this.#read()
  }

  /** The connection is closed once the transport is and nothing is left to deliver. */
  #tryFinish (): void {
    if (this.#inbox.isEmpty && this.#isTransportClosed) this.#finish()
  }

  #finish (): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#deadline ?? undefined)
    this.#drain()
    this.#owner.onClose(this)
    const { code, reason } = this.#closing.outcome
    this.inContext(() => { this.emitSafely('close', code, reason) })
    this.#closedPromise?.resolve(this.#closeInfo())
    this.#abortController?.abort(new ConnectionClosedError('the connection is closed'))
  }

  #closeInfo (): CloseInfo {
    const { code, reason, wasClean } = this.#closing.outcome
    return { code, reason: reason.toString(), wasClean }
  }

  protected override onListenerError (error: unknown): void {
    this.#owner.onError(error, this)
  }
}

for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSING, CLOSED })) {
  Object.defineProperty(Connection.prototype, name, { value, enumerable: true })
}

interface PromiseWithResolver<Value> {
  readonly promise: Promise<Value>
  readonly resolve: (value: Value) => void
}

function withResolver<Value> (): PromiseWithResolver<Value> {
  let resolve: (value: Value) => void
  const promise = new Promise<Value>(_resolve => { resolve = _resolve })
  return { promise, resolve: resolve! }
}
