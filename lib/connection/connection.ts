// in:  transport -> Receiver (FrameParser, Inflater, MessageAssembler, HeldMessages) -> listeners, or a reader
// out: send() -> Sender (Deflater, SendQueue, FrameSerializer) -> transport
// The two lines meet here and nowhere else: Ping -> Pong, Close -> Close, and what is unsent holds up what is read.
import type { Socket } from 'node:net'
import type { Duplex, Writable } from 'node:stream'
import type {
  BinaryType, CloseInfo, ConnectionInfo, ConnectionLoad, ConnectionStats, CreateMessageStreamOptions, MessageData, PreparedMessage as Prepared,
  PrepareOptions, ReadyState, SendCallback, SendOptions, WebSocketConnection
} from '../../types/connection.ts'
import { Deflater } from '../compression/deflater.ts'
import { ConnectionClosedError, type MessageError, notTyped, ProtocolError } from '../errors.ts'
import type { Message } from '../framing/message-assembler.ts'
import { NORMAL_CLOSURE, TRY_AGAIN_LATER } from '../protocol/close-code.ts'
import { createClose, type Close } from '../protocol/close.ts'
import { BINARY, CONTINUATION, PING, PONG, TEXT } from '../protocol/opcode.ts'
import { listen, listenToData, type StreamListener } from '../transport/stream-listener.ts'
import type { Transport } from '../transport/transport.ts'
import { Closing, type ClosingOwner } from './closing.ts'
import { idOf, nextNumber } from './identity.ts'
import type { MessageReader, MessageReaderOwner } from './incoming/message-reader.ts'
import { Receiver, type ReceiverOwner } from './incoming/receiver.ts'
import { Liveness, type LivenessOwner } from './liveness.ts'
import { BINARY_TYPES, convertBinary, toControlPayload, toPayload } from './message-data.ts'
import { CHANNELS, FACTS, noTraffic, type Traffic } from './observability.ts'
import { Backpressure } from './outgoing/backpressure.ts'
import { MessageSlot } from './outgoing/message-slot.ts'
import { Sender, type SenderOwner } from './outgoing/sender.ts'
import { prepare, PreparedMessage } from './prepared-message.ts'
import { RoundTrip, type RoundTripOwner } from './round-trip.ts'
import type { Agreement, ConnectionSettings } from './settings.ts'
import { SubscribingConnection, type SubscriptionTable } from './subscribing-connection.ts'
import { nextTurn } from './turn-clock.ts'
import { OutgoingMessageStream } from './views/outgoing-message-stream.ts'

const NOTHING: Buffer = Buffer.alloc(0)

/** Who answers for a connection: gets what its listeners throw, and takes it off the list before 'close'. */
export interface ConnectionOwner {
  /** What the connection came from, where somebody observed when it was accepted. */
  readonly request?: unknown
  /** Where somebody knows more of the peer's address than the transport tells. */
  readonly ip?: string | undefined
  onError (error: unknown, connection: Connection): void
  onClose (connection: Connection, info: CloseInfo): void
  /** Our Close is about to go out. */
  onSendingClose? (connection: Connection): void
  /**
   * A message that the schema does not allow. @returns whether somebody has taken it up, a promise while he is at it, which never rejects. False, as
   * where this is absent: it fails the connection
   */
  onInvalidMessage? (error: MessageError, connection: Connection): Promise<unknown> | boolean
  /** The peer has answered a Ping that measures. */
  onRoundTrip? (milliseconds: number, connection: Connection): void
  /** Something that whoever wrote the handler should know of. */
  onWarning (message: string): void
}

const CONNECTING = 0 as const
const OPEN = 1 as const
const CLOSING = 2 as const
const CLOSED = 3 as const

export class Connection extends SubscribingConnection implements WebSocketConnection {
  static readonly CONNECTING = CONNECTING
  static readonly OPEN = OPEN
  static readonly CLOSING = CLOSING
  static readonly CLOSED = CLOSED
  declare readonly CONNECTING: 0
  declare readonly OPEN: 1
  declare readonly CLOSING: 2
  declare readonly CLOSED: 3

