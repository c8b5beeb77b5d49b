// in:  transport -> Receiver (FrameParser, Inflater, MessageAssembler, Delivery) -> listeners, or a reader
// out: send() -> MessageWriter -> Sender (Deflater, SendQueue) -> FrameWriter (FrameSerializer) -> transport
// The two directions meet only here: Ping -> Pong, Close -> Close, and unsent bytes hold up reading.
import type { Socket } from 'node:net'
import type { BinaryType, CloseInfo, ConnectionInfo, ConnectionLoad, ConnectionStats, ReadyState, SendCallback } from '../../types/connection.ts'
import type { TopicGap } from '../../types/topics.ts'
import { Deflater } from '../compression/deflater.ts'
import { ConnectionClosedError, type MessageError, type ProtocolError } from '../errors.ts'
import type { Message } from '../framing/message-assembler.ts'
import { decodedValue } from '../messages/message-decoder.ts'
import { NORMAL_CLOSURE, TRY_AGAIN_LATER } from '../protocol/close-code.ts'
import { createClose, type Close } from '../protocol/close.ts'
import { listen, listenToData, type StreamListener } from '../transport/stream-listener.ts'
import type { Transport } from '../transport/transport.ts'
import { Closing, type ClosingOwner } from './closing.ts'
import type { Connection } from './connection.ts'
import { idOf, nextNumber } from './identity.ts'
import { messageValue, type MessageReader, type MessageReaderOwner } from './incoming/message-reader.ts'
import { Receiver, type ReceiverOwner } from './incoming/receiver.ts'
import { Liveness, type LivenessOwner } from './liveness.ts'
import { convertBinary } from './message-data.ts'
import { CHANNELS, FACTS, noTraffic, type Traffic } from './observability.ts'
import { MessageWriter, type MessageWriterOwner } from './outgoing/message-writer.ts'
import type { PreparedMessage } from './prepared-message.ts'
import { RoundTrip, type RoundTripOwner } from './round-trip.ts'
import type { Agreement, ConnectionSettings } from './settings.ts'
import type { Subscriber, Subscriptions, SubscriptionTable } from './subscriber.ts'
import type { Viewed } from './views/viewed.ts'

/** Owns a connection: gets the errors of its listeners, and takes it off its list before 'close'. */
export interface ConnectionOwner {
  /** The request the connection came from, if a channel had subscribers when it was accepted. */
  readonly request?: unknown
  /** The peer's address, if known better than from the transport, as behind a proxy. */
  readonly ip?: string | undefined
  onError (error: unknown, connection: Connection): void
  onClose (connection: Connection, info: CloseInfo): void
  /** Our Close is about to go out. */
  onSendingClose? (connection: Connection): void
  /**
   * A message does not match the schema. @returns true if it was handled; a promise, which never rejects, while it is being handled; false to fail the
   * connection, as without this method
   */
  onInvalidMessage? (error: MessageError, connection: Connection): Promise<unknown> | boolean
  /** A round trip was measured. */
  onRoundTrip? (milliseconds: number, connection: Connection): void
  /** A likely mistake in the handler. */
  onWarning (message: string): void
}

const CONNECTING = 0
const OPEN = 1

/**
 * The parts of a connection and the links between them. The application only has the Connection, on which it may set any property; nothing here can
 * collide with those.
 */
