// in:  transport -> Receiver (FrameParser, Inflater, MessageAssembler, HeldMessages) -> listeners, or a reader
// out: send() -> Sender (Deflater, SendQueue, FrameSerializer) -> transport
// The two lines meet here and nowhere else: Ping -> Pong, Close -> Close, and what is unsent holds up what is read.
import type { Duplex, Writable } from 'node:stream'
import type {
  BinaryType, CloseInfo, ConnectionStats, CreateMessageStreamOptions, IncomingMessageReadable, MessageData, MessageStreamsOptions, MessageWebStreams,
  PreparedMessage as Prepared, ReadyState, SendCallback, SendOptions, ToDuplexOptions, WebSocketConnection
} from '../../types/connection.ts'
import { Backpressure } from './outgoing/backpressure.ts'
import { CHANNELS } from './observability.ts'
import { INTERNAL_ERROR, NORMAL_CLOSURE, TRY_AGAIN_LATER } from '../protocol/close-code.ts'
import { createClose, serializeClosePayload, type Close } from '../protocol/close-payload.ts'
import { ClosingHandshake } from '../protocol/closing-handshake.ts'
import { Deflater, type DeflaterSettings } from '../compression/deflater.ts'
import { ConnectionClosedError, type ProtocolError } from '../errors.ts'
import { ListenableConnection } from './listenable-connection.ts'
import { MAX_CONTROL_PAYLOAD } from '../protocol/frame.ts'
import type { IncomingMessageStream } from './views/incoming-message-stream.ts'
import { Receiver, type ReceiverOwner, type ReceiverSettings } from './incoming/receiver.ts'
import { Liveness, type LivenessOwner, type LivenessSettings } from './liveness.ts'
import type { Message } from '../framing/message-assembler.ts'
import { BINARY_TYPES, convertBinary, toPayload } from './message-data.ts'
import { MessageDuplex } from './views/message-duplex.ts'
import { MessageIterator, messageValue } from './incoming/message-reader.ts'
import { MessageSlot } from './outgoing/message-slot.ts'
import { toWebStreams } from './views/message-web-streams.ts'
import { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT } from '../protocol/opcode.ts'
import { Sender, type SenderOwner } from './outgoing/sender.ts'
import { OutgoingMessageStream } from './views/outgoing-message-stream.ts'
import type { DeflateAgreement } from '../protocol/permessage-deflate.ts'
import { PreparedMessage } from './prepared-message.ts'
import { listen, listenToData, type StreamListener } from '../transport/stream-listener.ts'
import type { Transport } from '../transport/transport.ts'
import { withResolver, type PromiseWithResolver } from '../promises.ts'

const NOTHING: Buffer = Buffer.alloc(0)

const CONNECTING = 0 as const
const OPEN = 1 as const
const CLOSING = 2 as const
const CLOSED = 3 as const

interface DeflateSettings extends DeflaterSettings {
  readonly contextTakeover: boolean
  readonly windowBits: number
}

/** `highWaterMark` counts messages that wait for a consumer, and sends that wait for the transport, each on its own. */
export interface ConnectionSettings extends ReceiverSettings, LivenessSettings {
  /** Unsent bytes of a sender that ignores false, beyond which the connection is closed with 1013. */
  readonly maxBufferedAmount: number
  /** Milliseconds for each step of the ending: the peer's Close, the end of its stream, the messages still held. */
  readonly closeTimeout: number
  readonly perMessageDeflate: DeflateSettings | false
  readonly url?: string
}

/** What the opening handshake has agreed on. */
export interface Agreement {
  readonly protocol?: string
  /** As in the header field. */
  readonly extensions?: string
  readonly deflate?: DeflateAgreement | null
}

/** Who answers for a connection: gets what its listeners throw, and takes it off the list before 'close'. */
export interface ConnectionOwner {
  /** What the connection came from, where somebody observed when it was accepted. */
  readonly request?: unknown
  onError (error: unknown, connection: Connection): void
  onClose (connection: Connection, info: CloseInfo): void
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
  // what the opening handshake has agreed on
  #protocol = ''
  #extensions = ''
  readonly #parts: ReceiverOwner & SenderOwner & LivenessOwner & StreamListener
  readonly #receiver: Receiver
  #sender: Sender | null = null
  #liveness: Liveness | null = null
  readonly #closing = new ClosingHandshake()
  #outgoingMessage = false // a message with fin: false has begun
  #messagesSent = 0
  #openedAt = 0
  #closedAt: number | null = null

