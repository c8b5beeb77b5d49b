// messages -> Audience (is there a consumer?) -> a reader or listeners; or HeldMessages until there is one
// The peer's final event (a Close, the end of its stream, a protocol error) has its turn behind the messages before it.
import { type ConnectionClosedError, MessageError, type ProtocolError, ReaderBusyError } from '../../errors.ts'
import type { Message } from '../../framing/message-assembler.ts'
import { type MessageDecoder, Undecodable } from '../../messages/message-decoder.ts'
import { isFailureCode } from '../../protocol/close-code.ts'
import type { Close } from '../../protocol/close.ts'
import { AnsweringAudience } from './answering-audience.ts'
import { Audience } from './audience.ts'
import { HeldMessages, type HeldEntry } from './held-messages.ts'
import type { MessageReader, MessageReaderOwner } from './message-reader.ts'

export interface DeliverySettings {
  /** How many messages may be with listeners whose promises have not settled; Infinity: promises are not waited for. */
  readonly messageConcurrency: number
  /** Milliseconds that messages are held while no consumer has shown up; Infinity: no limit. */
  readonly holdTimeout: number
  /**
   * A handler gets the connection, and handlerSettled() is called when it is done. False: there is none, so messages are always
   * held for a consumer, and a Close does not wait for another receive(). Default: true.
   */
  readonly hasHandler?: boolean
  /** Present if incoming messages have a schema: decodes a message when it is delivered. */
  readonly decoder?: MessageDecoder
}

/** Gets what was received, in order of arrival. */
export interface DeliveryOwner {
  /** @returns resolves when the listeners are done with the message; null if there is nothing to wait for */
  onMessage (message: Message): Promise<unknown> | null
  /** The decoder rejected a message. @returns see ConnectionOwner */
  onInvalidMessage (error: MessageError): Promise<unknown> | boolean
  /** A message was taken while the peer's final event waits. */
  onTakenOn (): void
  onClose (close: Close): void
  onEnd (): void
  onFailure (error: ProtocolError): void
  /** An error that is not the peer's fault, such as running out of memory. */
  onInternalError (error: unknown): void
  /** Creates the error for an ended connection; streams that get it do not terminate the connection again. */
  closedError (message: string): ConnectionClosedError
  /** holdTimeout has passed: messages are discarded from now on. */
  onNobody (): void
}

/** Supplies the messages. */
export interface DeliverySource {
  /** More messages may be wanted now. */
  onWanted (): void
  /** The reader has changed, and with it the maximum size of a message. */
  onReader (): void
  /** A message is invalid: fails the connection. */
  fail (error: ProtocolError): void
}

export class Delivery {
  readonly #settings: DeliverySettings
  readonly #owner: DeliveryOwner
  readonly #source: DeliverySource
  readonly #audience: Audience
  readonly #held = new HeldMessages()
  #isHandlerDone: boolean
  // the reader whose release the peer's Close waits for
  #deferring: unknown = null
  #holdTimer: NodeJS.Timeout | null = null
  /** The peer's final event has come; messages before it may still be held. */
  hasFarewell = false

  constructor (settings: DeliverySettings, owner: DeliveryOwner, source: DeliverySource) {
    this.#settings = settings
    this.#owner = owner
    this.#source = source
    this.#audience = new (settings.decoder === undefined ? Audience : AnsweringAudience)(settings.messageConcurrency)
    this.#isHandlerDone = settings.hasHandler === false
  }

