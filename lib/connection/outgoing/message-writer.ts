// send(), ping(), pong() -> Sender: what may be sent when, and backpressure on callers.
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
  /** Unsent bytes beyond which the connection is closed with 1013, as its sender ignores backpressure. */
  readonly maxBufferedAmount: number
  /** Present if outgoing messages have a schema. */
  readonly encoder?: MessageEncoder
}

export interface MessageWriterOwner extends SenderOwner {
  readonly readyState: ReadyState
  /** Creates the error for an ended connection. */
  closedError (message: string): ConnectionClosedError
  /** Calls `callback` in the application's async context. */
  call (callback: SendCallback, error?: Error): void
  /** Too many bytes are unsent. */
  onSlow (): void
  /** Everything is out after callers were told to wait. */
  onAllOut (): void
  /** A message sent with fin: false has ended. */
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
  // a message begun with fin: false has not ended
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

  /** Only after open(). */
  get sender (): Sender { return this.#sender! }
  get bufferedAmount (): number { return this.#sender?.bufferedAmount ?? 0 }
  /** Messages sent, and bytes taken by the transport. */
  get counts (): { messages: number, bytes: number } { return { messages: this.#messages, bytes: this.#sender?.bytesWritten ?? 0 } }
  /** send() would return false. */
  get mustWait (): boolean { return this.#backpressure.mustWait }
  get isInMessage (): boolean { return this.#isInMessage }
  /** Outgoing messages have a schema. */
  get encodes (): boolean { return this.#settings.encoder !== undefined }
  /** Something waits for onWritten(). */
  get awaitsProgress (): boolean { return this.#unansweredPing !== null || this.mustWait }
  /** More is unsent than respecting backpressure allows: an echo to a peer that does not read must not pile up. */
  get isBacklogged (): boolean { return this.#backpressure.isExceededBy(this.#sender?.amountInWork ?? 0) }

  // Messages

  send (data: MessageData | Prepared, options: SendOptions | undefined, callback: SendCallback | undefined): boolean {
    if (!this.#maySend(callback)) return false
    const queued = this.bufferedAmount
    if (data instanceof PreparedMessage) this.#addPrepared(data, callback)
    else this.#addMessage(data as MessageData, options, callback)
    return this.#sent(queued, this.#settings.maxBufferedAmount)
  }

  /** Must not be called while isInMessage. @param maxUnsent bytes that may be unsent, including this message */
  sendPublished (message: PreparedMessage, maxUnsent: number): boolean {
    const queued = this.bufferedAmount
    this.#addPrepared(message, undefined)
    return this.#sent(queued, maxUnsent)
  }

  /** @param queued bytes unsent before the message @param maxUnsent limit after it, which a message on an empty queue may exceed */
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

  /** Encodes a value if outgoing messages have a schema; otherwise returns it. */
  encode (data: MessageData, options?: SendOptions): MessageData {
    const { encoder } = this.#settings
    return encoder === undefined ? data : encoder.encode(data, options)
  }

  prepare (data: MessageData, options?: PrepareOptions): Prepared {
    return prepare(this.encode(data, options), options)
  }

  /** Reserves the place of a message whose fragments are still to come. */
  begin (opcode: typeof TEXT | typeof BINARY): MessageSlot {
    const { readyState } = this.#owner
    if (readyState === CONNECTING) throw notOpenYet()
    if (this.#isInMessage) throw unfinishedMessage()
    return readyState === OPEN ? this.#sender!.addMessage(opcode) : MessageSlot.cut(opcode)
  }

  /** A message with a slot has been sent. */
  onSlotSent (): void {
    this.#messages++
  }

  // Control frames

  /** @throws RangeError for more than 125 bytes, §5.5 */
  sendControl (opcode: typeof PING | typeof PONG, data: MessageData | undefined, callback: SendCallback | undefined): void {
    if (this.#maySend(callback)) this.#sender!.addControl(opcode, toControlPayload(data), callback)
  }

  /** Sends a Ping. A round-trip Ping has a payload; that of the heartbeat is empty. */
  ping (payload: Buffer = NOTHING): void {
    this.#sender!.addControl(PING, payload)
  }

  /** §5.5.3: answering only the most recent Ping is enough; used when the peer does not read and Pongs would pile up. */
  answerPing (payload: Buffer): void {
    if (this.isBacklogged) this.#unansweredPing = Buffer.from(payload) // a copy: a view would keep its chunk alive
    else this.#pong(payload)
  }

  #pong (payload: Buffer): void {
    this.#unansweredPing = null
    if (this.#owner.readyState === OPEN) this.#sender!.addControl(PONG, payload)
  }

  // Callers

  #maySend (callback: SendCallback | undefined): boolean {
    const { readyState } = this.#owner
    if (readyState === OPEN) return true
    if (readyState === CONNECTING) throw notOpenYet()
    // in a later turn: a caller that ignores the error and sends again must not block the event loop
    if (callback !== undefined) setImmediate(() => { this.#owner.call(callback, this.#owner.closedError('the connection is closing or closed')) })
    return false
  }

  drained (): Promise<boolean> {
    const { readyState } = this.#owner
    if (readyState === CLOSED) return nextTurn().then(() => false) // a caller that loops despite false must not block the event loop
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

  /** Resolves all drained() calls that wait. @param mayGoOn whether sending more makes sense */
  tell (mayGoOn: boolean): void {
    this.#backpressure.tell(mayGoOn)
  }
}

const unfinishedMessage = (): Error => new Error('a message that was begun with fin: false has not ended')
const notOpenYet = (): Error => new Error('the connection is not open yet: readyState is CONNECTING')
