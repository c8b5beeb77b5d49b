// transport -> FrameReader (FrameParser, Inflater) -> MessageAssembler -> whoever takes messages (or the HeldMessages, while nobody does)
// Frames are pulled for as long as somebody takes what comes out. Where that ends, in the middle of a chunk too, the
// transport is paused, and TCP makes the peer wait.
import type { Close } from '../../protocol/close-payload.ts'
import { parseClosePayload } from '../../protocol/close-payload.ts'
import { ProtocolError, ReaderBusyError } from '../../errors.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { Role } from '../../protocol/role.ts'
import { FrameReader } from '../../framing/frame-reader.ts'
import { Inflater } from '../../compression/inflater.ts'
import { HeldMessages, type HeldEntry } from './held-messages.ts'
import { IncomingMessageStreamReader, type IncomingMessageStream } from '../views/incoming-message-stream.ts'
import { MessageAssembler, type Message } from '../../framing/message-assembler.ts'
import { MessageReader, type MessageReaderOwner } from './message-reader.ts'
import { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT } from '../../protocol/opcode.ts'
import type { Compression } from '../../protocol/permessage-deflate.ts'
import type { Transport } from '../../transport/transport.ts'
import type { WebSocketConnection } from '../../../types/connection.ts'

export interface ReceiverSettings {
  readonly role: Role
  readonly maxPayload: number
  readonly highWaterMark: number
  /** How many messages may be with listeners whose promises are not settled; Infinity: nobody waits for those. */
  readonly messageConcurrency: number
  /**
   * Somebody who was given the connection tells by handlerSettled() when he is done. False: nobody does, so that messages are
   * always held for a consumer, and a Close waits for nobody who might call receive() again. Default: true.
   */
  readonly hasHandler?: boolean
  readonly perMessageDeflate: { readonly concurrency: number } | false
}

/** Who decides. on...() are called in the order in which the bytes came, except where they say otherwise. */
export interface ReceiverOwner {
  /** Calls `read`, during which everything below is called. */
  during (read: () => void): void
  /** Whether there is room for what reading on may cause to be sent. */
  mayRead (): boolean
  hasMessageListener (): boolean
  /** A message, or a piece of one, goes to who takes it. */
  onTaken (): void
  /** @returns resolves when the listeners are done with it; null when that is not waited for, or is so already */
  onMessage (message: Message): Promise<unknown> | null
  /** At once, before messages that wait. */
  onPing (payload: Buffer): void
  /** At once, before messages that wait. */
  onPong (payload: Buffer): void
  /** At once: Close or the end of the stream has come, and has its turn behind what waits. */
  onEnding (): void
  onClose (close: Close): void
  onEnd (): void
  /** At once: the peer broke the protocol, and nothing behind that counts. */
  onFailure (error: ProtocolError): void
  /** The turn of that failure, behind the messages before it. */
  onFailureTurn (error: ProtocolError): void
  /** An error that is not the peer's, such as memory that ran out. */
  onInternalError (error: unknown): void
}

// Fairness: a connection whose frames take longer than this in one turn of the event loop goes on in the next. The clock is
// looked at once in so many frames.
const TURN = 2 // ms
const FRAMES_BETWEEN_LOOKS = 64
export class Receiver {
  readonly #settings: ReceiverSettings
  readonly #owner: ReceiverOwner
  readonly #assembler = new MessageAssembler()
  readonly #held = new HeldMessages()
  #messages = 0
  #bytes = 0
  #transport: Transport | null = null
  #source: FrameReader | null = null

  #isReading = false
  #isReadScheduled = false
  #isPaused = false
  // Who pulls messages, if somebody does; 'message' listeners only observe then.
  #reader: MessageReader | IncomingMessageStreamReader | null = null
  // The message in progress goes out while it comes.
  #stream: IncomingMessageStream | null = null
  // Whether a message that nobody listens for waits for a listener (the handler may still attach it) or is discarded.
  #expectsConsumer = true
  #isHandlerDone: boolean
  // A receive() has been answered, and the next may follow: until another consumer comes or the handler is done.
  #expectsReceive = false
  // Whether what nobody takes now is kept for a reader that is busy.
  #waitsForReader = true
  // A reader for which the peer's Close waits until it is released.
  #deferring: unknown = null
  // Messages that are with listeners whose promises are not settled.
  #unsettled = 0
  // The transport is at its end, which it tells though it is paused; frames before that may wait in the parser.
  #isEndDue = false
  // Messages count no more, but Ping, Close and the end of the stream do.
  #discards = false
  // Nothing that comes in counts any more.
  #isDeaf = false
  // What the frames had cost at the last look at the clock; in this turn of the event loop: when that was first looked at, and whether the
  // turn is used up.
  #effort = 0
  #turnStart: number | null = null
  #isTurnOver = false

