// transport -> FrameReader (FrameParser, Inflater) -> MessageAssembler -> Delivery
// Frames are pulled for as long as somebody takes what comes out. Where that ends, in the middle of a chunk too, the
// transport is paused, and TCP makes the peer wait.
import { Inflater } from '../../compression/inflater.ts'
import { ProtocolError } from '../../errors.ts'
import { FrameReader } from '../../framing/frame-reader.ts'
import { MessageAssembler, type Message } from '../../framing/message-assembler.ts'
import type { Close, CloseFrame } from '../../protocol/close.ts'
import type { Frame } from '../../protocol/frame.ts'
import { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT } from '../../protocol/opcode.ts'
import type { Compression } from '../../protocol/permessage-deflate.ts'
import type { Role } from '../../protocol/role.ts'
import type { Transport } from '../../transport/transport.ts'
import { TurnClock } from '../turn-clock.ts'
import { Delivery, type DeliveryOwner, type DeliverySettings, type DeliverySource } from './delivery.ts'
import type { MessageSink } from './message-reader.ts'
import { RateLimitedFrameReader, type RateLimit } from './rate-limited-frame-reader.ts'

export interface ReceiverSettings extends DeliverySettings {
  readonly role: Role
  readonly maxPayload: number
  readonly highWaterMark: number
  readonly perMessageDeflate: { readonly concurrency: number } | false
  /** How much the peer may send. Absent or false: as much as is read. */
  readonly rateLimit?: RateLimit | false
}

/** Who decides. on...() are called inside of read(), in the order in which the bytes came, except where they say otherwise. */
export interface ReceiverOwner extends DeliveryOwner {
  /** Whether there is room for what reading on may cause to be sent. */
  mayRead (): boolean
  /** There may be more to read(): in a later turn than what brought that about. */
  onReady (): void
  /** At once, before messages that wait. */
  onPing (payload: Buffer): void
  /** At once, before messages that wait. */
  onPong (payload: Buffer): void
  /** At once: the peer's last word has come (a Close, what breaks the protocol, or null for the end of the stream). Its turn is behind what waits. */
  onFarewell (word: Close | ProtocolError | null): void
}

// Fairness: the clock is looked at once in so many frames.
const FRAMES_BETWEEN_LOOKS = 64

// takes what is discarded
const nothing = (): void => {}
const NOBODY: MessageSink = { wantsMore: true, isRead: false, give: nothing, cut: nothing }

export class Receiver implements DeliverySource {
  readonly #settings: ReceiverSettings
  readonly #owner: ReceiverOwner
  readonly #assembler = new MessageAssembler()
  readonly #delivery: Delivery
  #messages = 0
  #bytes = 0
  #transport: Transport | null = null
  #frames: FrameReader | null = null

  #isReading = false
  #isReadyScheduled = false
  // The message in progress goes out while it comes.
  #sink: MessageSink | null = null
  // The transport is at its end, which it tells though it is paused; frames before that may wait in the parser.
  #isEndDue = false
  // Nobody who does not read is waited for.
  #isHurried = false
  // Nothing that comes in counts any more.
  #isDeaf = false
  // What the frames had cost at the last look at the clock, and whether this turn of the event loop is used up.
  #effort = 0
  #turnClock: TurnClock | null = null
  #isTurnOver = false

  constructor (settings: ReceiverSettings, owner: ReceiverOwner) {
    this.#settings = settings
    this.#owner = owner
    this.#delivery = new Delivery(settings, owner, this)
  }