  // There is no way on but to the end: the connection has failed or was terminated, or the peer or the transport is done
  // without a Close frame.
  #isBroken = false
  #failure: ProtocolError | null = null
  #hasHandlerFailed = false
  #isTransportClosed = false
  #closed = false
  #deadline: NodeJS.Timeout | null = null

  readonly #backpressure: Backpressure
  #unansweredPing: Buffer | null = null
  #closedPromise: PromiseWithResolver<CloseInfo> | null = null
  #abortController: AbortController | null = null

  constructor (settings: ConnectionSettings, owner: ConnectionOwner) {
    super()
    this.#settings = settings
    this.#owner = owner
    this.#backpressure = new Backpressure(settings.highWaterMark)
    this.#parts = new Connection.#Inside(this)
    this.#receiver = new Receiver(settings, this.#parts)
  }

  /** The connection as its parts see it: one object with methods, where closures would cost each connection 2 KiB. */
  static readonly #Inside = class implements ReceiverOwner, SenderOwner, LivenessOwner, StreamListener {
    readonly #connection: Connection

    constructor (connection: Connection) {
      this.#connection = connection
    }

    // the transport's stream
    onData (chunk: Buffer): void { this.#connection.#onData(chunk) }
    onStreamEnd (): void { this.#connection.#receiver.end() }
    onDrain (): void { this.#connection.#sender!.flush() }
    onStreamClose (): void { this.#connection.#onTransportClose() }

    // Receiver
    during (read: () => void): void { this.#connection.#during(read) }
    mayRead (): boolean { return this.#connection.#mayRead() }
    hasMessageListener (): boolean { return this.#connection.listenerCount('message') > 0 }
    onTaken (): void { this.#connection.#onTaken() }
    onMessage (message: Message): Promise<unknown> | null { return this.#connection.#onMessage(message) }
    onPing (payload: Buffer): void { this.#connection.#onPing(payload) }
    onPong (payload: Buffer): void { this.#connection.emitSafely('pong', payload) }
    onEnding (): void { this.#connection.#startDeadline() }
    onClose (close: Close): void { this.#connection.#onClose(close) }
    onEnd (): void { this.#connection.#onEnd() }
    onFailure (error: ProtocolError): void { this.#connection.#onFailure(error) }
    onFailureTurn (error: ProtocolError): void { this.#connection.#onFailureTurn(error) }
    onInternalError (error: unknown): void { this.#connection.#onInternalError(error) }

    // Sender
    onWritten (callbacks: SendCallback[]): void { this.#connection.#onWritten(callbacks) }
    onAsk (): boolean { return this.#connection.#askForLife() }
    onUnsendable (error: Error, callback: SendCallback | undefined): void { this.#connection.#onUnsendable(error, callback) }

    // Liveness
    isReading (): boolean { return !this.#connection.#transport!.stream.isPaused() }
    hasUnsentBytes (): boolean { return this.#connection.#sender!.hasUnsentBytes }
    onSilence (): void { this.#connection.#askForLife() }
    onDead (): void { this.#connection.terminate() }
    onStalled (): void { this.#connection.#onStalled() }
  }

  get readyState (): ReadyState {
    if (this.#closed) return CLOSED
    if (this.#closing.started || this.#isBroken) return CLOSING
    return this.#transport === null ? CONNECTING : OPEN
  }

  get protocol (): string { return this.#protocol }
  get extensions (): string { return this.#extensions }
  get url (): string { return this.#settings.url ?? '' }
  get bufferedAmount (): number { return this.#sender?.bufferedAmount ?? 0 }
  get isPaused (): boolean { return this.#receiver.isPaused }
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
    this.#publish('open')
    listen(stream, this.#parts)
    transport.tune()
    if (this.#settings.heartbeat === false) transport.keepAlive()
    process.nextTick(() => {
      if (stream.closed) this.#onTransportClose()
      if (stream.destroyed) return
      if (role === 'client') this.inContext(() => { this.emitSafely('open') })
      listenToData(stream)
      this.#receiver.feed(head)
      if (stream.readableEnded) this.#receiver.end()
    })
  }

  /** The opening handshake has failed. @internal */
  failed (error: Error): void {
    if (this.readyState !== CONNECTING) return
    if (this.listenerCount('error') > 0) this.inContext(() => { this.emitSafely('error', error) })
    this.terminate()
  }

  /** The handler is done: a message that nobody takes is from now on discarded. @internal */
  handlerSettled (): void {
    this.#receiver.handlerSettled()
  }

  // Receiving

  #onData (chunk: Buffer): void {
    this.#liveness!.heard()
    this.#transport!.heard?.()
    this.#receiver.feed(chunk)
  }

  #during (read: () => void): void {
    this.#sender!.hold()
    try {
      this.inContext(read)
    } finally {
      this.#sender!.release()
    }
    this.#tryFinish()
  }

  // An echo to a peer that does not read must not pile up. Two obedient peers that both send cannot block each other: they never
  // get that far, and a client never stops reading, nor a server that is closing.
  #mayRead (): boolean {
    return this.#settings.role === 'client' || this.#closing.sent !== null || !this.#isBacklogged()
  }

  #isBacklogged (): boolean {
    return this.#backpressure.isExceededBy(this.#sender?.amountInWork ?? 0)
  }

  /** While the peer's Close waits for its turn: who goes on taking messages is not cut off. */
  #onTaken (): void {
    if (this.#deadline !== null && this.#closing.sent === null) this.#startDeadline()
  }

  #onMessage ({ data, isBinary }: Message): Promise<unknown> | null {
    if (this.listenerCount('message') === 0) return null
    // the type says Buffer, as that is what it is unless the application set binaryType
    const converted = isBinary ? convertBinary(data, this.binaryType) as Buffer : data
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
    this.terminate()
  }

  pause (): void {
    if (this.readyState === OPEN) this.#receiver.pause()
  }

  resume (): void {
    this.#receiver.resume()
  }

  protected override onConsumer (): void {
    this.#receiver.onListener()
  }

  async receive (): Promise<string | Buffer | null> {
    const reader = this.#prepare(this.#receiver.claimReader())
    const message = await reader.next().catch(() => null) // however it ended
    reader.release(message !== null)
    return message === null ? null : messageValue(message)
  }

  iterator ({ closeOnReturn = true }: { closeOnReturn?: boolean } = {}): AsyncIterableIterator<string | Buffer, undefined> {
    const reader = this.#prepare(this.#receiver.claimReader())
    return new MessageIterator(reader, messageValue, () => { if (closeOnReturn) this.#closeSoon() })
  }

  [Symbol.asyncIterator] (): AsyncIterableIterator<string | Buffer, undefined> {
    return this.iterator()
  }

  messageStreams (
    { maxPayload = Infinity, closeOnReturn = true }: MessageStreamsOptions = {}
  ): AsyncIterableIterator<IncomingMessageReadable, undefined> {
    const reader = this.#prepare(this.#receiver.claimStreamReader(this, maxPayload))
    return new MessageIterator<IncomingMessageStream, IncomingMessageReadable>(reader, message => message, () => {
      reader.leave()
      if (closeOnReturn) this.#closeSoon()
    })
  }

  toDuplex (options?: ToDuplexOptions): Duplex {
    return new MessageDuplex(this, this.#prepare(this.#receiver.claimReader()), options)
  }

  toWeb (): MessageWebStreams {
    return toWebStreams(this, this.#prepare(this.#receiver.claimReader()))
  }

  #prepare<Reader extends { end (error: Error | null): void }> (reader: Reader): Reader {
    if (this.#closed) reader.end(this.#endError())
    return reader
  }

  /** In a later turn: if the handler left its loop by an error, that is known by then, and the errorHandler decides. */
  #closeSoon (): void {
    setImmediate(() => { if (!this.#hasHandlerFailed) this.close(NORMAL_CLOSURE) })
  }

  /** Null when both sides have said Close and we did not fail. */
  #endError (): ConnectionClosedError | null {
    const { wasClean, code } = this.#closing.outcome
    if (wasClean && this.#failure === null) return null
    const options = this.#failure === null ? {} : { cause: this.#failure }
    return new ConnectionClosedError(`the connection ended with close code ${code}`, options)
  }

  // Sending

  send (data: MessageData | Prepared, options?: SendOptions | SendCallback, callback?: SendCallback): boolean {
    if (typeof options === 'function') return this.send(data as MessageData, undefined, options)
    if (!this.#maySend(callback)) return false
    const queued = this.bufferedAmount
    if (data instanceof PreparedMessage) this.#addPrepared(data, callback ?? undefined)
    else this.#addMessage(data as MessageData, options, callback ?? undefined)
    if (queued > 0 && this.bufferedAmount > this.#settings.maxBufferedAmount) this.#giveUpSlowPeer()
    return this.#backpressure.sent(this.bufferedAmount)
  }

  #addMessage (data: MessageData, options: SendOptions | undefined, callback: SendCallback | undefined): void {
    const payload = toPayload(data)
    const isText = options?.binary === undefined ? typeof payload === 'string' : !options.binary
    const fin = options?.fin ?? true
    const opcode = this.#outgoingMessage ? CONTINUATION : isText ? TEXT : BINARY
    this.#sender!.add(opcode, fin, payload, callback, options?.compress)
    this.#outgoingMessage = !fin
    if (fin) this.#messagesSent++
  }

  #addPrepared (message: PreparedMessage, callback: SendCallback | undefined): void {
    if (this.#outgoingMessage) throw unfinishedMessage()
    this.#sender!.addPrepared(message, callback)
    this.#messagesSent++
  }

  createMessageStream ({ binary = true, highWaterMark = this.#settings.highWaterMark }: CreateMessageStreamOptions = {}): Writable {
    if (this.readyState === CONNECTING) throw notOpenYet()
    if (this.#outgoingMessage) throw unfinishedMessage()
    const opcode = binary ? BINARY : TEXT
    const slot = this.readyState === OPEN ? this.#sender!.addMessage(opcode) : MessageSlot.cut(opcode)
    return new OutgoingMessageStream(this, slot, { highWaterMark }).once('finish', () => { this.#messagesSent++ })
  }

  drained (): Promise<void> {
    return this.#backpressure.drained()
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
    this.#sender!.addControl(opcode, bytes, done)
  }

  #maySend (callback: SendCallback | null | undefined): boolean {
    if (this.readyState === OPEN) return true
    if (this.readyState === CONNECTING) throw notOpenYet()
    if (callback) {
      process.nextTick(() => { this.callSafely(callback, new ConnectionClosedError('the connection is closing or closed')) })
    }
    return false
  }

  /** The peer takes less than it is sent, and the sender does not care. Whatever it has not taken yet still goes out. */
  #giveUpSlowPeer (): void {
    this.#abandon({ code: TRY_AGAIN_LATER, reason: Buffer.from('slow reader') })
    this.#publish('slow')
    process.nextTick(() => { this.inContext(() => { this.emitSafely('slow') }) })
  }

  #onWritten (callbacks: SendCallback[]): void {
    this.#liveness!.progressed()
    // our Close is on its way behind this, and who still reads is not dropped for being slow
    if (this.#closing.sent !== null) this.#startDeadline()
    for (const callback of callbacks) this.callSafely(callback)
    if (this.#unansweredPing !== null && !this.#isBacklogged()) this.#answerPing(this.#unansweredPing)
    if (this.#backpressure.mustWait && this.bufferedAmount === 0) this.#drain()
    this.#receiver.readOn() // which may have waited for this
  }

  #onUnsendable (error: Error, callback: SendCallback | undefined): void {
    if (callback !== undefined) this.callSafely(callback, error)
    this.#report(error)
    this.closeFailed() // a message is missing that was said to be sent
  }

  #drain (): void {
    this.#backpressure.release()
    if (!this.#closed) this.inContext(() => { this.emitSafely('drain') })
  }

  // Closing

  close (code?: number, reason?: string | Uint8Array): void {
    if (this.readyState === CONNECTING) this.terminate()
    // as with ws, what could not be sent is no error when nothing is: proxies pass 1006 on
    if (this.readyState !== OPEN) return
    this.#sendClose(createClose(code, reason))
    this.#startDeadline()
    this.#receiver.hurry()
  }

  terminate (): void {
    if (this.#closed) return
    this.#isBroken = true
    this.#receiver.clear()
    if (this.#transport === null || this.#isTransportClosed) process.nextTick(() => { this.#finish() })
    else this.#transport.abort()
  }

  /** The handler that this connection was given to has failed. @internal */
  handlerFailed (error: unknown): void {
    this.#hasHandlerFailed = true
    this.#report(error)
  }

  /** Closes with 1011, and delivers nothing more: who failed on one message is not given the next. @internal */
  closeFailed (): void {
    this.#receiver.discardMessages()
    if (this.readyState === OPEN) this.#abandon({ code: INTERNAL_ERROR, reason: NOTHING })
  }

  /** §7.1.7: fail the connection. */
  #onFailure (error: ProtocolError): void {
    this.#failure = error
    this.#publish('error', { error })
    this.#abandon({ code: error.closeCode, reason: Buffer.from(error.message).subarray(0, MAX_CONTROL_PAYLOAD - 2) })
  }

  #onFailureTurn (error: ProtocolError): void {
    if (this.listenerCount('error') > 0) this.emitSafely('error', error)
    this.#receiver.reader?.end(this.#endError())
  }

  #onInternalError (error: unknown): void {
    this.handlerFailed(error)
    this.closeFailed() // whatever the handler thinks of it: a message is missing
  }

  /** Sends Close and does not wait for the peer's. */
  #abandon (close: Close): void {
    this.#isBroken = true
    this.#sendClose(close)
    this.#receiver.ignoreInput()
    this.#sender!.end(false)
    this.#startDeadline()
  }

  #sendClose (close: Close): void {
    if (this.#closing.sent !== null) return
    this.#closing.send(close)
    this.#cutOutgoing()
    this.#sender!.add(CLOSE, true, serializeClosePayload(close))
  }

  /** What is sent in pieces does not go on. */
  #cutOutgoing (): void {
    const callbacks = this.#sender!.cut()
    if (callbacks.length > 0) process.nextTick(() => { this.#failUnsent(callbacks) })
  }

  /** The callbacks of what was not sent get to know it. */
  #failUnsent (callbacks: SendCallback[]): void {
    if (callbacks.length === 0) return // most of the time, and an error costs more than the rest of the end
    const error = new ConnectionClosedError('the connection was closed before the message was sent')
    for (const callback of callbacks) this.callSafely(callback, error)
  }

  #onClose (close: Close): void {
    this.#closing.receive(close)
    this.#sendClose(close)
    // §7.1.1: the server closes the TCP connection first
    if (this.#settings.role === 'server') this.#sender!.end()
    this.#startDeadline()
    this.#receiver.reader?.end(this.#endError())
  }

  #onEnd (): void {
    this.#isBroken = true
    this.#cutOutgoing()
    this.#sender!.end()
    this.#receiver.reader?.end(this.#endError())
  }

  #onTransportClose (): void {
    if (this.#isTransportClosed) return
    this.#isTransportClosed = true
    this.#isBroken = true
    this.#failUnsent(this.#sender!.destroy())
    this.#receiver.read()
    if (!this.#closed) this.#startDeadline()
  }

  /** One time-out for whatever the ending waits for: the peer's Close, the end of its stream, or our own consumer. */
  #startDeadline (): void {
    clearTimeout(this.#deadline ?? undefined)
    this.#deadline = setTimeout(() => { this.#onDeadline() }, this.#settings.closeTimeout)
  }

  #onDeadline (): void {
    if (!this.#receiver.isHolding) {
      this.#leave()
      return
    }
    // What waited behind messages that nobody took has its turn now.
    this.#startDeadline()
    this.#receiver.discardMessages()
  }

  /** Whoever is not done reading what is on its way, our Close the last of it, may read on. */
  #leave (): void {
    const transport = this.#transport
    if (transport?.leave === undefined || this.#isTransportClosed || this.#closing.sent === null || this.#sender!.hasUnsentBytes) {
      this.terminate()
    } else {
      this.#isBroken = true
      this.#receiver.clear()
      transport.leave()
    }
  }

  /** The connection is closed once the transport is and nothing is left to deliver. */
  #tryFinish (): void {
    if (this.#receiver.isDone && this.#isTransportClosed) this.#finish()
  }

  #finish (): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#deadline ?? undefined)
    this.#liveness?.stop()
    this.#closedAt = performance.now()
    this.#drain()
    const info = this.#closeInfo()
    if (CHANNELS.close.hasSubscribers) this.#publish('close', { ...info, stats: this.stats() })
    this.#owner.onClose(this, info)
    const { reader } = this.#receiver
    this.#receiver.clear()
    reader?.end(this.#endError())
    reader?.release()
    const { code, reason } = this.#closing.outcome
    this.inContext(() => { this.emitSafely('close', code, reason) })
    this.#closedPromise?.resolve(info)
    this.#abortController?.abort(new ConnectionClosedError('the connection is closed'))
  }

  #closeInfo (): CloseInfo {
    const { code, reason, wasClean } = this.#closing.outcome
    return { code, reason: reason.toString(), wasClean }
  }

  protected override onListenerError (error: unknown): void {
    this.#report(error)
  }

  // Observing

  stats (): ConnectionStats {
    const { messages, bytes } = this.#receiver.counts
    return {
      duration: this.#openedAt === 0 ? 0 : (this.#closedAt ?? performance.now()) - this.#openedAt,
      messagesReceived: messages,
      messagesSent: this.#messagesSent,
      bytesReceived: bytes,
      bytesSent: this.#sender?.bytesWritten ?? 0
    }
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

const unfinishedMessage = (): Error => new Error('a message that was begun with fin: false has not ended')
const notOpenYet = (): Error => new Error('the connection is not open yet: readyState is CONNECTING')
