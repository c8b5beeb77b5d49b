// transport -> FrameReader (FrameParser, Inflater) -> MessageAssembler -> whoever takes messages (or HeldMessages, while nobody does)
// Frames are pulled for as long as somebody takes what comes out. Where that ends, in the middle of a chunk too, the
// transport is paused, and TCP makes the peer wait.
import { Inflater } from '../../compression/inflater.ts'
import { type ConnectionClosedError, MessageError, ProtocolError, ReaderBusyError } from '../../errors.ts'
import { FrameReader } from '../../framing/frame-reader.ts'
import { MessageAssembler, type Message } from '../../framing/message-assembler.ts'
import { type MessageDecoder, Undecodable } from '../../messages/message-decoder.ts'
import { isFailureCode } from '../../protocol/close-code.ts'
import type { Close, CloseFrame } from '../../protocol/close.ts'
import type { Frame } from '../../protocol/frame.ts'
import { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT } from '../../protocol/opcode.ts'
import type { Compression } from '../../protocol/permessage-deflate.ts'
import type { Role } from '../../protocol/role.ts'
import type { Transport } from '../../transport/transport.ts'
import { TurnClock } from '../turn-clock.ts'
import { AnsweringAudience } from './answering-audience.ts'
import { Audience } from './audience.ts'
import { HeldMessages, type HeldEntry } from './held-messages.ts'
import type { MessageReader, MessageReaderOwner, MessageSink } from './message-reader.ts'
import { RateLimitedFrameReader, type RateLimit } from './rate-limited-frame-reader.ts'

export interface ReceiverSettings {
  readonly role: Role
  readonly maxPayload: number
  readonly highWaterMark: number
  /** How many messages may be with listeners whose promises are not settled; Infinity: nobody waits for those. */
  readonly messageConcurrency: number
  /** Milliseconds that messages are held for a consumer of whom nothing is seen; Infinity: for as long as it takes. */
  readonly holdTimeout: number
  /**
   * Somebody who was given the connection tells by handlerSettled() when he is done. False: nobody does, so that messages are
   * always held for a consumer, and a Close waits for nobody who might call receive() again. Default: true.
   */
  readonly hasHandler?: boolean
  readonly perMessageDeflate: { readonly concurrency: number } | false
  /** How much the peer may send. Absent or false: as much as is read. */
  readonly rateLimit?: RateLimit | false
  /** Where a schema says what is received: a message is decoded when it is delivered. */
  readonly decoder?: MessageDecoder
}

/** Who decides. on...() are called inside of read(), in the order in which the bytes came, except where they say otherwise. */
export interface ReceiverOwner {
  /** Whether there is room for what reading on may cause to be sent. */
  mayRead (): boolean
  /** There may be more to read(): in a later turn than what brought that about. */
  onReady (): void
  /** @returns resolves when the listeners are done with it; null when that is not waited for, or is so already */
  onMessage (message: Message): Promise<unknown> | null
  /** A message that the decoder does not allow. @returns as of ConnectionOwner */
  onInvalidMessage (error: MessageError): Promise<unknown> | boolean
  /** At once, before messages that wait. */
  onPing (payload: Buffer): void
  /** At once, before messages that wait. */
  onPong (payload: Buffer): void
  /** At once: the peer's last word has come (a Close, what breaks the protocol, or null for the end of the stream). Its turn is behind what waits. */
  onFarewell (word: Close | ProtocolError | null): void
  /** Somebody goes on taking messages while that waits. */
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

// Fairness: the clock is looked at once in so many frames.
const FRAMES_BETWEEN_LOOKS = 64

// takes what is discarded
const nothing = (): void => {}
const NOBODY: MessageSink = { wantsMore: true, isRead: false, give: nothing, cut: nothing }

export class Receiver {
  readonly #settings: ReceiverSettings
  readonly #owner: ReceiverOwner
  readonly #assembler = new MessageAssembler()
  readonly #held = new HeldMessages()
  readonly #audience: Audience
  #messages = 0
  #bytes = 0
  #transport: Transport | null = null
  #frames: FrameReader | null = null