  get isReading (): boolean { return this.#isReading }
  /** Who takes messages, and what waits for that. */
  get delivery (): Delivery { return this.#delivery }
  /** Something waits for somebody who takes it. */
  get isHolding (): boolean { return !this.#delivery.isEmpty || this.#sink?.wantsMore === false }
  /** All that came has had its turn. */
  get isDone (): boolean {
    if (!this.#delivery.isEmpty || this.#isTurnOver) return false
    return this.#isDeaf || !(this.#isFull() || this.#frames?.isBusy === true)
  }

  /** The peer has sent more than it may, and waits for that. */
  get isRateLimited (): boolean { return this.#frames instanceof RateLimitedFrameReader && this.#frames.isWaiting }
  /** Bytes that came in, messages made of them, and bytes of messages that wait, the one in progress among them. */
  get counts (): { messages: number, bytes: number, held: number } {
    return { messages: this.#messages, bytes: this.#bytes, held: this.#delivery.heldBytes + this.#assembler.length }
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
    this.onReader()
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

  // The end

  /** From now on nothing is kept for somebody who does not take it at once, or reads it as a part of a whole. */
  hurry (): void {
    this.#isHurried = true
    if (this.#frames instanceof RateLimitedFrameReader) this.#frames.lift()
    this.#delivery.hurry()
  }

  /** From now on messages are discarded, those that wait too. */
  discardMessages (): void {
    this.#delivery.discard()
    this.#cutSink()
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
    this.#delivery.clear()
    this.#frames?.destroy()
  }

  // Reading

  /** Has it asked for in a later turn, and once for many calls. */
  onWanted (): void {
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
      else if (error instanceof ProtocolError) this.fail(error)
      else this.#owner.onInternalError(error)
      this.#delivery.deliverHeld()
    } finally {
      this.#isReading = false
      this.#frames!.releaseParser()
    }
  }

  #pull (): void {
    const { stream } = this.#transport!
    const frames = this.#frames!
    this.#delivery.deliverHeld()
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
      if (!this.#delivery.isEmpty) this.#delivery.deliverHeld()
      if (frames.effort - this.#effort >= FRAMES_BETWEEN_LOOKS) this.#lookAtClock(frames.effort)
    }
    if (!this.#isDeaf) stream.pause()
  }

  #wantsInput (): boolean {
    if (this.#isDeaf || this.#isTurnOver || this.#isFull() || this.#isUndecided()) return false
    return this.#isEndDue || this.#owner.mayRead() // less than a chunk is left before the end
  }

  #isFull (): boolean {
    const { isPaused, reader } = this.#delivery
    if (this.#sink !== null) {
      if (this.#isHurried && !this.#sink.isRead && !this.#sink.wantsMore) this.#cutSink()
      return isPaused || !this.#sink.wantsMore
    }
    const bytes = this.#delivery.heldBytes + (reader?.wantsPieces === true ? this.#assembler.length : 0)
    return bytes >= this.#settings.highWaterMark
  }

  /** What has begun is too large to be held, and who takes it may yet want it as a stream. */
  #isUndecided (): boolean {
    return this.#frames!.isOversized && this.#delivery.isUndecided() // few frames are
  }

  /** Sets how large a message may be for who takes it; one that goes out already keeps its limit. */
  onReader (): void {
    if (this.#sink !== null || this.#frames === null) return
    const { reader } = this.#delivery
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
        this.#delivery.takeWord({ type: 'close', close })
        this.#bidFarewell(close)
      }
    }
  }

  #bidFarewell (word: Close | ProtocolError | null): void {
    this.#delivery.hasFarewell = true
    this.#owner.onFarewell(word)
  }

  #takeEnd (): void {
    this.#isEndDue = false
    this.#delivery.takeWord({ type: 'end' })
    this.#delivery.deliverHeld()
  }

  #takeMessage (message: Message): void {
    this.#messages++
    this.#delivery.take(message)
  }

  /** Gives out the message in progress to who waits for one that still comes, or to nobody: it may be more than is kept. */
  #beginSink (): void {
    const { isBinary } = this.#assembler
    if (isBinary === null) return // as for all but a few frames
    const { reader, verdict } = this.#delivery
    if (this.#sink !== null || reader?.wantsPieces !== true || !this.#delivery.isEmpty || verdict === 'hold') return
    this.#sink = verdict === 'deliver' ? reader.begin(isBinary)! : NOBODY
    this.#goOnWithSink(this.#sink, null)
  }

  /** @param rest null: there is more to come */
  #goOnWithSink (sink: MessageSink, rest: Message | null): void {
    if (this.#delivery.hasFarewell) this.#owner.onTakenOn()
    sink.give(rest === null ? this.#assembler.take() : rest.data, rest !== null)
    if (rest === null) return
    this.#messages++
    this.#sink = null
    this.onReader()
  }

  /** Nobody reads the rest of the message in progress, which goes on to come. */
  #cutSink (): void {
    this.#sink?.cut(null)
  }

  fail (error: ProtocolError): void {
    this.#assembler.clear()
    this.#sink = null // which its reader's end cuts
    this.#frames?.destroy()
    this.#delivery.takeWord({ type: 'failure', error })
    this.ignoreInput()
    this.#bidFarewell(error)
  }
}
