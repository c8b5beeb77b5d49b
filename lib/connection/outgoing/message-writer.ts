// send(), ping(), pong() -> Sender: what may be sent when, and whoever sends is told to wait, or given up where he does not.
import type { MessageData, PreparedMessage as Prepared, PrepareOptions, ReadyState, SendCallback, SendOptions } from '../../../types/connection.ts'
import type { Deflater } from '../../compression/deflater.ts'
import type { ConnectionClosedError } from '../../errors.ts'
import type { MessageEncoder } from '../../messages/message-encoder.ts'
import { BINARY, CONTINUATION, PING, PONG, TEXT } from '../../protocol/opcode.ts'
import type { Role } from '../../protocol/role.ts'
import type { Transport } from '../../transport/transport.ts'
import { toControlPayload, toPayload } from '../message-data.ts'
import { prepare, PreparedMessage } from '../prepared-message.ts'
import { nextTurn } from '../turn-clock.ts'
import { Backpressure } from './backpressure.ts'
import { MessageSlot } from './message-slot.ts'
import { Sender, type SenderOwner } from './sender.ts'

export interface MessageWriterSettings {
  readonly role: Role
  /** Unsent bytes from which the sender is to wait. */
  readonly highWaterMark: number
  /** Unsent bytes of a sender that ignores false, beyond which the connection is closed with 1013. */
  readonly maxBufferedAmount: number
  /** Where a schema says what is sent. */
  readonly encoder?: MessageEncoder
}

export interface MessageWriterOwner extends SenderOwner {
  readonly readyState: ReadyState
  /** Says of this connection that it has ended. */
  closedError (message: string): ConnectionClosedError
  /** In the application's context. */
  call (callback: SendCallback, error?: Error): void
  /** More is unsent than may be. */
  onSlow (): void
  /** After whoever sends was told to wait: he need not any more. */
  onAllOut (): void
  /** A message that was sent in pieces has ended. */
  onMessageEnd (): void
}

const CONNECTING = 0
const OPEN = 1
const CLOSED = 3
const NOTHING: Buffer = Buffer.alloc(0)

export class MessageWriter {
  readonly #settings: MessageWriterSettings
  readonly #owner: MessageWriterOwner
  readonly #backpressure: Backpressure
  #sender: Sender | null = null
  // a message with fin: false has begun
  #isInMessage = false
  #messages = 0
  #unansweredPing: Buffer | null = null

  constructor (settings: MessageWriterSettings, owner: MessageWriterOwner) {
    this.#settings = settings
    this.#owner = owner
    this.#backpressure = new Backpressure(settings.highWaterMark)
  }

  /** @param deflater null: nothing is compressed */
  open (transport: Transport, deflater: Deflater | null): Sender {
    this.#sender = new Sender(transport, this.#settings.role, deflater, this.#owner)
    return this.#sender
  }

