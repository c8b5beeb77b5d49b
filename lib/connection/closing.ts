// What is done at each step of the ending (ending.ts has them as a table): what is still delivered and sent, who is told, and for whom is waited
// how long.
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
  /** Milliseconds for each step of the ending: the peer's Close, the end of its stream, the messages still held. */
  readonly closeTimeout: number
}

export interface ClosingOwner {
  /** What waits is to be delivered, though nothing comes any more. */
  onReady (): void
  /** readyState is OPEN no longer. */
  onNotOpen (): void
  /** Our Close is about to go out. */
  onSendingClose (): void
  /** They belong to what will not be sent. */
  onUnsent (callbacks: SendCallback[]): void
  /** The peer has broken the protocol, and is told so. */
  onFailed (error: ProtocolError): void
  /** All is delivered: the connection comes off every list. */
  onFinish (info: CloseInfo): void
  /** After that, listeners are told. */
  onClosed (): void
  /** Says of this connection that it has ended. @param closeCode default: of what began that */
  closedError (message: string, options?: ErrorOptions & { closeCode?: number }): ConnectionClosedError
  /** Calls `callback` as all is called that is the application's. */
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
  // of each step
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

  /** Resolves when all is over. */
  get closed (): Promise<CloseInfo> {
    if (this.#closed === null) {
      this.#closed = withResolver<CloseInfo>()
      if (this.ending.phase === 'closed') this.#closed.resolve(this.ending.info)
    }
    return this.#closed.promise
  }

  /** Aborted when the end has begun. */
  get signal (): AbortSignal {
    if (this.#abortController === null) {
      this.#abortController = new AbortController()
      setMaxListeners(0, this.#abortController.signal) // each fetch of a handler may add one
      this.tell()
    }
    return this.#abortController.signal
  }

  // Begun by us

  /** §7.1.2: says Close, and waits for the peer's. */
  begin (cause: CloseCause, close: Close): void {
    this.ending.blame(cause, close.code)
    this.#sendClose(close)
    this.#move('close')
    this.#startDeadline()
    this.#receiver.hurry()
    this.tell()
  }

  /** Says Close, and does not wait for the peer's. What was sent still goes out. Whoever works for this connection is not told yet. */
  abandon (cause: CloseCause, close: Close): void {
    this.ending.blame(cause, close.code)
    this.#sendClose(close)
    this.#move('break')
    this.#receiver.ignoreInput()
    this.#sender!.end(false)
    this.#startDeadline()
  }

  /** Closes with 1011, and delivers nothing more: who failed on one message is not given the next. */
  giveUp (): void {
    this.#receiver.discardMessages()
    if (!this.isOpen) return
    this.abandon('handler', { code: INTERNAL_ERROR, reason: NOTHING })
    this.tell()
  }

  /** Once what was sent is with the kernel, as far as that takes it now. */
  drop (cause: CloseCause): void {
    if (this.ending.phase === 'closed') return
    this.ending.blame(cause, ABNORMAL_CLOSURE)
    this.#receiver.clear()
    this.#sender?.flushNow()
    this.#move('drop')
    if (this.ending.phase === 'gone') {
      process.nextTick(() => { this.#finish() })
    } else {
      this.#startDeadline() // there are streams that never say 'close'
      this.#transport!.abort()
    }
    this.tell()
  }

  // Begun by the peer

  /** Its last word has come, and waits for its turn. */
  onFarewell (word: Close | ProtocolError | null): void {
    if (word === null) this.ending.blame('transport', ABNORMAL_CLOSURE)
    else if (word instanceof ProtocolError) this.ending.blame(word.code === 'WS_ERR_RATE_LIMIT' ? 'rate' : 'protocol', word.closeCode)
    else this.ending.blame('peer', word.code)
    this.#move('farewell')
    this.#startDeadline()
    this.tell()
  }

  /** Whoever goes on taking messages before the peer's Close is not cut off. */
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

  /** The transport took more. Our Close may be on its way behind that, and who still reads is not dropped for being slow. */
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
    this.tell() // if somebody still takes what is held
  }

  /** All that came has had its turn. */
  onDone (): void {
    if (this.ending.phase === 'gone') this.#finish()
  }

  /** Tells whoever works for this connection, if its end has begun. */
  tell (): void {
    const controller = this.#abortController
    if (controller === null || controller.signal.aborted || !this.ending.hasBegun) return
    const reason = this.#owner.closedError(`the connection is closing or closed, with close code ${this.ending.closeCode}`)
    this.#owner.callInContext(() => { controller.abort(reason) })
  }

  /** Null when both sides have said Close and we did not fail; to a stream, the peer's must not tell of a failure either. */
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

  /** What is sent in pieces does not go on. */
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

  /** Something took too long: see the table of ending.ts. */
  #onDeadline (): void {
    if (this.ending.phase === 'dropped') {
      this.onTransportClose()
    } else if (this.#receiver.isRateLimited && this.ending.phase !== 'gone') {
      this.#startDeadline() // it is we who make the peer wait
    } else if (this.#receiver.isHolding) {
      this.#startDeadline()
      this.#receiver.discardMessages()
    } else {
      this.#leave()
    }
  }

  /** Whoever is not done reading what is on its way, our Close the last of it, may read on where the transport knows how. */
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

  /** The transport is closed, and nothing is left to deliver. */
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