  #isReading = false
  #isReadyScheduled = false
  // The message in progress goes out while it comes.
  #sink: MessageSink | null = null
  #isHandlerDone: boolean
  // A reader for which the peer's Close waits until it is released.
  #deferring: unknown = null
  // The transport is at its end, which it tells though it is paused; frames before that may wait in the parser.
  #isEndDue = false
  // The peer's last word has come.
  #hasFarewell = false
  // Nobody who does not read is waited for.
  #isHurried = false
  // Nothing that comes in counts any more.
  #isDeaf = false
  // What the frames had cost at the last look at the clock, and whether this turn of the event loop is used up.
  #effort = 0
  #turnClock: TurnClock | null = null
  #isTurnOver = false
  #holdTimer: NodeJS.Timeout | null = null

  constructor (settings: ReceiverSettings, owner: ReceiverOwner) {
    this.#settings = settings
    this.#owner = owner
    this.#audience = new (settings.decoder === undefined ? Audience : AnsweringAudience)(settings.messageConcurrency)
    this.#isHandlerDone = settings.hasHandler === false
  }

  get isReading (): boolean { return this.#isReading }
  get isPaused (): boolean { return this.#audience.isPaused }
  /** Something waits for somebody who takes it. */
  get isHolding (): boolean { return !this.#held.isEmpty || this.#sink?.wantsMore === false }
  /** All that came has had its turn. */
  get isDone (): boolean {
    if (!this.#held.isEmpty || this.#isTurnOver) return false
    return this.#isDeaf || !(this.#isFull() || this.#frames?.isBusy === true)
  }

  /** The peer has sent more than it may, and waits for that. */
  get isRateLimited (): boolean { return this.#frames instanceof RateLimitedFrameReader && this.#frames.isWaiting }
  get reader (): MessageReader<any> | null { return this.#audience.reader }
  /** Bytes that came in, messages made of them, and bytes of messages that wait, the one in progress among them. */
  get counts (): { messages: number, bytes: number, held: number } {
    return { messages: this.#messages, bytes: this.#bytes, held: this.#held.bytes + this.#assembler.length }
  }

  /** @param compression how the peer compresses; null: not at all */
  open (transport: Transport, compression: Compression | null): void {
    const { role, perMessageDeflate, rateLimit = false } = this.#settings
    this.#transport = transport
    const mayInflate = compression !== null && perMessageDeflate !== false
    const inflater = mayInflate ? new Inflater(compression, perMessageDeflate.concurrency, () => { this.#owner.onReady() }) : null
    this.#frames = rateLimit === false
      ? new FrameReader(role, transport.ownsChunks, inflater)
      : new RateLimitedFrameReader(role, transport.ownsChunks, inflater, rateLimit, () => { this.#owner.onReady() })
    this.#limitMessages()
  }

  /** Takes in what came; read() makes messages of it. */
  feed (chunk: Buffer): void {
    if (this.#isDeaf) return
    this.#bytes += chunk.length
    this.#frames!.feed(chunk)
  }

  /** The peer will send nothing more. Like its Close, that has its turn behind the messages before it. */
  end (): void {
    if (this.#isDeaf) return
    this.#isEndDue = true
    this.#bidFarewell(null)
  }

  // Who takes messages

  pause (): void {
    this.#audience.isPaused = true
    this.#holdOn()
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
    this.#scheduleReady()
  }

  #expectNobody (): void {
    this.#audience.expectsConsumer = this.#audience.expectsReceive = false
    this.#scheduleReady()
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
    this.#holdOn()
    this.#limitMessages()
    return reader
  }

  // A message that waits is given at once: a consumer that answers each takes them all in one turn, and the answers leave in
  // one write.
  #onReaderWait (): void {
    const entry = this.#held.peek()
    if (entry?.type === 'message' && this.#audience.verdict === 'deliver') {
      const { decoder } = this.#settings
      const message = decoder === undefined ? entry.message : decoder.decode(entry.message)
      if (!(message instanceof Undecodable)) { // else that is told when read() comes to it
        this.#held.shift()
        this.#give(message)
      }
    }
    this.#scheduleReady()
  }

  #onRelease (reader: MessageReader<any>, expectsNext: boolean): void {
    if (this.#audience.reader !== reader) return
    this.#audience.reader = null
    this.#audience.expectsReceive = expectsNext && !this.#isHandlerDone
    this.#limitMessages()
    this.#scheduleReady()
  }

  /** @param hasListeners whether somebody listens to 'message' now */
  onListeners (hasListeners: boolean): void {
    this.#audience.hasListeners = hasListeners
    if (!hasListeners) return
    this.#audience.expectsReceive = false
    this.#holdOn()
    this.#scheduleReady()
  }

  /** From now on nothing is kept for somebody who does not take it at once, or reads it as a part of a whole. */
  hurry (): void {
    const audience = this.#audience
    const { reader } = audience
    audience.isPaused = audience.expectsConsumer = false
    audience.waitsForReader = reader !== null && reader.keepsMessages && reader.hasAsked && reader.isRead?.() === true
    this.#isHurried = true
    if (this.#frames instanceof RateLimitedFrameReader) this.#frames.lift()
    this.#scheduleReady()
  }

  /** From now on messages are discarded, those that wait too. */
  discardMessages (): void {
    this.#audience.discards = true
    this.#cutSink()
    this.#scheduleReady()
  }

  /**
   * From now on what comes in is ignored; what waits has its turn. It is read all the same: a socket that is closed with unread
   * bytes makes TCP drop what is on its way to the peer, a Close frame too.
   */
  ignoreInput (): void {
    this.#isDeaf = true
    this.#transport?.stream.resume()
  }

  /** Drops all that waits, and ignores what comes. */
  clear (): void {
    this.#isDeaf = true
    this.#held.clear()
    this.#frames?.destroy()
    clearTimeout(this.#holdTimer ?? undefined)
  }

  // Reading

  /** In a later turn, and once for many calls. */
  #scheduleReady (): void {
    if (this.#isReadyScheduled || this.#transport === null) return
    this.#isReadyScheduled = true
    process.nextTick(Receiver.#tellReady, this)
  }

  static readonly #tellReady = (receiver: Receiver): void => {
    receiver.#isReadyScheduled = false
    receiver.#owner.onReady()
  }

  /** Delivers what waits and then what the parser finds, for as long as somebody takes it. */
  read (): void {
    this.#isReading = true
    try {
      this.#pull()
    } catch (error) {
      if (this.#isUndecided()) this.#transport!.stream.pause()
      else if (error instanceof ProtocolError) this.#fail(error)
      else this.#owner.onInternalError(error)
      this.#deliverHeld()
    } finally {
      this.#isReading = false
      this.#frames!.releaseParser()
    }
  }

  #pull (): void {
    const { stream } = this.#transport!
    const frames = this.#frames!
    this.#deliverHeld()
    this.#beginSink()
    while (this.#wantsInput()) {
      const frame = frames.next()
      if (frame === null) {
        if (frames.isBusy) break
        if (this.#isEndDue) this.#takeEnd()
        else stream.resume()
        return
      }
      this.#take(frame)
      if (!this.#held.isEmpty) this.#deliverHeld()
      if (frames.effort - this.#effort >= FRAMES_BETWEEN_LOOKS) this.#lookAtClock(frames.effort)
    }
    if (!this.#isDeaf) stream.pause()
  }

  #wantsInput (): boolean {
    if (this.#isDeaf || this.#isTurnOver || this.#isFull() || this.#isUndecided()) return false
    return this.#isEndDue || this.#owner.mayRead() // less than a chunk is left before the end
  }

  #isFull (): boolean {
    const { isPaused, reader } = this.#audience
    if (this.#sink !== null) {
      if (this.#isHurried && !this.#sink.isRead && !this.#sink.wantsMore) this.#cutSink()
      return isPaused || !this.#sink.wantsMore
    }
    const bytes = this.#held.bytes + (reader?.wantsPieces === true ? this.#assembler.length : 0)
    return bytes >= this.#settings.highWaterMark
  }

  /** What has begun is too large to be held, and who takes it may yet want it as a stream. */
  #isUndecided (): boolean {
    if (!this.#frames!.isOversized) return false // as for all but a few frames
    const { reader, hasListeners, verdict } = this.#audience
    if (reader !== null || hasListeners || verdict !== 'hold') return false
    this.#holdOn()
    return true
  }

  /** Sets how large a message may be for who takes it; one that goes out already keeps its limit. */
  #limitMessages (): void {
    if (this.#sink !== null || this.#frames === null) return
    const { reader } = this.#audience
    this.#frames.limit(reader?.maxPayload ?? this.#settings.maxPayload, reader?.wantsPieces === true)
  }

  /** One socket may have 2 MiB to give in a turn, in frames of 6 bytes: others want to be served in between. */
  #lookAtClock (effort: number): void {
    this.#effort = effort
    this.#turnClock ??= new TurnClock()
    this.#isTurnOver = this.#turnClock.isOver
    if (this.#isTurnOver) setImmediate(Receiver.#onNextTurn, this)
  }

  static readonly #onNextTurn = (receiver: Receiver): void => {
    receiver.#isTurnOver = false
    receiver.#owner.onReady()
  }

  #take (frame: Frame): void {
    switch (frame.opcode) {
      case TEXT:
      case BINARY:
      case CONTINUATION: {
        const message = this.#assembler.add(frame)
        if (this.#sink !== null) this.#goOnWithSink(this.#sink, message)
        else if (message !== null) this.#takeMessage(message)
        else this.#beginSink()
        break
      }
      case PING:
        this.#owner.onPing(frame.payload)
        break
      case PONG:
        this.#owner.onPong(frame.payload)
        break
      case CLOSE: {
        const { close } = frame as CloseFrame
        this.#held.add({ type: 'close', close })
        this.#bidFarewell(close)
      }
    }
  }

  #bidFarewell (word: Close | ProtocolError | null): void {
    this.#hasFarewell = true
    this.#owner.onFarewell(word)
  }

  #takeEnd (): void {
    this.#isEndDue = false
    this.#held.add({ type: 'end' })
    this.#deliverHeld()
  }

  #takeMessage (message: Message): void {
    this.#messages++
    const { verdict } = this.#audience
    if (this.#held.isEmpty && verdict === 'deliver') {
      this.#deliver(message)
    } else if (verdict !== 'discard') {
      this.#held.add({ type: 'message', message })
    } else {
      this.#missed()
    }
  }

  /** Messages are held for a consumer of whom nothing is seen: for a while, from when the last one was seen. */
  #holdOn (): void {
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

  /** A reader that must get all or an error does not get a message. */
  #missed (): void {
    const { reader } = this.#audience
    if (reader?.keepsMessages === true) reader.end(this.#owner.closedError('the connection was closed before all was read'))
  }

  /** Gives out the message in progress to who waits for one that still comes, or to nobody: it may be more than is kept. */
  #beginSink (): void {
    const { reader, verdict } = this.#audience
    const { isBinary } = this.#assembler
    if (isBinary === null || this.#sink !== null || reader?.wantsPieces !== true || !this.#held.isEmpty || verdict === 'hold') return
    this.#sink = verdict === 'deliver' ? reader.begin(isBinary)! : NOBODY
    this.#goOnWithSink(this.#sink, null)
  }

  /** @param rest null: there is more to come */
  #goOnWithSink (sink: MessageSink, rest: Message | null): void {
    if (this.#hasFarewell) this.#owner.onTakenOn()
    sink.give(rest === null ? this.#assembler.take() : rest.data, rest !== null)
    if (rest === null) return
    this.#messages++
    this.#sink = null
    this.#limitMessages()
  }

  /** Nobody reads the rest of the message in progress, which goes on to come. */
  #cutSink (): void {
    this.#sink?.cut(null)
  }

  #fail (error: ProtocolError): void {
    this.#assembler.clear()
    this.#sink = null // which its reader's end cuts
    this.#frames?.destroy()
    this.#held.add({ type: 'failure', error })
    this.ignoreInput()
    this.#bidFarewell(error)
  }

  #deliverHeld (): void {
    for (let entry = this.#held.peek(); entry !== undefined; entry = this.#held.peek()) {
      if (entry.type === 'message') {
        const { verdict } = this.#audience
        if (verdict === 'hold') {
          this.#holdOn()
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
      this.#fail(error)
    } else if (answer !== true) {
      const audience = this.#audience as AnsweringAudience
      audience.isAnswering = true
      void answer.then(() => {
        audience.isAnswering = false
        this.#scheduleReady()
      })
    }
  }

  #give (message: Message): void {
    if (this.#hasFarewell) this.#owner.onTakenOn()
    const { reader } = this.#audience
    if (reader?.isWaiting === true) reader.deliver(message)
    if (reader?.wantsPieces === true || !this.#audience.hasListeners) return
    const settled = this.#owner.onMessage(message)
    if (settled === null) return
    this.#audience.unsettled++
    void settled.then(() => {
      this.#audience.unsettled--
      this.#scheduleReady()
    })
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