  get isPaused (): boolean { return this.#audience.isPaused }
  get reader (): MessageReader<any> | null { return this.#audience.reader }
  /** What would happen to a message that arrived now. */
  get verdict (): Audience['verdict'] { return this.#audience.verdict }
  /** Nothing is held. */
  get isEmpty (): boolean { return this.#held.isEmpty }
  /** Bytes of memory held, overhead included. */
  get heldBytes (): number { return this.#held.bytes }

  // Consumers

  pause (): void {
    this.#audience.isPaused = true
    this.holdOn()
  }

  resume (): void {
    this.#audience.isPaused = false
    this.#expectNobody()
  }

  /** The handler is done: messages without a consumer are discarded from now on, unless there is a reader. */
  handlerSettled (): void {
    this.#isHandlerDone = true
    if (this.#audience.reader === null) this.#audience.expectsConsumer = false
    this.#audience.expectsReceive = false
    this.#source.onWanted()
  }

  #expectNobody (): void {
    this.#audience.expectsConsumer = this.#audience.expectsReceive = false
    this.#source.onWanted()
  }

  /** @throws ReaderBusyError if there already is a reader */
  claim<Reader extends MessageReader<any>> (create: (owner: MessageReaderOwner) => Reader): Reader {
    const audience = this.#audience
    if (audience.reader !== null) throw new ReaderBusyError('the messages of this connection already have a reader')
    const reader = create({
      onWait: () => { this.#onReaderWait() },
      onRelease: expectsNext => { this.#onRelease(reader, expectsNext) }
    })
    audience.reader = reader
    audience.expectsConsumer = audience.waitsForReader // also covers a next reader, once this one is released
    audience.expectsReceive = false
    this.holdOn()
    this.#source.onReader()
    return reader
  }

  // A held message is given at once: a consumer that answers each message takes them all in one turn, and the answers leave in
  // one write.
  #onReaderWait (): void {
    const entry = this.#held.peek()
    if (entry?.type === 'message' && this.#audience.verdict === 'deliver') {
      const { decoder } = this.#settings
      const message = decoder === undefined ? entry.message : decoder.decode(entry.message)
      if (!(message instanceof Undecodable)) { // if undecodable, deliverHeld() reports it
        this.#held.shift()
        this.#give(message)
      }
    }
    this.#source.onWanted()
  }

  #onRelease (reader: MessageReader<any>, expectsNext: boolean): void {
    if (this.#audience.reader !== reader) return
    this.#audience.reader = null
    this.#audience.expectsReceive = expectsNext && !this.#isHandlerDone
    this.#source.onReader()
    this.#source.onWanted()
  }

  /** @param hasListeners whether there are 'message' listeners now */
  onListeners (hasListeners: boolean): void {
    this.#audience.hasListeners = hasListeners
    if (!hasListeners) return
    this.#audience.expectsReceive = false
    this.holdOn()
    this.#source.onWanted()
  }

  /** Holds nothing from now on, except for a stream that is being read. */
  hurry (): void {
    const audience = this.#audience
    const { reader } = audience
    audience.isPaused = audience.expectsConsumer = false
    audience.waitsForReader = reader !== null && reader.keepsMessages && reader.hasAsked && reader.isRead?.() === true
    this.#source.onWanted()
  }

  /** Discards all messages from now on, held ones included. */
  discard (): void {
    this.#audience.discards = true
    this.#source.onWanted()
  }

  /** Drops everything held. */
  clear (): void {
    this.#held.clear()
    clearTimeout(this.#holdTimer ?? undefined)
  }

  /** For a message too large to be held: a consumer may still come that wants it as a stream. */
  isUndecided (): boolean {
    const { reader, hasListeners, verdict } = this.#audience
    if (reader !== null || hasListeners || verdict !== 'hold') return false
    this.holdOn()
    return true
  }

  /** Starts the hold timer if no consumer has shown up, or stops it. */
  holdOn (): void {
    if (!this.#audience.isMissing) {
      clearTimeout(this.#holdTimer ?? undefined)
      this.#holdTimer = null
    } else if (this.#settings.holdTimeout !== Infinity) {
      this.#holdTimer ??= setTimeout(() => {
        this.#owner.onNobody()
        this.#expectNobody()
      }, this.#settings.holdTimeout)
    }
  }

  // Delivery

  take (message: Message): void {
    const { verdict } = this.#audience
    if (this.#held.isEmpty && verdict === 'deliver') {
      this.#deliver(message)
    } else if (verdict !== 'discard') {
      this.#held.add({ type: 'message', message })
    } else {
      this.#missed()
    }
  }

  /** Queues the peer's final event, whose turn comes in deliverHeld(). */
  takeWord (word: Exclude<HeldEntry, { type: 'message' }>): void {
    this.#held.add(word)
  }

  /** Delivers what is held, as far as there is a consumer. */
  deliverHeld (): void {
    for (let entry = this.#held.peek(); entry !== undefined; entry = this.#held.peek()) {
      if (entry.type === 'message') {
        const { verdict } = this.#audience
        if (verdict === 'hold') {
          this.holdOn()
          return
        }
        this.#held.shift()
        if (verdict === 'deliver') this.#deliver(entry.message)
        else this.#missed()
      } else {
        if (this.#audience.mayAnswer || this.#isDeferred(entry)) return
        this.#held.shift()
        if (entry.type === 'close') this.#owner.onClose(entry.close)
        else if (entry.type === 'end') this.#owner.onEnd()
        else this.#owner.onFailure(entry.error)
      }
    }
  }

  #deliver (message: Message): void {
    const { decoder } = this.#settings
    if (decoder === undefined) {
      this.#give(message)
      return
    }
    const decoded = decoder.decode(message)
    if (decoded instanceof Undecodable) this.#refuse(decoded.error)
    else this.#give(decoded)
  }

  /** A message does not match the schema. Later ones wait until onInvalidMessage has settled. */
  #refuse (error: unknown): void {
    if (!(error instanceof MessageError)) {
      this.#owner.onInternalError(error)
      return
    }
    const answer = this.#owner.onInvalidMessage(error)
    if (answer === false) {
      this.#held.clear()
      this.#source.fail(error)
    } else if (answer !== true) {
      const audience = this.#audience as AnsweringAudience
      audience.isAnswering = true
      void answer.then(() => {
        audience.isAnswering = false
        this.#source.onWanted()
      })
    }
  }

  #give (message: Message): void {
    if (this.hasFarewell) this.#owner.onTakenOn()
    const { reader } = this.#audience
    if (reader?.isWaiting === true) reader.deliver(message)
    if (reader?.wantsPieces === true || !this.#audience.hasListeners) return
    const settled = this.#owner.onMessage(message)
    if (settled === null) return
    this.#audience.unsettled++
    void settled.then(() => {
      this.#audience.unsettled--
      this.#source.onWanted()
    })
  }

  /** A message was discarded: a reader that needs all of them gets an error. */
  #missed (): void {
    const { reader } = this.#audience
    if (reader?.keepsMessages === true) reader.end(this.#owner.closedError('the connection was closed before all was read'))
  }

  /** The peer's Close has to wait, as the reader may still answer messages before it. */
  #isDeferred (entry: HeldEntry): boolean {
    const { reader, waitsForReader, discards } = this.#audience
    // a Close with a failure code is not kept waiting
    if (entry.type !== 'close' || isFailureCode(entry.close.code) || reader === null || !waitsForReader || discards) return false
    if (this.#deferring === reader) return true
    if (!reader.defersClose()) return false
    this.#deferring = reader
    reader.end(null)
    return true
  }
}
