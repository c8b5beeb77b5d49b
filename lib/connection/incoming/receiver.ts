// transport -> FrameReader (FrameParser, Inflater) -> MessageAssembler -> Delivery
// Frames are pulled while there is a consumer for what they yield. Otherwise, even in the middle of a chunk, the transport is
// paused, and TCP makes the peer wait.
import { Inflater } from '../../compression/inflater.ts'
import { ProtocolError } from '../../errors.ts'
import { FrameReader } from '../../framing/frame-reader.ts'
import { MessageAssembler, type Message } from '../../framing/message-assembler.ts'
import { countOutside, LARGE } from '../../framing/outside-memory.ts'
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
  /** How much the peer may send. Absent or false: no limit. */
  readonly rateLimit?: RateLimit | false
}

/** Its on...() methods are called inside read() in order of arrival, unless they say otherwise. */
export interface ReceiverOwner extends DeliveryOwner {
  /** Whether there is room for the answers that reading on may cause. */
  mayRead (): boolean
  /** There may be more to read(). Called in a later tick than its cause. */
  onReady (): void
  /** Called at once, ahead of held messages. */
  onPing (payload: Buffer): void
  /** Called at once, ahead of held messages. */
  onPong (payload: Buffer): void
  /** Called at once: the peer's final event has come (null: the end of its stream). It takes its turn behind held messages. */
  onFarewell (word: Close | ProtocolError | null): void
}

// Fairness: the clock is read once per this many frames.
const FRAMES_BETWEEN_LOOKS = 64