export class ConnectionCore
implements ReceiverOwner, MessageWriterOwner, LivenessOwner, RoundTripOwner, ClosingOwner, StreamListener, Subscriber, Viewed {
  readonly connection: Connection
  readonly settings: ConnectionSettings
  readonly receiver: Receiver
  readonly writer: MessageWriter
  readonly closing: Closing
  subscriptions: Subscriptions | null = null
  binaryType: BinaryType = 'nodebuffer'
  // set by the opening handshake
  transport: Transport | null = null
  protocol = ''
  extensions = ''

  readonly #owner: ConnectionOwner
  readonly #number = nextNumber()
  #liveness: Liveness | null = null
  #roundTrip: RoundTrip | null = null
  #openedAt = 0
  #closedAt: number | null = null
  #hasHandlerFailed = false

  constructor (settings: ConnectionSettings, owner: ConnectionOwner, connection: Connection) {
    this.settings = settings
    this.#owner = owner
    this.connection = connection
    this.receiver = new Receiver(settings, this)
    this.writer = new MessageWriter(settings, this)
    this.closing = new Closing(settings, this, this.receiver)
  }

  get readyState (): ReadyState { return this.closing.ending.readyState }
  get bufferedAmount (): number { return this.writer.bufferedAmount }
  get rtt (): number | null { return this.#roundTrip?.last ?? null }
  get table (): SubscriptionTable | null { return this.settings.table?.() ?? null }

  // Opening

  /**
   * Takes over a transport whose opening handshake is done. Reading starts in a later tick, so that the caller can hand
   * the connection on before anything is delivered.
   * @param head bytes that followed the handshake
   */
  open (transport: Transport, head: Buffer, { protocol = '', extensions = '', deflate = null }: Agreement = {}): void {
    const { stream } = transport
    const { role, perMessageDeflate, heartbeat } = this.settings
    this.protocol = protocol
    this.extensions = extensions
    this.transport = transport
    this.receiver.open(transport, deflate === null ? null : deflate[role === 'server' ? 'client' : 'server'])
    const deflater = deflate === null || perMessageDeflate === false ? null : new Deflater(deflate[role], perMessageDeflate)
    const sender = this.writer.open(transport, deflater)
    this.#liveness = new Liveness(this.settings, this)
    this.#openedAt = performance.now()
    this.closing.open(transport, sender)
    this.writer.tell(true)
    this.#publish('open')
    listen(stream, this)
    transport.tune()
    if (heartbeat === false) transport.keepAlive()
    else if (heartbeat.rtt !== undefined) this.#roundTrip = new RoundTrip(heartbeat.rtt, this)
    process.nextTick(ConnectionCore.#onNextTick, this, head)
  }

  static readonly #onNextTick = (core: ConnectionCore, head: Buffer): void => { core.#begin(head) }

  #begin (head: Buffer): void {
    const { transport, receiver } = this
    const { stream } = transport!
    receiver.begin()
    if (stream.closed) this.closing.onTransportClose()
    if (stream.destroyed) return
    if (this.settings.role === 'client') this.connection.inContext(() => { this.connection.emitSafely('open') })
    listenToData(stream)
    if (head.length > 0) receiver.feed(head)
    const isIdle = head.length === 0 && receiver.wantsInput && stream.readableFlowing === true // there is nothing to read yet
    if (!isIdle) this.#read()
    if (stream.readableEnded) this.onStreamEnd()
  }

  /** The opening handshake has failed. */
  failed (error: Error): void {
    if (this.readyState !== CONNECTING) return
    if (this.connection.listenerCount('error') > 0) this.connection.inContext(() => { this.connection.emitSafely('error', error) })
    this.closing.drop('transport')
  }

  // The transport's stream

  onData (chunk: Buffer): void {
    this.#liveness!.heard()
    this.transport!.heard?.()
    this.receiver.feed(chunk)
    this.#read()
  }

  onStreamEnd (): void {
    this.receiver.end()
    this.#read()
  }

  onDrain (): void { this.writer.sender.flush() }
  onBeforeEnd (): void { this.writer.flush() }
  onStreamClose (): void { this.closing.onTransportClose() }

  // Receiving

  /** Delivers received messages while there is a consumer. Messages sent meanwhile leave in one write. */
  #read (): void {
    const { receiver, writer: { sender } } = this
    if (receiver.isReading) return // re-entrant call: the outer loop sees the new input
    sender.hold()
    try {
      this.connection.inContext(readOn, receiver)
    } finally {
      sender.release()
    }
    if (receiver.isDone) this.closing.onDone()
  }

  onReady (): void { this.#read() }

  // Avoids deadlock between two peers that both send: those that respect backpressure never get this far, and a client, or a
  // server that is closing, never stops reading.
  mayRead (): boolean {
    return this.settings.role === 'client' || this.closing.ending.sent !== null || !this.writer.isBacklogged
  }

  onMessage ({ data, isBinary }: Message): Promise<unknown> | null {
    // typed as Buffer, which it is unless the application set binaryType
    const converted = isBinary ? convertBinary(data, this.binaryType) as Buffer : data
    if (this.settings.messageConcurrency !== Infinity) return this.connection.emitAndSettle('message', converted, isBinary)
    this.connection.emitSafely('message', converted, isBinary)
    return null
  }

  onInvalidMessage (error: MessageError): Promise<unknown> | boolean {
    return this.#owner.onInvalidMessage?.(error, this.connection) ?? false
  }

  onPing (payload: Buffer): void {
    this.writer.answerPing(payload)
    this.connection.emitSafely('ping', payload)
  }

  onPong (payload: Buffer): void {
    if (this.#roundTrip?.answers(payload) !== true) this.connection.emitSafely('pong', payload)
  }

  onFarewell (word: Close | ProtocolError | null): void { this.closing.onFarewell(word) }
  onTakenOn (): void { this.closing.onTakenOn() }
  onClose (close: Close): void { this.closing.onClose(close) }
  onEnd (): void { this.closing.onEnd() }
  onFailure (error: ProtocolError): void { this.closing.onFailure(error) }

  onInternalError (error: unknown): void {
    this.handlerFailed(error)
    this.closeFailed() // whatever the errorHandler does: a message is missing
  }

  onNobody (): void {
    this.#owner.onWarning(`messages arrived, and nothing has read them for ${this.settings.holdTimeout} ms (holdTimeout): from now on they are discarded. ` +
      'A handler that reads nothing should call connection.resume() first, one that reads later connection.pause()')
  }

  /** @throws ReaderBusyError if there already is a reader */
  claimReader<Reader extends MessageReader<any>> (create: (owner: MessageReaderOwner) => Reader): Reader {
    const reader = this.receiver.delivery.claim(create)
    if (this.closing.ending.isPeerDone && !this.receiver.isHolding) reader.end(this.closing.endError(reader))
    return reader
  }

  /** Incoming messages have a schema. */
  get decodes (): boolean { return this.settings.decoder !== undefined }
  get messageValue (): (message: Message) => any { return this.decodes ? decodedValue : messageValue }

  // Sending

  get encodes (): boolean { return this.writer.encodes }
  get mustWait (): boolean { return this.writer.mustWait }
  get isTurnOver (): boolean { return this.writer.sender.isTurnOver }
  copies (length: number): boolean { return this.writer.sender.copies(length) }
  call (callback: SendCallback, error?: Error): void { this.connection.callSafely(callback, error) }
  onSlow (): void { this.giveUpSlowPeer() }

  sendPublished (message: PreparedMessage, maxUnsent: number): boolean {
    if (!this.writer.isInMessage) return this.writer.sendPublished(message, maxUnsent)
    this.subscriptions!.hold(this, message, maxUnsent)
    return !this.mustWait
  }

  onMessageEnd (): void {
    this.subscriptions?.release(this)
  }

  get awaitsProgress (): boolean {
    return this.writer.awaitsProgress || this.closing.ending.sent !== null || this.transport!.stream.isPaused()
  }

  onWritten (callbacks: SendCallback[]): void {
    this.closing.onProgress()
    for (const callback of callbacks) this.connection.callSafely(callback)
    this.writer.onWritten()
    if (this.transport!.stream.isPaused()) this.#read() // reading may have waited for this progress
  }

  onAllOut (): void {
    if (this.readyState === OPEN) {
      this.subscriptions?.onDrain(this.table!)
      this.writer.tell(true)
    }
    this.connection.inContext(() => { this.connection.emitSafely('drain') })
  }

  onUnsendable (error: Error, callback: SendCallback | undefined): void {
    if (callback !== undefined) this.connection.callSafely(callback, error)
    this.report(error)
    this.closeFailed() // send() had accepted the message that is now missing
  }

  /** Closes with 1013: the peer reads too slowly, and the sender ignores backpressure. Queued messages still go out. */
  giveUpSlowPeer (): void {
    this.closing.abandon('slow', { code: TRY_AGAIN_LATER, reason: Buffer.from('slow reader') })
    this.#publish('slow')
    process.nextTick(() => { // not inside send()
      this.closing.tell()
      this.connection.inContext(() => { this.connection.emitSafely('slow') })
    })
  }

  tellGap (gap: TopicGap): void {
    process.nextTick(() => { this.connection.inContext(() => { this.connection.emitSafely('gap', gap) }) })
  }

  // Liveness

  isReading (): boolean { return !this.transport!.stream.isPaused() }
  hasUnsentBytes (): boolean { return this.writer.sender.hasUnsentBytes }
  bytesWritten (): number { return this.writer.sender.bytesWritten }
  onSilence (): void { this.onAsk() }
  onDead (): void { this.closing.drop('silent') }
  onExit (): void { this.writer.flush() }

  onAsk (): boolean {
    this.transport!.keepAlive()
    if (this.readyState !== OPEN) return false
    this.writer.ping()
    return true
  }

  onStalled (): void {
    this.#publish('stalled')
    this.closing.drop('stalled')
  }

  mayMeasure (): boolean { return this.readyState === OPEN && this.isReading() && this.bufferedAmount === 0 }
  sendPing (payload: Buffer): void { this.writer.ping(payload) }
  onRoundTrip (milliseconds: number): void { this.#owner.onRoundTrip?.(milliseconds, this.connection) }

  // The handler

  /** The handler has settled: messages without a consumer are discarded from now on. */
  handlerSettled (): void {
    this.receiver.delivery.handlerSettled()
  }

  /** The route's handler threw or rejected. */
  handlerFailed (error: unknown): void {
    this.#hasHandlerFailed = true
    this.report(error)
  }

  /** The handler left its loop. Waits a turn: if it threw, that is known by then, and the errorHandler decides. */
  closeSoon (): void {
    setImmediate(() => { if (!this.#hasHandlerFailed) this.close(NORMAL_CLOSURE) })
  }

  /** Whether an error only reports that this connection has ended: from a read or write, or from an await aborted by its signal. */
  isDisconnect (error: unknown): boolean {
    if (!this.closing.ending.hasBegun || !(error instanceof Error)) return false
    return error instanceof ConnectionClosedError || error.cause instanceof ConnectionClosedError || error.name === 'AbortError'
  }

  viewFailed (error: Error): void { this.connection.emitSafely('error', error) }

  // Closing

  get closed (): Promise<CloseInfo> { return this.closing.closed }

  close (code?: number, reason?: string | Uint8Array): void {
    if (this.readyState === CONNECTING) this.closing.drop('local')
    // arguments are validated only if a Close is sent, as in ws: proxies pass on 1006 after the end
    if (this.readyState === OPEN) this.closing.begin('local', createClose(code, reason))
  }

  terminate (): void {
    this.closing.drop('local')
  }

  /** Closes because the app is closing. */
  shutDown (code: number, reason?: Uint8Array): void {
    if (this.readyState === OPEN) this.closing.begin('shutdown', createClose(code, reason))
  }

  /** Closes with 1011 and delivers nothing more: a handler that failed on one message does not get the next. */
  closeFailed (): void {
    this.closing.giveUp()
  }

  /** Creates the error for an ended connection. @param closeCode default: the code that began the ending */
  closedError (message: string, options: ErrorOptions & { closeCode?: number } = {}): ConnectionClosedError {
    return new ConnectionClosedError(message, { connection: this.connection, closeCode: this.closing.ending.closeCode, ...options })
  }

  onNotOpen (): void {
    this.subscriptions?.leave(this.table!)
    this.writer.tell(false)
  }

  onSendingClose (): void { this.#owner.onSendingClose?.(this.connection) }

  onUnsent (callbacks: SendCallback[]): void {
    const error = this.closedError('the connection was closed before the message was sent')
    for (const callback of callbacks) this.connection.callSafely(callback, error)
  }

  onFailed (error: ProtocolError): void {
    this.#publish('error', { error })
    if (this.connection.listenerCount('error') > 0) this.connection.emitSafely('error', error)
  }

  onFinish (info: CloseInfo): void {
    this.#liveness?.stop()
    this.#roundTrip?.stop()
    this.#closedAt = performance.now()
    this.writer.tell(false)
    if (CHANNELS.close.hasSubscribers) this.#publish('close', { ...info, stats: this.stats() })
    if (this.#openedAt !== 0 && FACTS.closed.hasSubscribers) FACTS.closed.publish({ info: this.info, ...info, stats: this.stats() })
    this.#owner.onClose(this.connection, info)
  }

  onClosed (): void {
    const { code, reason } = this.closing.ending
    this.connection.inContext(() => { this.connection.emitSafely('close', code, reason) })
    this.subscriptions = null
  }

  callInContext (callback: () => void): void { this.connection.inContext(callback) }

  // Observing

  stats (): ConnectionStats {
    const { held, unsent, ...traffic } = this.addTo(noTraffic())
    return { duration: this.#openedAt === 0 ? 0 : (this.#closedAt ?? performance.now()) - this.#openedAt, ...traffic }
  }

  /** Adds this connection's traffic to `sum`. @returns `sum` */
  addTo (sum: Traffic): Traffic {
    const { receiver: { counts: received }, writer: { counts: sent } } = this
    sum.messagesReceived += received.messages
    sum.messagesSent += sent.messages
    sum.bytesReceived += received.bytes
    sum.bytesSent += sent.bytes
    sum.held += received.held
    sum.unsent += this.bufferedAmount
    return sum
  }

  get info (): ConnectionInfo {
    const { stream, httpVersion = '1.1' } = this.transport ?? { stream: null }
    return {
      id: idOf(this.#number),
      route: this.route,
      ip: this.#owner.ip ?? (stream as Partial<Socket> | null)?.remoteAddress,
      openedAt: this.#openedAt === 0 ? 0 : Math.round(performance.timeOrigin + this.#openedAt),
      httpVersion
    }
  }

  get route (): string { return this.settings.route ?? '' }

  /** On the clock of performance.now(). */
  get closedAt (): number | null { return this.#closedAt }

  /** Bytes of received messages not yet delivered. */
  get held (): number { return this.receiver.counts.held }

  /** Why reading is paused; null: it is not. */
  get waiting (): ConnectionLoad['waiting'] {
    if (this.transport?.stream.isPaused() !== true) return null
    if (this.receiver.isRateLimited) return 'rate'
    if (this.receiver.delivery.isPaused) return 'paused'
    return this.mayRead() ? 'consumer' : 'unsent'
  }

  report (error: unknown): void {
    this.#publish('error', { error })
    this.#owner.onError(error, this.connection)
  }

  #publish (event: keyof typeof CHANNELS, details?: object): void {
    const channel = CHANNELS[event]
    if (channel.hasSubscribers) channel.publish({ connection: this.connection, request: this.#owner.request, ...details })
  }
}

// avoids a closure per chunk
const readOn = (receiver: Receiver): void => { receiver.read() }
