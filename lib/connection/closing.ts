// Carries out each step of the ending (see the table in ending.ts): what is still delivered and sent, who is notified, and how long each step may
// take.
import { setMaxListeners } from 'node:events'
import type { CloseCause, CloseInfo, SendCallback } from '../../types/connection.ts'
import { type ConnectionClosedError, ProtocolError } from '../errors.ts'
import { withResolver, type PromiseWithResolver } from '../promises.ts'
import { ABNORMAL_CLOSURE, INTERNAL_ERROR, isFailureCode } from '../protocol/close-code.ts'
import { cutReason, serializeClosePayload, type Close } from '../protocol/close.ts'
import { CLOSE } from '../protocol/opcode.ts'
import type { Role } from '../protocol/role.ts'
import type { Transport } from '../transport/transport.ts'
import { Ending, type EndingEvent } from './ending.ts'
import type { MessageReader } from './incoming/message-reader.ts'
import type { Receiver } from './incoming/receiver.ts'
import type { Sender } from './outgoing/sender.ts'

export interface ClosingSettings {
  readonly role: Role
  /** Milliseconds allowed for each step: the peer's Close, the end of its stream, delivery of held messages. */
  readonly closeTimeout: number
}

export interface ClosingOwner {
  /** Nothing more will arrive, but held messages can still be delivered. */
  onReady (): void
  /** readyState has left OPEN. */
  onNotOpen (): void
  /** Our Close is about to go out. */
  onSendingClose (): void
  /** The callbacks of messages that will not be sent. */
  onUnsent (callbacks: SendCallback[]): void
  /** The peer broke the protocol; our Close with the reason is on its way. */
  onFailed (error: ProtocolError): void
  /** Everything is delivered: remove the connection from all lists. */
  onFinish (info: CloseInfo): void
  /** Called after onFinish(): notify listeners. */
  onClosed (): void
  /** Creates the error for an ended connection. @param closeCode default: the code that began the ending */
  closedError (message: string, options?: ErrorOptions & { closeCode?: number }): ConnectionClosedError
  /** Calls `callback` in the application's async context. */
  callInContext (callback: () => void): void
}

const NOTHING: Buffer = Buffer.alloc(0)

export class Closing {
  readonly ending = new Ending()
  readonly #settings: ClosingSettings
  readonly #owner: ClosingOwner
  readonly #receiver: Receiver
  #transport: Transport | null = null
  #sender: Sender | null = null
  // restarted at each step
  #deadline: NodeJS.Timeout | null = null
  #closed: PromiseWithResolver<CloseInfo> | null = null
  #abortController: AbortController | null = null

  constructor (settings: ClosingSettings, owner: ClosingOwner, receiver: Receiver) {
    this.#settings = settings
    this.#owner = owner
    this.#receiver = receiver
  }

  open (transport: Transport, sender: Sender): void {
    this.#transport = transport
    this.#sender = sender
    this.#move('open')
  }

  get isOpen (): boolean { return this.ending.readyState === 1 }

  /** Resolves once the connection is closed and everything is delivered. */
  get closed (): Promise<CloseInfo> {
    if (this.#closed === null) {
      this.#closed = withResolver<CloseInfo>()
      if (this.ending.phase === 'closed') this.#closed.resolve(this.ending.info)
    }
    return this.#closed.promise
  }