  constructor (settings: ReceiverSettings, owner: ReceiverOwner) {
    this.#settings = settings
    this.#owner = owner
    this.#isHandlerDone = settings.hasHandler === false
  }

  get isPaused (): boolean { return this.#isPaused }
  /** Something waits for somebody who takes it. */
  get isHolding (): boolean { return !this.#held.isEmpty }
  /** All that came has had its turn. */
  get isDone (): boolean {
    return this.#held.isEmpty && !this.#isTurnOver && (this.#isDeaf || this.#source?.isBusy !== true)
  }

  get reader (): MessageReader | IncomingMessageStreamReader | null { return this.#reader }
  /** Bytes that came in, and messages made of them. */
  get counts (): { messages: number, bytes: number } { return { messages: this.#messages, bytes: this.#bytes } }

  /** @param compression how the peer compresses; null: not at all */
  open (transport: Transport, compression: Compression | null): void {
    const { role, perMessageDeflate } = this.#settings
    this.#transport = transport
    const mayInflate = compression !== null && perMessageDeflate !== false
    const inflater = mayInflate ? new Inflater(compression, perMessageDeflate.concurrency, () => { this.read() }) : null
    this.#source = new FrameReader(role, transport.ownsChunks, inflater)
    this.#limitMessages()
  }

  feed (chunk: Buffer): void {
    if (this.#isDeaf) return
    this.#bytes += chunk.length
    this.#source!.feed(chunk)
    this.read()
  }

  /** The peer will send nothing more. Like its Close, that has its turn behind the messages before it. */
  end (): void {
    if (this.#isDeaf) return
    this.#isEndDue = true
    this.#owner.onEnding()
    this.read()
  }

  // Who takes messages

  pause (): void {
    this.#isPaused = true
  }

  resume (): void {
    this.#isPaused = false
    this.#expectsConsumer = false
    this.#expectsReceive = false
    this.scheduleRead()
  }

  /** The handler is done: a message that nobody takes is from now on discarded, unless somebody pulls. */
  handlerSettled (): void {
    this.#isHandlerDone = true
    if (this.#reader === null) this.#expectsConsumer = false
    this.#expectsReceive = false
    this.scheduleRead()
  }

  /** @throws ReaderBusyError while there is another */
  claimReader (): MessageReader {
    return this.#claim(owner => new MessageReader(owner))
  }

  /**
   * @param maxPayload bytes of one message, instead of the usual limit
   * @throws ReaderBusyError while there is another
   */
  claimStreamReader (connection: WebSocketConnection, maxPayload: number): IncomingMessageStreamReader {
    return this.#claim(owner => new IncomingMessageStreamReader(owner, connection, maxPayload, this.#settings.highWaterMark))
  }

  #claim<Reader extends MessageReader | IncomingMessageStreamReader> (create: (owner: MessageReaderOwner) => Reader): Reader {
    if (this.#reader !== null) throw new ReaderBusyError('the messages of this connection already have a reader')
    const reader = create({
      onWait: () => { this.#onReaderWait() },
      onRelease: expectsNext => { this.#onRelease(reader, expectsNext) }
    })
    this.#reader = reader
    this.#expectsConsumer = this.#waitsForReader // for the next reader too, once this one is released
    this.#expectsReceive = false
    this.#limitMessages()
    return reader
  }

  // A message that waits is given at once: a consumer that answers each takes them all in one turn, and the answers leave in
  // one write.
  #onReaderWait (): void {
    const entry = this.#held.peek()
    if (entry?.type === 'message' && this.#isTaken()) {
      this.#held.shift()
      this.#deliver(entry.message)
    }
    this.scheduleRead()
  }

  #onRelease (reader: MessageReader | IncomingMessageStreamReader, expectsNext: boolean): void {
    if (this.#reader !== reader) return
    this.#reader = null
    this.#expectsReceive = expectsNext && !this.#isHandlerDone
    this.#limitMessages()
    this.scheduleRead()
  }

  /** Somebody listens to 'message' now. */
  onListener (): void {
    this.#expectsReceive = false
    this.scheduleRead()
  }

  /** From now on nothing is kept for somebody who does not take it at once. */
  hurry (): void {
    this.#isPaused = false
    this.#expectsConsumer = false
    this.#waitsForReader = this.#reader?.keepsMessages === true && this.#reader.hasAsked
    this.scheduleRead()
  }

  /** From now on messages are discarded, those that wait too. */
  discardMessages (): void {
    this.#discards = true
    this.#stream?.cut(null)
    this.scheduleRead()
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
    this.#source?.destroy()
  }

  // Reading

  /** In a later turn, and once for many calls. */
  scheduleRead (): void {
    if (this.#isReadScheduled || this.#transport === null) return
    this.#isReadScheduled = true
    process.nextTick(Receiver.#readScheduled, this)
  }

  static readonly #readScheduled = (receiver: Receiver): void => {
    receiver.#isReadScheduled = false
    receiver.read()
  }

  /** Reads on if reading has stopped. */
  readOn (): void {
    if (this.#transport!.stream.isPaused()) this.read()
  }

  /** Delivers what waits and then what the parser finds, for as long as somebody takes it. */
  read (): void {
    // What a listener calls may lead back here; the loop that runs already sees what changed.
    if (this.#isReading) return
    this.#isReading = true
    this.#owner.during(() => {
      try {
        this.#pull()
      } catch (error) {
        if (this.#isUndecided()) this.#transport!.stream.pause()
        else if (error instanceof ProtocolError) this.#fail(error)
        else this.#owner.onInternalError(error)
        this.#deliverHeld()
      } finally {
        this.#isReading = false
        this.#source!.releaseParser()
      }
    })
  }

  #pull (): void {
    const { stream } = this.#transport!
    const source = this.#source!
    this.#deliverHeld()
    this.#beginStream()
    while (this.#wantsInput()) {
      const frame = source.next()
      if (frame === null) {
        if (source.isBusy) break
        if (this.#isEndDue) this.#takeEnd()
        else stream.resume()
        return
      }
      this.#take(frame)
      this.#deliverHeld()
      if (source.effort - this.#effort >= FRAMES_BETWEEN_LOOKS) this.#lookAtClock(source.effort)
    }
    if (!this.#isDeaf) stream.pause()
  }

  #wantsInput (): boolean {
    if (this.#isDeaf || this.#isTurnOver || this.#isFull() || this.#isUndecided()) return false
    return this.#isEndDue || this.#owner.mayRead() // less than a chunk is left before the end
  }

  #isFull (): boolean {
    if (this.#stream !== null) return this.#isPaused || !this.#stream.wantsMore
    const bytes = this.#held.bytes + (this.#reader instanceof IncomingMessageStreamReader ? this.#assembler.length : 0)
    return bytes >= this.#settings.highWaterMark
  }

  /** What has begun is too large to be held, and who takes it may yet want it as a stream. */
  #isUndecided (): boolean {
    return this.#source!.isOversized && this.#reader === null && !this.#owner.hasMessageListener() && this.#isHeld()
  }

  /** Sets how large a message may be for who takes it; one that goes out already keeps its limit. */
  #limitMessages (): void {
    if (this.#stream !== null || this.#source === null) return
    const reader = this.#reader
    const isStreaming = reader instanceof IncomingMessageStreamReader
    this.#source.limit(isStreaming ? reader.maxPayload : this.#settings.maxPayload, isStreaming)
  }

  /** One socket may have 2 MiB to give in a turn, in frames of 6 bytes: others want to be served in between. */
  #lookAtClock (effort: number): void {
    this.#effort = effort
    const now = performance.now()
    if (this.#turnStart === null) {
      this.#turnStart = now
      setImmediate(Receiver.#onNextTurn, this)
    } else if (now - this.#turnStart >= TURN) {
      this.#isTurnOver = true
    }
  }

  static readonly #onNextTurn = (receiver: Receiver): void => {
    receiver.#turnStart = null
    if (!receiver.#isTurnOver) return
    receiver.#isTurnOver = false
    receiver.read()
  }

  #take (frame: Frame): void {
    switch (frame.opcode) {
      case TEXT:
      case BINARY:
      case CONTINUATION: {
        const message = this.#assembler.add(frame)
        if (this.#stream !== null) this.#goOnWithStream(this.#stream, message)
        else if (message !== null) this.#takeMessage(message)
        else this.#beginStream()
        break
      }
      case PING:
        this.#owner.onPing(frame.payload)
        break
      case PONG:
        this.#owner.onPong(frame.payload)
        break
      case CLOSE:
        this.#held.add({ type: 'close', close: parseClosePayload(frame.payload) })
        this.#owner.onEnding()
    }
  }

  #takeEnd (): void {
    this.#isEndDue = false
    this.#held.add({ type: 'end' })
    this.#deliverHeld()
  }

  #takeMessage (message: Message): void {
    this.#messages++
    if (this.#held.isEmpty && this.#isTaken()) this.#deliver(message)
    else if (this.#isHeld()) this.#held.add({ type: 'message', message })
  }

  /** Gives out the message in progress to who waits for one that still comes. */
  #beginStream (): void {
    const reader = this.#reader
    const { isBinary } = this.#assembler
    if (!(reader instanceof IncomingMessageStreamReader) || !this.#held.isEmpty || !this.#isTaken()) return
    if (isBinary === null || this.#stream !== null) return
    this.#stream = reader.open(isBinary)
    this.#goOnWithStream(this.#stream, null)
  }

  /** @param rest null: there is more to come */
  #goOnWithStream (stream: IncomingMessageStream, rest: Message | null): void {
    this.#owner.onTaken()
    stream.give(rest === null ? this.#assembler.take() : rest.data, rest !== null)
    if (rest === null) return
    this.#messages++
    this.#stream = null
    this.#limitMessages()
  }

  #fail (error: ProtocolError): void {
    this.#isDeaf = true
    this.#source?.destroy()
    this.#held.add({ type: 'failure', error })
    this.#owner.onFailure(error)
  }

  #deliverHeld (): void {
    for (let entry = this.#held.peek(); entry !== undefined; entry = this.#held.peek()) {
      if (entry.type === 'message') {
        const isTaken = this.#isTaken()
        if (!isTaken && this.#isHeld()) return
        this.#held.shift()
        if (isTaken) this.#deliver(entry.message)
      } else {
        if ((this.#isReaderBusy() && !this.#isOnlyWritten()) || this.#isAnswerDue() || this.#isDeferred(entry)) return
        this.#held.shift()
        if (entry.type === 'close') this.#owner.onClose(entry.close)
        else if (entry.type === 'end') this.#owner.onEnd()
        else this.#owner.onFailureTurn(entry.error)
      }
    }
  }

  #deliver (message: Message): void {
    this.#owner.onTaken()
    const reader = this.#reader
    if (reader instanceof IncomingMessageStreamReader) {
      reader.open(message.isBinary).give(message.data, true)
      return
    }
    if (reader?.isWaiting) reader.give(message)
    const settled = this.#owner.onMessage(message)
    if (settled === null) return
    this.#unsettled++
    void settled.then(() => {
      this.#unsettled--
      this.scheduleRead()
    })
  }

  /** Whether somebody takes a message now. */
  #isTaken (): boolean {
    if (this.#isPaused || this.#discards) return false
    if (this.#reader?.isWaiting) return true
    if (this.#reader instanceof IncomingMessageStreamReader) return false
    return !this.#isReaderBusy() && this.#owner.hasMessageListener() && !this.#areListenersBusy()
  }

  /** Whether a message that nobody takes now may be taken later. */
  #isHeld (): boolean {
    if (this.#discards) return false
    return this.#isPaused || this.#isReaderBusy() || this.#expectsConsumer || this.#owner.hasMessageListener()
  }

  /** The reader has not asked for more yet, and is waited for. */
  #isReaderBusy (): boolean {
    const reader = this.#reader
    const isBusy = reader === null ? this.#expectsReceive : reader.isBusy
    return isBusy && this.#waitsForReader && !this.#discards
  }

  /** A stream is there of which nobody has ever read, and no message waits for it. */
  #isOnlyWritten (): boolean {
    return this.#reader?.keepsMessages === true && !this.#reader.hasAsked
  }

  /** The reader's answers to what was before the peer's Close are still on their way. */
  #isDeferred ({ type }: HeldEntry): boolean {
    const reader = this.#reader
    if (type !== 'close' || reader === null || !this.#waitsForReader || this.#discards) return false
    if (this.#deferring === reader) return true
    if (!reader.defersClose()) return false
    this.#deferring = reader
    reader.end(null)
    return true
  }

  // Beside a reader listeners only observe: nobody waits for them.

  #areListenersBusy (): boolean {
    return this.#reader === null && this.#unsettled >= this.#settings.messageConcurrency
  }

  /** A listener that is waited for may still answer its message. */
  #isAnswerDue (): boolean {
    return this.#reader === null && this.#unsettled > 0 && this.#waitsForReader && !this.#discards
  }
}
