// messages -> Audience (who takes them?) -> a reader or listeners; or HeldMessages, until somebody does
// The peer's last word (a Close, the end of its stream, a failure) has its turn behind the messages before it.
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
  /** How many messages may be with listeners whose promises are not settled; Infinity: nobody waits for those. */
  readonly messageConcurrency: number
  /** Milliseconds that messages are held for a consumer of whom nothing is seen; Infinity: for as long as it takes. */
  readonly holdTimeout: number
  /**
   * Somebody who was given the connection tells by handlerSettled() when he is done. False: nobody does, so that messages are
   * always held for a consumer, and a Close waits for nobody who might call receive() again. Default: true.
   */
  readonly hasHandler?: boolean
  /** Where a schema says what is received: a message is decoded when it is delivered. */
  readonly decoder?: MessageDecoder
}

/** Who is told what came, in the order in which it came. */
export interface DeliveryOwner {
  /** @returns resolves when the listeners are done with it; null when that is not waited for, or is so already */
  onMessage (message: Message): Promise<unknown> | null
  /** A message that the decoder does not allow. @returns as of ConnectionOwner */
  onInvalidMessage (error: MessageError): Promise<unknown> | boolean
  /** Somebody goes on taking messages while the peer's last word waits. */
  onTakenOn (): void
  onClose (close: Close): void
  onEnd (): void
  onFailure (error: ProtocolError): void
  /** An error that is not the peer's, such as memory that ran out. */
  onInternalError (error: unknown): void
  /** Says of this connection that it has ended: whoever gets that does not end it once more. */
  closedError (message: string): ConnectionClosedError
  /** holdTimeout has passed: from now on messages are discarded. */
  onNobody (): void
}

/** Who gives the messages. */
export interface DeliverySource {
  /** There may be somebody who takes more. */
  onWanted (): void
  /** Another reader, or none: a message may be as large as that one says. */
  onReader (): void
  /** A message is not what it should be: the connection fails. */
  fail (error: ProtocolError): void
}

export class Delivery {
  readonly #settings: DeliverySettings
  readonly #owner: DeliveryOwner
  readonly #source: DeliverySource
  readonly #audience: Audience
  readonly #held = new HeldMessages()
  #isHandlerDone: boolean
  // A reader for which the peer's Close waits until it is released.
  #deferring: unknown = null
  #holdTimer: NodeJS.Timeout | null = null
  /** The peer's last word has come, and whoever still takes messages is waited for. */
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
  /** What would become of a message that came now. */
  get verdict (): Audience['verdict'] { return this.#audience.verdict }
  /** Nothing waits for somebody who takes it. */
  get isEmpty (): boolean { return this.#held.isEmpty }
  /** Of memory, that waits. */
  get heldBytes (): number { return this.#held.bytes }

  // Who takes messages

  pause (): void {
    this.#audience.isPaused = true
    this.holdOn()
  }

  resume (): void {
    this.#audience.isPaused = false
    this.#expectNobody()
  }

  /** The handler is done: a message that nobody takes is from now on discarded, unless somebody pulls. */
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

  /** @throws ReaderBusyError while there is another */
  claim<Reader extends MessageReader<any>> (create: (owner: MessageReaderOwner) => Reader): Reader {
    const audience = this.#audience
    if (audience.reader !== null) throw new ReaderBusyError('the messages of this connection already have a reader')
    const reader = create({
      onWait: () => { this.#onReaderWait() },
      onRelease: expectsNext => { this.#onRelease(reader, expectsNext) }
    })
    audience.reader = reader
    audience.expectsConsumer = audience.waitsForReader // for the next reader too, once this one is released
    audience.expectsReceive = false
    this.holdOn()
    this.#source.onReader()
    return reader
  }

  // A message that waits is given at once: a consumer that answers each takes them all in one turn, and the answers leave in
  // one write.
  #onReaderWait (): void {
    const entry = this.#held.peek()
    if (entry?.type === 'message' && this.#audience.verdict === 'deliver') {
      const { decoder } = this.#settings
      const message = decoder === undefined ? entry.message : decoder.decode(entry.message)
      if (!(message instanceof Undecodable)) { // else that is told when deliverHeld() comes to it
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

  /** @param hasListeners whether somebody listens to 'message' now */
  onListeners (hasListeners: boolean): void {
    this.#audience.hasListeners = hasListeners
    if (!hasListeners) return
    this.#audience.expectsReceive = false
    this.holdOn()
    this.#source.onWanted()
  }

  /** From now on nothing is kept for somebody who does not take it at once, or reads it as a part of a whole. */
  hurry (): void {
    const audience = this.#audience
    const { reader } = audience
    audience.isPaused = audience.expectsConsumer = false
    audience.waitsForReader = reader !== null && reader.keepsMessages && reader.hasAsked && reader.isRead?.() === true
    this.#source.onWanted()
  }

  /** From now on messages are discarded, those that wait too. */
  discard (): void {
    this.#audience.discards = true
    this.#source.onWanted()
  }

  /** Drops all that waits. */
  clear (): void {
    this.#held.clear()
    clearTimeout(this.#holdTimer ?? undefined)
  }

  /** What has begun is too large to be held, and who takes it may yet want it as a stream. */
  isUndecided (): boolean {
    const { reader, hasListeners, verdict } = this.#audience
    if (reader !== null || hasListeners || verdict !== 'hold') return false
    this.holdOn()
    return true
  }

  /** Messages are held for a consumer of whom nothing is seen: for a while, from when the last one was seen. */
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

  // What is delivered

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

  /** Takes the peer's last word, whose turn comes in deliverHeld(). */
  takeWord (word: Exclude<HeldEntry, { type: 'message' }>): void {
    this.#held.add(word)
  }

  /** Delivers what waits, as far as somebody takes it. */
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

  /** A message is not what the schema says. Nothing behind it has its turn before it is answered. */
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

  /** A reader that must get all or an error does not get a message. */
  #missed (): void {
    const { reader } = this.#audience
    if (reader?.keepsMessages === true) reader.end(this.#owner.closedError('the connection was closed before all was read'))
  }

  /** The reader's answers to what was before the peer's Close are still on their way. */
  #isDeferred (entry: HeldEntry): boolean {
    const { reader, waitsForReader, discards } = this.#audience
    // one that tells of a failure has no answer
    if (entry.type !== 'close' || isFailureCode(entry.close.code) || reader === null || !waitsForReader || discards) return false
    if (this.#deferring === reader) return true
    if (!reader.defersClose()) return false
    this.#deferring = reader
    reader.end(null)
    return true
  }
}