  #binaryType: BinaryType = 'nodebuffer'
  readonly #number = nextNumber()
  readonly #settings: ConnectionSettings
  readonly #owner: ConnectionOwner

  #transport: Transport | null = null
  // what the opening handshake has agreed on
  #protocol = ''
  #extensions = ''
  readonly #parts: ReceiverOwner & SenderOwner & LivenessOwner & RoundTripOwner & ClosingOwner & StreamListener
  readonly #receiver: Receiver
  #sender: Sender | null = null
  #liveness: Liveness | null = null
  #roundTrip: RoundTrip | null = null
  readonly #closing: Closing
  #hasHandlerFailed = false

  #outgoingMessage = false // a message with fin: false has begun
  #messagesSent = 0
  #openedAt = 0
  #closedAt: number | null = null

  readonly #backpressure: Backpressure
  #unansweredPing: Buffer | null = null

  constructor (settings: ConnectionSettings, owner: ConnectionOwner) {
    super()
    this.#settings = settings
    this.#owner = owner
    this.#backpressure = new Backpressure(settings.highWaterMark)
    this.#parts = new Connection.#Inside(this)
    this.#receiver = new Receiver(settings, this.#parts)
    this.#closing = new Closing(settings, this.#parts, this.#receiver)
  }

  /** The connection as its parts see it: one object with methods, where closures would cost each connection 2 KiB. */
  static readonly #Inside = class implements ReceiverOwner, SenderOwner, LivenessOwner, RoundTripOwner, ClosingOwner, StreamListener {
    readonly #connection: Connection

    constructor (connection: Connection) {
      this.#connection = connection
    }