  /** Aborted when the ending begins. */
  get signal (): AbortSignal {
    if (this.#abortController === null) {
      this.#abortController = new AbortController()
      setMaxListeners(0, this.#abortController.signal) // each fetch() in a handler may add a listener
      this.tell()
    }
    return this.#abortController.signal
  }

  // Begun by us

  /** §7.1.2: sends Close and waits for the peer's. */
  begin (cause: CloseCause, close: Close): void {
    this.ending.blame(cause, close.code)
    this.#sendClose(close)
    this.#move('close')
    this.#startDeadline()
    this.#receiver.hurry()
    this.tell()
  }

  /** Sends Close without waiting for the peer's. Messages already sent still go out. Does not abort the signal yet: see tell(). */
  abandon (cause: CloseCause, close: Close): void {
    this.ending.blame(cause, close.code)
    this.#sendClose(close)
    this.#move('break')
    this.#receiver.ignoreInput()
    this.#sender!.end(false)
    this.#startDeadline()
  }

  /** Closes with 1011 and delivers nothing more: a handler that failed on one message does not get the next. */
  giveUp (): void {
    this.#receiver.discardMessages()
    if (!this.isOpen) return
    this.abandon('handler', { code: INTERNAL_ERROR, reason: NOTHING })
    this.tell()
  }

  /** Drops the transport, after handing the kernel as much unsent data as it takes now. */
  drop (cause: CloseCause): void {
    if (this.ending.phase === 'closed') return
    this.ending.blame(cause, ABNORMAL_CLOSURE)
    this.#receiver.clear()
    this.#sender?.flushNow()
    this.#move('drop')
    if (this.ending.phase === 'gone') {
      process.nextTick(() => { this.#finish() })
    } else {
      this.#startDeadline() // some streams never emit 'close'
      this.#transport!.abort()
    }
    this.tell()
  }

  // Begun by the peer

  /** The peer's final event has come (null: the end of its stream). It takes its turn behind held messages. */
  onFarewell (word: Close | ProtocolError | null): void {
    if (word === null) this.ending.blame('transport', ABNORMAL_CLOSURE)
    else if (word instanceof ProtocolError) this.ending.blame(word.code === 'WS_ERR_RATE_LIMIT' ? 'rate' : 'protocol', word.closeCode)
    else this.ending.blame('peer', word.code)
    this.#move('farewell')
    this.#startDeadline()
    this.tell()
  }

  /** A message was taken: a consumer that keeps taking those before the peer's Close is not cut off. */
  onTakenOn (): void {
    if (this.ending.sent === null) this.#startDeadline()
  }

  onClose (close: Close): void {
    this.ending.receive(close)
    this.#sendClose(close)
    this.#move('answer')
    // §7.1.1: the server closes the TCP connection first
    if (this.#settings.role === 'server') this.#sender!.end()
    this.#startDeadline()
    this.#endReader()
  }

  onEnd (): void {
    this.#move('break')
    this.#cutOutgoing()
    this.#sender!.end()
    this.#endReader()
  }

  /** §7.1.7: fail the connection. */
  onFailure (error: ProtocolError): void {
    this.ending.failure = error
    this.abandon('protocol', { code: error.closeCode, reason: cutReason(error.message) })
    this.#owner.onFailed(error)
    this.#endReader()
  }

  // On the way

  /** The transport took more. Our Close may be queued behind it: a peer that still reads is not dropped for being slow. */
  onProgress (): void {
    if (this.ending.sent !== null) this.#startDeadline()
  }

  onTransportClose (): void {
    if (!this.#move('lose')) return
    this.ending.blame('transport', ABNORMAL_CLOSURE)
    if (this.#sender!.bufferedAmount > 0) this.ending.cutOff()
    this.#failUnsent(this.#sender!.destroy())
    this.#receiver.delivery.hasFarewell = true
    this.#startDeadline()
    this.#owner.onReady()
    this.tell() // held messages may still be taken
  }

  /** Everything received has been delivered or discarded. */
  onDone (): void {
    if (this.ending.phase === 'gone') this.#finish()
  }

  /** Aborts the signal if the ending has begun. */
  tell (): void {
    const controller = this.#abortController
    if (controller === null || controller.signal.aborted || !this.ending.hasBegun) return
    const reason = this.#owner.closedError(`the connection is closing or closed, with close code ${this.ending.closeCode}`)
    this.#owner.callInContext(() => { controller.abort(reason) })
  }

  /** Null after a clean close without a failure of ours. For a stream, the peer's close code must not be a failure code either. */
  endError (reader: MessageReader<any>): ConnectionClosedError | null {
    const { wasClean, code, failure } = this.ending
    if (wasClean && failure === null && !(reader.keepsMessages && isFailureCode(code))) return null
    return this.#owner.closedError(`the connection ended with close code ${code}`, { closeCode: code, ...(failure === null ? {} : { cause: failure }) })
  }

  #sendClose (close: Close): void {
    if (this.ending.sent !== null || this.ending.phase === 'gone') return
    this.ending.send(close)
    this.#owner.onSendingClose()
    this.#cutOutgoing()
    this.#sender!.add(CLOSE, true, serializeClosePayload(close))
  }

  /** Cuts off a message that is still being sent in fragments. */
  #cutOutgoing (): void {
    const callbacks = this.#sender!.cut()
    if (callbacks.length > 0) process.nextTick(() => { this.#failUnsent(callbacks) })
  }

  #failUnsent (callbacks: SendCallback[]): void {
    if (callbacks.length > 0) this.#owner.onUnsent(callbacks)
  }

  #endReader (): void {
    const { reader } = this.#receiver.delivery
    reader?.end(this.endError(reader))
  }

  #startDeadline (): void {
    if (this.ending.phase === 'closed') return
    if (this.#deadline === null) this.#deadline = setTimeout(() => { this.#onDeadline() }, this.#settings.closeTimeout)
    else this.#deadline.refresh()
  }

  /** A step took too long: see the table in ending.ts. */
  #onDeadline (): void {
    if (this.ending.phase === 'dropped') {
      this.onTransportClose()
    } else if (this.#receiver.isRateLimited && this.ending.phase !== 'gone') {
      this.#startDeadline() // it is our rate limit that makes the peer wait
    } else if (this.#receiver.isHolding) {
      this.#startDeadline()
      this.#receiver.discardMessages()
    } else {
      this.#leave()
    }
  }

  /** If only the peer's reading is outstanding, our Close last, a transport with leave() lets it read on. Others are dropped. */
  #leave (): void {
    const { phase, sent } = this.ending
    const transport = this.#transport
    if (transport?.leave === undefined || phase === 'gone' || sent === null || this.#sender!.hasUnsentBytes) {
      this.drop('transport')
      return
    }
    this.#receiver.clear()
    this.#move('drop')
    this.#startDeadline()
    transport.leave()
  }

  /** The transport is closed and nothing is left to deliver. */
  #finish (): void {
    if (!this.#move('finish')) return
    clearTimeout(this.#deadline ?? undefined)
    const { info } = this.ending
    this.#owner.onFinish(info)
    const { reader } = this.#receiver.delivery
    this.#receiver.clear()
    reader?.end(this.endError(reader))
    reader?.release()
    this.#owner.onClosed()
    this.#closed?.resolve(info)
    this.tell()
  }

  #move (event: EndingEvent): boolean {
    const wasOpen = this.isOpen
    const hasMoved = this.ending.move(event)
    if (wasOpen && !this.isOpen) this.#owner.onNotOpen()
    return hasMoved
  }
}