  /** Once it is open. */
  get sender (): Sender { return this.#sender! }
  get bufferedAmount (): number { return this.#sender?.bufferedAmount ?? 0 }
  /** Messages that were sent, and bytes that the transport has taken. */
  get counts (): { messages: number, bytes: number } { return { messages: this.#messages, bytes: this.#sender?.bytesWritten ?? 0 } }
  /** A send() would return false. */
  get mustWait (): boolean { return this.#backpressure.mustWait }
  get isInMessage (): boolean { return this.#isInMessage }
  /** A schema says what is sent. */
  get encodes (): boolean { return this.#settings.encoder !== undefined }
  /** More waits to be sent than whoever obeys can have brought about: an echo to a peer that does not read must not pile up. */
  get isBacklogged (): boolean { return this.#backpressure.isExceededBy(this.#sender?.amountInWork ?? 0) }

  // Messages

  send (data: MessageData | Prepared, options: SendOptions | undefined, callback: SendCallback | undefined): boolean {
    if (!this.#maySend(callback)) return false
    const queued = this.bufferedAmount
    if (data instanceof PreparedMessage) this.#addPrepared(data, callback)
    else this.#addMessage(data as MessageData, options, callback)
    return this.#sent(queued, this.#settings.maxBufferedAmount)
  }

  /** Not inside of a message that is sent in pieces. @param maxUnsent bytes that may be unsent with it */
  sendPublished (message: PreparedMessage, maxUnsent: number): boolean {
    const queued = this.bufferedAmount
    this.#addPrepared(message, undefined)
    return this.#sent(queued, maxUnsent)
  }

  /** @param queued bytes that were unsent before, @param maxUnsent that may be now; one large message on an empty queue may be larger */
  #sent (queued: number, maxUnsent: number): boolean {
    const unsent = this.bufferedAmount
    if (queued > 0 && unsent > maxUnsent) this.#owner.onSlow()
    return this.#backpressure.sent(unsent)
  }

  #addMessage (data: MessageData, options: SendOptions | undefined, callback: SendCallback | undefined): void {
    const payload = toPayload(this.encode(data, options))
    const fin = options?.fin ?? true
    if (this.#isInMessage) {
      this.#goOnWithMessage(payload, fin, callback)
      return
    }
    const isText = options?.binary === undefined ? typeof payload === 'string' : !options.binary
    this.#sender!.add(isText ? TEXT : BINARY, fin, payload, callback, options?.compress)
    this.#isInMessage = !fin
    if (fin) this.#messages++
  }

  #goOnWithMessage (payload: Buffer | string | Blob, fin: boolean, callback: SendCallback | undefined): void {
    this.#sender!.add(CONTINUATION, fin, payload, callback)
    if (!fin) return
    this.#isInMessage = false
    this.#messages++
    this.#owner.onMessageEnd()
  }

  #addPrepared (message: PreparedMessage, callback: SendCallback | undefined): void {
    if (this.#isInMessage) throw unfinishedMessage()
    this.#sender!.addPrepared(message, callback)
    this.#messages++
  }

  /** What is sent for a value, where a schema says what is sent; else what is given. */
  encode (data: MessageData, options?: SendOptions): MessageData {
    const { encoder } = this.#settings
    return encoder === undefined ? data : encoder.encode(data, options)
  }

  prepare (data: MessageData, options?: PrepareOptions): Prepared {
    return prepare(this.encode(data, options), options)
  }

  /** A place among the messages for one whose fragments are to come. */
  begin (opcode: typeof TEXT | typeof BINARY): MessageSlot {
    const { readyState } = this.#owner
    if (readyState === CONNECTING) throw notOpenYet()
    if (this.#isInMessage) throw unfinishedMessage()
    return readyState === OPEN ? this.#sender!.addMessage(opcode) : MessageSlot.cut(opcode)
  }

  /** The message that has such a place is sent. */
  onSlotSent (): void {
    this.#messages++
  }

  // Control frames

  /** @throws RangeError for more than 125 bytes, §5.5 */
  sendControl (opcode: typeof PING | typeof PONG, data: MessageData | undefined, callback: SendCallback | undefined): void {
    if (this.#maySend(callback)) this.#sender!.addControl(opcode, toControlPayload(data), callback)
  }

  /** Asks the peer for a sign of life, as somebody who measures does by a payload of his own. */
  ping (payload: Buffer = NOTHING): void {
    this.#sender!.addControl(PING, payload)
  }

  /** §5.5.3: the last Ping may stand for all, where Pongs would pile up that the peer does not take. */
  answerPing (payload: Buffer): void {
    if (this.isBacklogged) this.#unansweredPing = Buffer.from(payload) // not a view of its chunk
    else this.#pong(payload)
  }

  #pong (payload: Buffer): void {
    this.#unansweredPing = null
    if (this.#owner.readyState === OPEN) this.#sender!.addControl(PONG, payload)
  }

  // Whoever sends

  #maySend (callback: SendCallback | undefined): boolean {
    const { readyState } = this.#owner
    if (readyState === OPEN) return true
    if (readyState === CONNECTING) throw notOpenYet()
    // in a later turn: who does not look at the error and sends the next must not keep the event loop
    if (callback !== undefined) setImmediate(() => { this.#owner.call(callback, this.#owner.closedError('the connection is closing or closed')) })
    return false
  }

  drained (): Promise<boolean> {
    const { readyState } = this.#owner
    if (readyState === CLOSED) return nextTurn().then(() => false) // who does not look at it must not keep the event loop
    if (readyState !== OPEN || this.mustWait) return this.#backpressure.wait()
    return this.#sender!.isTurnOver ? nextTurn().then(() => this.#owner.readyState === OPEN) : Promise.resolve(true)
  }

  flush (): void {
    this.#sender?.flushNow()
  }

  /** The transport took more. */
  onWritten (): void {
    if (this.#unansweredPing !== null && !this.isBacklogged) this.#pong(this.#unansweredPing)
    if (!this.mustWait || this.bufferedAmount > 0) return
    this.#backpressure.drained()
    this.#owner.onAllOut()
  }

  /** Wakes whoever waits. @param mayGoOn whether there is a point in sending more */
  tell (mayGoOn: boolean): void {
    this.#backpressure.tell(mayGoOn)
  }
}

const unfinishedMessage = (): Error => new Error('a message that was begun with fin: false has not ended')
const notOpenYet = (): Error => new Error('the connection is not open yet: readyState is CONNECTING')