    // the transport's stream
    onData (chunk: Buffer): void { this.#connection.#onData(chunk) }
    onStreamEnd (): void { this.#connection.#onStreamEnd() }
    onDrain (): void { this.#connection.#sender!.flush() }
    onBeforeEnd (): void { this.#connection.#sender!.flushNow() }
    onStreamClose (): void { this.#connection.#closing.onTransportClose() }

    // Receiver
    onReady (): void { this.#connection.#read() }
    mayRead (): boolean { return this.#connection.#mayRead() }
    onMessage (message: Message): Promise<unknown> | null { return this.#connection.#onMessage(message) }
    onInvalidMessage (error: MessageError): Promise<unknown> | boolean {
      return this.#connection.#owner.onInvalidMessage?.(error, this.#connection) ?? false
    }

    onPing (payload: Buffer): void { this.#connection.#onPing(payload) }
    onPong (payload: Buffer): void { if (this.#connection.#roundTrip?.answers(payload) !== true) this.#connection.emitSafely('pong', payload) }
    onFarewell (word: Close | ProtocolError | null): void { this.#connection.#closing.onFarewell(word) }
    onTakenOn (): void { this.#connection.#closing.onTakenOn() }
    onClose (close: Close): void { this.#connection.#closing.onClose(close) }
    onEnd (): void { this.#connection.#closing.onEnd() }
    onFailure (error: ProtocolError): void { this.#connection.#closing.onFailure(error) }
    onInternalError (error: unknown): void { this.#connection.#onInternalError(error) }
    closedError (message: string, options?: ErrorOptions & { closeCode?: number }): ConnectionClosedError { return this.#connection.closedError(message, options) }
    onNobody (): void { this.#connection.#onNobody() }

    // Sender
    onWritten (callbacks: SendCallback[]): void { this.#connection.#onWritten(callbacks) }
    onAsk (): boolean { return this.#connection.#askForLife() }
    onUnsendable (error: Error, callback: SendCallback | undefined): void { this.#connection.#onUnsendable(error, callback) }

    // Liveness
    isReading (): boolean { return !this.#connection.#transport!.stream.isPaused() }
    hasUnsentBytes (): boolean { return this.#connection.#sender!.hasUnsentBytes }
    onSilence (): void { this.#connection.#askForLife() }
    onDead (): void { this.#connection.#closing.drop('silent') }
    onStalled (): void { this.#connection.#onStalled() }
    onExit (): void { this.#connection.#sender!.flushNow() }

    // RoundTrip
    mayMeasure (): boolean { return this.#connection.readyState === OPEN && this.isReading() && this.#connection.bufferedAmount === 0 }
    sendPing (payload: Buffer): void { this.#connection.#sender!.addControl(PING, payload) }
    onRoundTrip (milliseconds: number): void { this.#connection.#owner.onRoundTrip?.(milliseconds, this.#connection) }

    // Closing
    onNotOpen (): void { this.#connection.#onNotOpen() }
    onSendingClose (): void { this.#connection.#owner.onSendingClose?.(this.#connection) }
    onUnsent (callbacks: SendCallback[]): void { this.#connection.#onUnsent(callbacks) }
    onFailed (error: ProtocolError): void { this.#connection.#onFailed(error) }
    onFinish (info: CloseInfo): void { this.#connection.#onFinish(info) }
    onClosed (): void { this.#connection.#onClosed() }
    callInContext (callback: () => void): void { this.#connection.inContext(callback) }
  }

  get readyState (): ReadyState { return this.#closing.ending.readyState }
  get protocol (): string { return this.#protocol }
  get extensions (): string { return this.#extensions }
  get url (): string { return this.#settings.url ?? '' }
  get bufferedAmount (): number { return this.#sender?.bufferedAmount ?? 0 }
  get rtt (): number | null { return this.#roundTrip?.last ?? null }
  get isPaused (): boolean { return this.#receiver.delivery.isPaused }
  // the type is that of ws, which has no 'blob'
  get binaryType (): Exclude<BinaryType, 'blob'> { return this.#binaryType as Exclude<BinaryType, 'blob'> }
  // what is none of them changes nothing, as with ws and in a browser
  set binaryType (type: BinaryType) { if (BINARY_TYPES.has(type)) this.#binaryType = type }
  get _socket (): Duplex | null { return this.#transport?.stream ?? null }
  protected get highWaterMark (): number { return this.#settings.highWaterMark }
  protected override get decodes (): boolean { return this.#settings.decoder !== undefined }
  /** @internal */
  get encodes (): boolean { return this.#settings.encoder !== undefined }
  protected get table (): SubscriptionTable | null { return this.#settings.table?.() ?? null }

  get closed (): Promise<CloseInfo> { return this.#closing.closed }
  get signal (): AbortSignal { return this.#closing.signal }

  // Opening

  /**
   * Takes over a transport whose opening handshake is done. Reading starts in a later turn, so that whoever calls can hand
   * the connection on before anything is delivered.
   * @param head bytes that came behind the handshake
   * @internal
   */
  open (transport: Transport, head: Buffer, { protocol = '', extensions = '', deflate = null }: Agreement = {}): void {
    const { stream } = transport
    this.#protocol = protocol
    this.#extensions = extensions
    this.#transport = transport
    const { role, perMessageDeflate } = this.#settings
    this.#receiver.open(transport, deflate === null ? null : deflate[role === 'server' ? 'client' : 'server'])
    const deflater = deflate === null || perMessageDeflate === false ? null : new Deflater(deflate[role], perMessageDeflate)
    this.#sender = new Sender(transport, role, deflater, this.#parts)
    this.#liveness = new Liveness(this.#settings, this.#parts)
    this.#openedAt = performance.now()
    this.#closing.open(transport, this.#sender)
    this.#backpressure.tell(true)
    this.#publish('open')
    listen(stream, this.#parts)
    transport.tune()
    const { heartbeat } = this.#settings
    if (heartbeat === false) transport.keepAlive()
    else if (heartbeat.rtt !== undefined) this.#roundTrip = new RoundTrip(heartbeat.rtt, this.#parts)
    process.nextTick(() => {
      if (stream.closed) this.#closing.onTransportClose()
      if (stream.destroyed) return
      if (role === 'client') this.inContext(() => { this.emitSafely('open') })
      listenToData(stream)
      this.#receiver.feed(head)
      this.#read()
      if (stream.readableEnded) this.#onStreamEnd()
    })
  }

  /** The opening handshake has failed. @internal */
  failed (error: Error): void {
    if (this.readyState !== CONNECTING) return
    if (this.listenerCount('error') > 0) this.inContext(() => { this.emitSafely('error', error) })
    this.#closing.drop('transport')
  }

  /** The handler is done: a message that nobody takes is from now on discarded. @internal */
  handlerSettled (): void {
    this.#receiver.delivery.handlerSettled()
  }

  // Receiving

  #onData (chunk: Buffer): void {
    this.#liveness!.heard()
    this.#transport!.heard?.()
    this.#receiver.feed(chunk)
    this.#read()
  }

  #onStreamEnd (): void {
    this.#receiver.end()
    this.#read()
  }

  /** Delivers what has come, for as long as somebody takes it. What is sent meanwhile leaves in one write. */
  #read (): void {
    const receiver = this.#receiver
    if (receiver.isReading) return // further out: that loop sees what is new
    this.#sender!.hold()
    try {
      this.inContext(readOn, receiver)
    } finally {
      this.#sender!.release()
    }
    if (receiver.isDone) this.#closing.onDone()
  }

  // An echo to a peer that does not read must not pile up. Two obedient peers that both send cannot block each other: they never
  // get that far, and a client never stops reading, nor a server that is closing.
  #mayRead (): boolean {
    return this.#settings.role === 'client' || this.#closing.ending.sent !== null || !this.#isBacklogged()
  }

  #isBacklogged (): boolean {
    return this.#backpressure.isExceededBy(this.#sender?.amountInWork ?? 0)
  }

  #onMessage ({ data, isBinary }: Message): Promise<unknown> | null {
    // the type says Buffer, as that is what it is unless the application set binaryType
    const converted = isBinary ? convertBinary(data, this.#binaryType) as Buffer : data
    if (this.#settings.messageConcurrency !== Infinity) return this.emitAndSettle('message', converted, isBinary)
    this.emitSafely('message', converted, isBinary)
    return null
  }

  #onPing (payload: Buffer): void {
    // §5.5.3: the last one may stand for all, where pongs would pile up that the peer does not take
    if (this.#isBacklogged()) this.#unansweredPing = Buffer.from(payload) // not a view of its chunk
    else this.#answerPing(payload)
    this.emitSafely('ping', payload)
  }

  #answerPing (payload: Buffer): void {
    this.#unansweredPing = null
    if (this.readyState === OPEN) this.#sender!.addControl(PONG, payload)
  }

  #askForLife (): boolean {
    this.#transport!.keepAlive()
    if (this.readyState !== OPEN) return false
    this.#sender!.addControl(PING, NOTHING)
    return true
  }

  #onStalled (): void {
    this.#publish('stalled')
    this.#closing.drop('stalled')
  }

  #onNobody (): void {
    this.#owner.onWarning(`messages came, and nobody has taken them for ${this.#settings.holdTimeout} ms (holdTimeout): from now on they are discarded. ` +
      'A handler that reads nothing calls connection.resume() first, one that reads later connection.pause()')
  }

  pause (): void {
    if (this.readyState === OPEN) this.#receiver.delivery.pause()
  }

  resume (): void {
    this.#receiver.delivery.resume()
  }

  protected override onListeners (count: number): void {
    this.#receiver.delivery.onListeners(count > 0)
  }

  protected override claimReader<Reader extends MessageReader<any>> (create: (owner: MessageReaderOwner) => Reader): Reader {
    const reader = this.#receiver.delivery.claim(create)
    if (this.#closing.ending.isPeerDone && !this.#receiver.isHolding) reader.end(this.#closing.endError(reader))
    return reader
  }

  /** In a later turn: if the handler left its loop by an error, that is known by then, and the errorHandler decides. */
  protected override closeSoon (): void {
    setImmediate(() => { if (!this.#hasHandlerFailed) this.close(NORMAL_CLOSURE) })
  }

  /** An error that says of this connection that it has ended. @internal */
  closedError (message: string, options: ErrorOptions & { closeCode?: number } = {}): ConnectionClosedError {
    return new ConnectionClosedError(message, { connection: this, closeCode: this.#closing.ending.closeCode, ...options })
  }

  /** Whether an error says no more than that this connection has ended: of a read or write, or of an await that its signal ended. @internal */
  isDisconnect (error: unknown): boolean {
    if (!this.#closing.ending.hasBegun || !(error instanceof Error)) return false
    return error instanceof ConnectionClosedError || error.cause instanceof ConnectionClosedError || error.name === 'AbortError'
  }

  // Sending

  send (data: MessageData | Prepared, options?: SendOptions | SendCallback, callback?: SendCallback): boolean {
    if (typeof options === 'function') return this.send(data as MessageData, undefined, options)
    if (!this.#maySend(callback)) return false
    const queued = this.bufferedAmount
    if (data instanceof PreparedMessage) this.#addPrepared(data, callback ?? undefined)
    else this.#addMessage(data as MessageData, options, callback ?? undefined)
    return this.#sent(queued, this.#settings.maxBufferedAmount)
  }

  /** @param queued bytes that were unsent before, @param maxUnsent that may be now; one large message on an empty queue may be larger */
  #sent (queued: number, maxUnsent: number): boolean {
    const unsent = this.bufferedAmount
    if (queued > 0 && unsent > maxUnsent) this.giveUpSlowPeer()
    return this.#backpressure.sent(unsent)
  }

  /** @internal */
  get mustWait (): boolean { return this.#backpressure.mustWait }

  /** Sends what was published. @internal */
  sendPublished (message: PreparedMessage, maxUnsent: number): boolean {
    if (this.#outgoingMessage) {
      this.subscriptions!.hold(this, message, maxUnsent)
      return !this.mustWait
    }
    const queued = this.bufferedAmount
    this.#addPrepared(message, undefined)
    return this.#sent(queued, maxUnsent)
  }

  #addMessage (data: MessageData, options: SendOptions | undefined, callback: SendCallback | undefined): void {
    const payload = toPayload(this.encode(data, options))
    const fin = options?.fin ?? true
    if (this.#outgoingMessage) {
      this.#goOnWithMessage(payload, fin, callback)
      return
    }
    const isText = options?.binary === undefined ? typeof payload === 'string' : !options.binary
    this.#sender!.add(isText ? TEXT : BINARY, fin, payload, callback, options?.compress)
    this.#outgoingMessage = !fin
    if (fin) this.#messagesSent++
  }

  #goOnWithMessage (payload: Buffer | string | Blob, fin: boolean, callback: SendCallback | undefined): void {
    this.#sender!.add(CONTINUATION, fin, payload, callback)
    if (!fin) return
    this.#outgoingMessage = false
    this.#messagesSent++
    this.subscriptions?.release(this)
  }

  #addPrepared (message: PreparedMessage, callback: SendCallback | undefined): void {
    if (this.#outgoingMessage) throw unfinishedMessage()
    this.#sender!.addPrepared(message, callback)
    this.#messagesSent++
  }

  /** What is sent for a value, where a schema says what is sent; else what is given. @internal */
  override encode (data: MessageData, options?: SendOptions): MessageData {
    const { encoder } = this.#settings
    return encoder === undefined ? data : encoder.encode(data, options)
  }

  prepare (data: MessageData, options?: PrepareOptions): Prepared {
    return prepare(this.encode(data, options), options)
  }

  createMessageStream ({ binary = true, highWaterMark = this.highWaterMark }: CreateMessageStreamOptions = {}): Writable {
    if (this.encodes) throw notTyped('createMessageStream()', 'send')
    if (this.readyState === CONNECTING) throw notOpenYet()
    if (this.#outgoingMessage) throw unfinishedMessage()
    const opcode = binary ? BINARY : TEXT
    const slot = this.readyState === OPEN ? this.#sender!.addMessage(opcode) : MessageSlot.cut(opcode)
    return new OutgoingMessageStream(this, slot, { highWaterMark }).once('finish', () => { this.#messagesSent++ })
  }

  drained (): Promise<boolean> {
    if (this.readyState === CLOSED) return nextTurn().then(() => false) // who does not look at it must not keep the event loop
    if (this.readyState !== OPEN || this.#backpressure.mustWait) return this.#backpressure.wait()
    return this.isTurnOver ? nextTurn().then(() => this.readyState === OPEN) : Promise.resolve(true)
  }

  flush (): void {
    this.#sender?.flushNow()
  }

  /** @internal */
  get isTurnOver (): boolean { return this.#sender!.isTurnOver }

  /** @internal */
  copies (length: number): boolean { return this.#sender!.copies(length) }

  ping (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback | ((error: Error) => void)): void {
    this.#sendControl(PING, data, mask, callback as SendCallback)
  }

  pong (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback | ((error: Error) => void)): void {
    this.#sendControl(PONG, data, mask, callback as SendCallback)
  }

  // `mask` stands where `ws` has it; the role decides.
  #sendControl (
    opcode: typeof PING | typeof PONG, data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: SendCallback
  ): void {
    const done = [data, mask, callback].find(argument => typeof argument === 'function')
    if (this.#maySend(done)) this.#sender!.addControl(opcode, toControlPayload(data), done)
  }

  #maySend (callback: SendCallback | null | undefined): boolean {
    if (this.readyState === OPEN) return true
    if (this.readyState === CONNECTING) throw notOpenYet()
    // in a later turn: who does not look at the error and sends the next must not keep the event loop
    if (callback) setImmediate(() => { this.callSafely(callback, this.closedError('the connection is closing or closed')) })
    return false
  }

  /** The peer takes less than it is sent, and the sender does not care. Whatever it has not taken yet still goes out. @internal */
  giveUpSlowPeer (): void {
    this.#closing.abandon('slow', { code: TRY_AGAIN_LATER, reason: Buffer.from('slow reader') })
    this.#publish('slow')
    process.nextTick(() => { // not inside of send()
      this.#closing.tell()
      this.inContext(() => { this.emitSafely('slow') })
    })
  }

  #onWritten (callbacks: SendCallback[]): void {
    this.#liveness!.progressed()
    this.#closing.onProgress()
    for (const callback of callbacks) this.callSafely(callback)
    if (this.#unansweredPing !== null && !this.#isBacklogged()) this.#answerPing(this.#unansweredPing)
    if (this.#backpressure.mustWait && this.bufferedAmount === 0) {
      this.#backpressure.drained()
      if (this.readyState === OPEN) {
        this.subscriptions?.onDrain(this.table!)
        this.#backpressure.tell(true)
      }
      this.inContext(() => { this.emitSafely('drain') })
    }
    if (this.#transport!.stream.isPaused()) this.#read() // which may have waited for this
  }

  #onUnsendable (error: Error, callback: SendCallback | undefined): void {
    if (callback !== undefined) this.callSafely(callback, error)
    this.#report(error)
    this.closeFailed() // a message is missing that was said to be sent
  }

  // Closing

  close (code?: number, reason?: string | Uint8Array): void {
    if (this.readyState === CONNECTING) this.terminate()
    // as with ws, what could not be sent is no error when nothing is: proxies pass 1006 on
    if (this.readyState === OPEN) this.#closing.begin('local', createClose(code, reason))
  }

  terminate (): void {
    this.#closing.drop('local')
  }

  /** The app closes. @internal */
  shutDown (code: number, reason?: Uint8Array): void {
    if (this.readyState === OPEN) this.#closing.begin('shutdown', createClose(code, reason))
  }

  /** The handler that this connection was given to has failed. @internal */
  handlerFailed (error: unknown): void {
    this.#hasHandlerFailed = true
    this.#report(error)
  }

  /** Closes with 1011, and delivers nothing more: who failed on one message is not given the next. @internal */
  closeFailed (): void {
    this.#closing.giveUp()
  }

  #onInternalError (error: unknown): void {
    this.handlerFailed(error)
    this.closeFailed() // whatever the handler thinks of it: a message is missing
  }

  #onNotOpen (): void {
    this.subscriptions?.leave(this.table!)
    this.#backpressure.tell(false)
  }

  #onUnsent (callbacks: SendCallback[]): void {
    const error = this.closedError('the connection was closed before the message was sent')
    for (const callback of callbacks) this.callSafely(callback, error)
  }

  #onFailed (error: ProtocolError): void {
    this.#publish('error', { error })
    if (this.listenerCount('error') > 0) this.emitSafely('error', error)
  }

  #onFinish (info: CloseInfo): void {
    this.#liveness?.stop()
    this.#roundTrip?.stop()
    this.#closedAt = performance.now()
    this.#backpressure.tell(false)
    if (CHANNELS.close.hasSubscribers) this.#publish('close', { ...info, stats: this.stats() })
    if (this.#openedAt !== 0 && FACTS.closed.hasSubscribers) FACTS.closed.publish({ info: this.info, ...info, stats: this.stats() })
    this.#owner.onClose(this, info)
  }

  #onClosed (): void {
    const { code, reason } = this.#closing.ending
    this.inContext(() => { this.emitSafely('close', code, reason) })
    this.subscriptions = null
  }

  protected override onListenerError (error: unknown): void {
    this.#report(error)
  }

  // Observing

  stats (): ConnectionStats {
    const { held, unsent, ...traffic } = this.addTo(noTraffic())
    return { duration: this.#openedAt === 0 ? 0 : (this.#closedAt ?? performance.now()) - this.#openedAt, ...traffic }
  }

  /** @returns `sum`, with what went through this connection and what waits in it. @internal */
  addTo (sum: Traffic): Traffic {
    const { messages, bytes, held } = this.#receiver.counts
    sum.messagesReceived += messages
    sum.messagesSent += this.#messagesSent
    sum.bytesReceived += bytes
    sum.bytesSent += this.#sender?.bytesWritten ?? 0
    sum.held += held
    sum.unsent += this.bufferedAmount
    return sum
  }

  get info (): ConnectionInfo {
    const { stream, httpVersion = '1.1' } = this.#transport ?? { stream: null }
    return {
      id: idOf(this.#number),
      route: this.route,
      ip: this.#owner.ip ?? (stream as Partial<Socket> | null)?.remoteAddress,
      openedAt: this.#openedAt === 0 ? 0 : Math.round(performance.timeOrigin + this.#openedAt),
      httpVersion
    }
  }

  /** @internal */
  get route (): string { return this.#settings.route ?? '' }

  /** On the clock of performance.now(). @internal */
  get closedAt (): number | null { return this.#closedAt }

  /** Bytes of messages that came in and wait. @internal */
  get held (): number { return this.#receiver.counts.held }

  /** What holds up the reading. @internal */
  get waiting (): ConnectionLoad['waiting'] {
    if (this.#transport?.stream.isPaused() !== true) return null
    if (this.#receiver.isRateLimited) return 'rate'
    if (this.isPaused) return 'paused'
    return this.#mayRead() ? 'consumer' : 'unsent'
  }

  #report (error: unknown): void {
    this.#publish('error', { error })
    this.#owner.onError(error, this)
  }

  #publish (event: keyof typeof CHANNELS, details?: object): void {
    const channel = CHANNELS[event]
    if (channel.hasSubscribers) channel.publish({ connection: this, request: this.#owner.request, ...details })
  }
}

for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSING, CLOSED })) {
  Object.defineProperty(Connection.prototype, name, { value, enumerable: true })
}

// without a closure for each chunk
const readOn = (receiver: Receiver): void => { receiver.read() }

const unfinishedMessage = (): Error => new Error('a message that was begun with fin: false has not ended')
const notOpenYet = (): Error => new Error('the connection is not open yet: readyState is CONNECTING')