// a sink for messages that are discarded
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
  // takes the message in progress as it arrives
  #sink: MessageSink | null = null
  // the transport has ended, which it reports even while paused; earlier frames may wait in the parser
  #isEndDue = false
  // do not wait for a sink that is not being read
  #isHurried = false
  // input is ignored
  #isDeaf = false
  // effort of the frames when the clock was last read, and whether this turn of the event loop is used up
  #effort = 0
  #turnClock: TurnClock | null = null
  #isTurnOver = false

  constructor (settings: ReceiverSettings, owner: ReceiverOwner) {
    this.#settings = settings
    this.#owner = owner
    this.#delivery = new Delivery(settings, owner, this)
  }

  get isReading (): boolean { return this.#isReading }
  get delivery (): Delivery { return this.#delivery }
  /** Something waits for a consumer. */
  get isHolding (): boolean { return !this.#delivery.isEmpty || this.#sink?.wantsMore === false }
  /** Everything received has been delivered or discarded. */
  get isDone (): boolean {
    if (!this.#delivery.isEmpty || this.#isTurnOver) return false
    return this.#isDeaf || !(this.#isFull() || this.#frames?.isBusy === true)
  }

  /** The peer exceeded its rate limit, and its frames are being delayed. */
  get isRateLimited (): boolean { return this.#frames instanceof RateLimitedFrameReader && this.#frames.isWaiting }
  /** Messages and bytes received, and bytes held, those of the message in progress included. */
  get counts (): { messages: number, bytes: number, held: number } {
    return { messages: this.#messages, bytes: this.#bytes, held: this.#delivery.heldBytes + this.#assembler.length }
  }

  /** begin() must follow in the next tick, and be read. @param compression how the peer compresses; null: it does not */
  open (transport: Transport, compression: Compression | null): void {
    const { role, perMessageDeflate, rateLimit = false } = this.#settings
    this.#transport = transport
    this.#isReadyScheduled = true
    const mayInflate = compression !== null && perMessageDeflate !== false
    const inflater = mayInflate ? new Inflater(compression, perMessageDeflate.concurrency, () => { this.#owner.onReady() }) : null
    this.#frames = rateLimit === false
      ? new FrameReader(role, transport.ownsChunks, inflater)
      : new RateLimitedFrameReader(role, transport.ownsChunks, inflater, rateLimit, () => { this.#owner.onReady() })
    this.onReader()
  }

  /** Whoever wants to read from now on is told by onReady(). */
  begin (): void {
    this.#isReadyScheduled = false
  }

  /** Adds received bytes, which read() turns into messages. */
  feed (chunk: Buffer): void {
    if (this.#isDeaf) return
    this.#bytes += chunk.length
    countOutside(chunk.length)
    this.#frames!.feed(chunk, chunk.length >= LARGE && this.#transport!.isReadByOthers === false)
  }

  /** The peer's stream has ended. Like its Close, this has its turn behind the messages before it. */
  end (): void {
    if (this.#isDeaf) return
    this.#isEndDue = true
    this.#bidFarewell(null)
  }

  // Ending

  /** Holds nothing from now on, except for a stream that is being read. */
  hurry (): void {
    this.#isHurried = true
    if (this.#frames instanceof RateLimitedFrameReader) this.#frames.lift()
    this.#delivery.hurry()
  }

  /** Discards all messages from now on, held ones included. */
  discardMessages (): void {
    this.#delivery.discard()
    this.#cutSink()
  }

  /**
   * Ignores input from now on; held messages still have their turn. Input is read all the same: closing a socket with unread
   * bytes makes TCP drop what is on its way to the peer, even a Close frame.
   */
  ignoreInput (): void {
    this.#isDeaf = true
    this.#transport?.stream.resume()
  }

  /** Drops everything held and ignores further input. */
  clear (): void {
    this.#isDeaf = true
    this.#delivery.clear()
    this.#frames?.destroy()
  }

  // Reading

  /** Calls onReady() in a later tick, once for many calls. */
  onWanted (): void {
    if (this.#isReadyScheduled || this.#transport === null) return
    this.#isReadyScheduled = true
    process.nextTick(Receiver.#tellReady, this)
  }

  static readonly #tellReady = (receiver: Receiver): void => {
    receiver.#isReadyScheduled = false
    receiver.#owner.onReady()
  }

  /** Delivers what is held, then what the parser yields, while there is a consumer. */
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
    while (this.wantsInput) {
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

  /** What arrives now is read on. */
  get wantsInput (): boolean {
    if (this.#isDeaf || this.#isTurnOver || this.#isFull() || this.#isUndecided()) return false
    return this.#isEndDue || this.#owner.mayRead() // after the end, less than a chunk is left
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

  /** The message in progress is too large to be held, but a consumer may still come that wants it as a stream. */
  #isUndecided (): boolean {
    return this.#frames!.isOversized && this.#delivery.isUndecided() // isOversized first: it is rare
  }

  /** Sets the maximum message size for the current consumer; a message already going to a sink keeps its limit. */
  onReader (): void {
    if (this.#sink !== null || this.#frames === null) return
    const { reader } = this.#delivery
    this.#frames.limit(reader?.maxPayload ?? this.#settings.maxPayload, reader?.wantsPieces === true)
  }

  /** One socket may supply 2 MiB per turn in frames of 6 bytes: others have to be served in between. */
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

  /** Passes on the message in progress to a reader that wants pieces, or discards it: it may be too large to hold. */
  #beginSink (): void {
    const { isBinary } = this.#assembler
    if (isBinary === null) return // the common case: no message in progress
    const { reader, verdict } = this.#delivery
    if (this.#sink !== null || reader?.wantsPieces !== true || !this.#delivery.isEmpty || verdict === 'hold') return
    this.#sink = verdict === 'deliver' ? reader.begin(isBinary)! : NOBODY
    this.#goOnWithSink(this.#sink, null)
  }

  /** @param rest the end of the message; null: more follows */
  #goOnWithSink (sink: MessageSink, rest: Message | null): void {
    if (this.#delivery.hasFarewell) this.#owner.onTakenOn()
    sink.give(rest === null ? this.#assembler.take() : rest.data, rest !== null)
    if (rest === null) return
    this.#messages++
    this.#sink = null
    this.onReader()
  }

  /** The rest of the message in progress still arrives, but is not read. */
  #cutSink (): void {
    this.#sink?.cut(null)
  }

  fail (error: ProtocolError): void {
    this.#assembler.clear()
    this.#sink = null // the end of its reader cuts it
    this.#frames?.destroy()
    this.#delivery.takeWord({ type: 'failure', error })
    this.ignoreInput()
    this.#bidFarewell(error)
  }
}
