// messages -> [Deflater] -> SendQueue (what is not ready) -> FrameSerializer -> transport
// What is added in one tick, or while one chunk is read, leaves in one write. The transport gets the next 64 KiB only when
// it has room, so what a slow peer does not take waits here and is counted here.
import type { Duplex } from 'node:stream'
import type { Deflater } from '../../compression/deflater.ts'
import type { Role } from '../../protocol/role.ts'
import { Fifo } from '../../framing/fifo.ts'
import { COPY_UP_TO, FrameSerializer } from '../../framing/frame-serializer.ts'
import { BINARY, TEXT, type Opcode } from '../../protocol/opcode.ts'
import { MessageSlot } from './message-slot.ts'
import { Pool } from '../../framing/pool.ts'
import type { PreparedMessage } from '../prepared-message.ts'
import { SendQueue, type QueueEntry } from './send-queue.ts'
import type { StreamWriter } from '../../transport/session-room.ts'
import type { Transport } from '../../transport/transport.ts'
import type { SendCallback } from '../../../types/connection.ts'
import { TurnClock } from '../turn-clock.ts'

export interface SenderOwner {
  /** The transport took more of the bytes; `callbacks` are those of the frames that are out with them, in order. */
  onWritten (callbacks: SendCallback[]): void
  /** The transport wants to hear of the peer. @returns whether a Ping is sent for it. Absent: never */
  onAsk? (): boolean
  /** What should have been sent cannot be: a Blob that cannot be read, memory that runs out. `callback` is that of its frame. */
  onUnsendable (error: Error, callback: SendCallback | undefined): void
}

interface WriteCallback {
  /** The value of Sender.#written at which it is due. */
  readonly end: number
  readonly callback: SendCallback
}

// Fairness: the clock is looked at once in so many pieces of work, such as a message; or after a write of so many bytes, which may have been
// thousands.
const WORK_BETWEEN_LOOKS = 8
const LARGE_WRITE = 8 * 1024

const SERIALIZERS: Readonly<Record<Role, Pool<FrameSerializer>>> = {
  client: new Pool(() => new FrameSerializer({ role: 'client' })),
  server: new Pool(() => new FrameSerializer({ role: 'server' }))
}

export class Sender implements StreamWriter {
  readonly #transport: Transport
  readonly #role: Role
  // For as long as something is in it: a stream of Node takes 0.6 KiB, and most connections have nothing to send most of the time.
  #serializer: FrameSerializer | null = null
  readonly #deflater: Deflater | null
  readonly #owner: SenderOwner
  // bytes given to the serializer since the start, and those of them that the transport has taken: their difference waits
  #added = 0
  #written = 0
  // bytes that will never be
  #dropped = 0
  // lengths of the writes that the transport has not taken yet, and their sum
  #writing: Fifo<number> | null = null
  #inFlight = 0
  // in the order of `end`; most send() without
  #callbacks: Fifo<WriteCallback> | null = null
  #queue: SendQueue | null = null // until something has to wait for its turn
  #waitsForTurn = false
  #isWriting = false
  #held = false
  #isFlushScheduled = false
  #ended = false
  #isPeerDone = true
  #destroyed = false
  // pieces of work since the start, and what tells when they have taken too long
  #work = 0
  #turnClock: TurnClock | null = null
  // what was written is told of in the next turn
  #isTellingLater = false

  constructor (transport: Transport, role: Role, deflater: Deflater | null, owner: SenderOwner) {
    this.#transport = transport
    this.#role = role
    this.#deflater = deflater
    this.#owner = owner
  }

  /** Bytes that the transport has taken since the start. */
  get bytesWritten (): number {
    return this.#written - this.#dropped
  }

  /** Bytes added and not yet taken by the transport, frame headers included. */
  get bufferedAmount (): number {
    return this.#added - this.#written + (this.#queue?.size ?? 0)
  }

  /** Of those, the bytes that wait for the peer, or for work on them, and not for the end of a message that is sent in pieces. */
  get amountInWork (): number {
    return this.#added - this.#written + (this.#queue?.sizeInWork ?? 0)
  }

  /** There are bytes that the transport could take. */
  get hasUnsentBytes (): boolean {
    return this.#added > this.#written
  }

  /** Bytes handed to the transport since the start, whether it has taken them or not. */
  get bytesHandedOver (): number {
    return this.#written + this.#inFlight
  }

  /** Bytes added since the start. */
  get bytesAdded (): number {
    return this.#added
  }

  /** Asks the peer for a sign of life. @returns whether that may be sent */
  ask (): boolean {
    return this.#owner.onAsk?.() === true
  }

  /** add() makes a copy of a payload of so many bytes, so that whoever sends may use the memory again. */
  copies (length: number): boolean {
    return length <= COPY_UP_TO
  }

  /** To be asked after each piece of work, such as a message: whoever sends has used up his turn of the event loop. */
  get isTurnOver (): boolean {
    return ++this.#work % WORK_BETWEEN_LOOKS === 0 && this.#lookAtClock()
  }

  #lookAtClock (): boolean {
    this.#turnClock ??= new TurnClock()
    return this.#turnClock.isOver
  }

  /** Adds a frame of a message, or Close: they keep their order. @param mayCompress whether it is compressed if it is a whole message */
  add (opcode: Opcode, fin: boolean, payload: Buffer | string | Blob, callback?: SendCallback, mayCompress = true): void {
    if (payload instanceof Blob) {
      this.#enqueue({ size: payload.size, callback, run: () => this.#readBlob(opcode, fin, payload, callback, mayCompress) })
      return
    }
    if (this.#isQueueEmpty && (this.#deflater === null || !mayCompress)) {
      this.#serialize(opcode, fin, payload, callback)
      return
    }
    const size = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
    const deflater = this.#deflaterFor(opcode, fin, size, mayCompress)
    if (this.#isQueueEmpty && (deflater === null || deflater.isQuick(size))) {
      void this.#send(opcode, fin, payload, deflater, callback)
      return
    }
    // as when it is serialized at once: whoever sends so little may use the memory again
    const kept = typeof payload !== 'string' && this.copies(size) ? Buffer.from(payload) : payload
    this.#enqueue({ size, callback, run: () => this.#send(opcode, fin, kept, deflater, callback) })
  }

  /** Adds a message that others get too. */
  addPrepared (message: PreparedMessage, callback?: SendCallback): void {
    const { opcode, payload, length, mayCompress } = message
    const deflater = this.#deflaterFor(opcode, true, length, mayCompress)
    if (this.#role === 'client' || deflater?.keepsContext === true) { // no two get the same bytes
      this.add(opcode, true, payload, callback, mayCompress)
      return
    }
    const frame = deflater === null ? message.frame : message.deflatedBy(deflater)
    if (this.#isQueueEmpty && !(frame instanceof Promise)) {
      this.#serializeFrame(frame ?? message.frame, callback)
    } else {
      this.#enqueue({ size: length, callback, run: async () => { this.#serializeFrame(await frame ?? message.frame, callback) } })
    }
  }

  /** Adds a message whose fragments come one by one; until it has ended what is added behind it waits. */
  addMessage (opcode: Opcode): MessageSlot {
    const slot = new MessageSlot(opcode, (...frame) => { this.#serialize(...frame) })
    this.#enqueue(slot)
    return slot
  }

  /**
   * Nobody may go on with a message that has not ended: it is cut off, and what waits behind it cannot be sent.
   * @returns the callbacks of that
   */
  cut (): SendCallback[] {
    return this.#queue?.cut() ?? []
  }

  /** Adds a Ping or Pong, which may stand before messages that are not ready. */
  addControl (opcode: Opcode, payload: Buffer, callback?: SendCallback): void {
    this.#serialize(opcode, true, payload, callback)
  }

  /** Until release(), what is added waits for one write at the end. */
  hold (): void {
    this.#held = true
  }

  release (): void {
    this.#held = false
    this.flush()
  }

  /** Ends the transport once everything is out. @param isPeerDone nothing more has to come of the peer. Default: true */
  end (isPeerDone = true): void {
    this.#ended = true
    this.#isPeerDone = isPeerDone
    this.flush()
  }

  /** Hands over now what waits for the end of the tick, as far as the transport takes it at once. */
  flushNow (): void {
    this.#writeOut()
  }

  flush (): void {
    if (this.#held || !this.#writeOut()) return
    if (this.#ended && this.#isQueueEmpty && !this.#transport.stream.writableEnded) this.#transport.finish(this.#isPeerDone)
  }

  /** @returns whether all is written, and there is room for more */
  #writeOut (): boolean {
    if (this.#destroyed || this.#waitsForTurn || this.#isWriting) return false
    const { stream, maxInFlight = Infinity } = this.#transport
    if (stream.writableNeedDrain || this.#inFlight >= maxInFlight) {
      this.#serializer?.vacateSlab()
      return false // goes on at 'drain', or when what is in flight is out
    }
    if (this.#serializer !== null && this.#transport.mayWrite?.(this) === false) return false
    let hasRoom = true
    // again for what was sent meanwhile: a stream in memory may get the peer's answer, and ours to that, before write() returns
    while (hasRoom && this.#serializer !== null) hasRoom = this.#write(this.#serializer, stream, maxInFlight)
    return hasRoom
  }

  /** @returns whether there is room for more when all is written */
  #write (serializer: FrameSerializer, stream: Duplex, maxInFlight: number): boolean {
    let room = true
    let piece = serializer.next(maxInFlight)
    // a header and the payload behind it, or the pieces of a long one, in one system call; most flushes are a single piece
    const isCorked = !serializer.isEmpty
    this.#isWriting = true
    try {
      if (isCorked) stream.cork()
      while (piece !== null) {
        this.#writing ??= new Fifo()
        this.#writing.push(piece.length)
        this.#inFlight += piece.length
        room = stream.write(piece, this.#onPieceWritten) && this.#inFlight < maxInFlight
        piece = room ? serializer.next(maxInFlight) : null
      }
    } finally {
      if (isCorked) stream.uncork()
      this.#isWriting = false
      // 0: the kernel has a copy of what was written, and libuv refers to nothing
      serializer.returnSlab(stream.writableLength === 0)
      if (serializer.isEmpty) this.#letGoOf(serializer)
    }
    return room
  }

  /** After a piece is out: with what was more than may be in flight. Whoever has filled that lets others go first. */
  #goOn (length: number): void {
    if (length < this.#transport.maxInFlight! || this.#transport.takeTurn === undefined) {
      this.flush()
      return
    }
    this.#waitsForTurn = true
    this.#transport.takeTurn(() => {
      this.#waitsForTurn = false
      this.flush()
    })
  }

  /** Drops everything. @returns the callbacks of what was not sent */
  destroy (): SendCallback[] {
    this.#destroyed = true
    const unsent = [...this.#callbacks?.cut().map(({ callback }) => callback) ?? [], ...this.#queue?.clear() ?? []]
    this.#dropped = this.#added - this.#written
    this.#written = this.#added
    if (this.#serializer !== null) {
      this.#serializer.clear()
      if (!this.#isWriting) this.#letGoOf(this.#serializer)
    }
    return unsent
  }

  /** What compresses such a frame: a whole message, that is large enough. Null: nothing. */
  #deflaterFor (opcode: Opcode, fin: boolean, size: number, mayCompress: boolean): Deflater | null {
    const isWhole = fin && (opcode === TEXT || opcode === BINARY)
    return mayCompress && isWhole && this.#deflater?.takes(size) === true ? this.#deflater : null
  }

  #send (
    opcode: Opcode, fin: boolean, payload: Buffer | string, deflater: Deflater | null, callback: SendCallback | undefined
  ): Promise<void> | undefined {
    if (deflater === null) {
      this.#serialize(opcode, fin, payload, callback)
      return
    }
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
    const serialize = (deflated: Buffer | null): void => { this.#serialize(opcode, fin, deflated ?? bytes, callback, deflated !== null) }
    if (!deflater.isQuick(bytes.length)) return this.#sendLater(deflater, bytes, serialize)
    serialize(deflater.deflateSync(bytes))
  }

  /** Whatever becomes of the compression, the message goes out. */
  async #sendLater (deflater: Deflater, bytes: Buffer, serialize: (deflated: Buffer | null) => void): Promise<void> {
    serialize(this.#destroyed ? null : await deflater.deflate(bytes).catch(() => null))
  }

  #serialize (opcode: Opcode, fin: boolean, payload: Buffer | string, callback?: SendCallback, rsv1 = false): void {
    if (!this.#destroyed) this.#onSerialized(this.#takeSerializer().feed({ opcode, fin, rsv1, payload }), callback)
  }

  #serializeFrame (frame: Buffer, callback: SendCallback | undefined): void {
    if (!this.#destroyed) this.#onSerialized(this.#takeSerializer().feedFrame(frame), callback)
  }

  /** With it comes, where the stream takes at once what is written, memory that every write uses again. */
  #takeSerializer (): FrameSerializer {
    this.#scheduleFlush() // first: what is fed may throw, and the slab must not stay with who has nothing to write
    if (this.#serializer !== null) return this.#serializer
    const { slab, stream } = this.#transport
    const serializer = SERIALIZERS[this.#role].take()
    if (slab !== undefined && stream.writableLength === 0) serializer.borrow(slab)
    this.#serializer = serializer
    return serializer
  }

  #letGoOf (serializer: FrameSerializer): void {
    SERIALIZERS[this.#role].giveBack(serializer)
    this.#serializer = null
  }

  get #isQueueEmpty (): boolean {
    return this.#queue === null || this.#queue.isEmpty
  }

  #enqueue (entry: QueueEntry): void {
    this.#queue ??= new SendQueue((error, callback) => { this.#giveUp(error, callback) })
    this.#queue.add(entry)
  }

  #giveUp (error: Error, callback: SendCallback | undefined): void {
    this.#scheduleFlush() // there may be nothing else to wait for before the end
    this.#owner.onUnsendable(error, callback)
  }

  #onSerialized (length: number, callback: SendCallback | undefined): void {
    this.#added += length
    if (callback === undefined) return
    this.#callbacks ??= new Fifo()
    this.#callbacks.push({ end: this.#added, callback })
  }

  #scheduleFlush (): void {
    if (this.#held || this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    process.nextTick(Sender.#flushScheduled, this)
  }

  static readonly #flushScheduled = (sender: Sender): void => {
    sender.#isFlushScheduled = false
    sender.flush()
  }

  readonly #onPieceWritten = (error?: Error | null): void => {
    // after an error the transport closes, and destroy() settles all
    if (error || this.#destroyed) return
    const length = this.#writing!.shift()!
    this.#written += length
    this.#inFlight -= length
    if (this.#isTellingLater) return
    if (length >= LARGE_WRITE ? this.#lookAtClock() : this.isTurnOver) {
      // where the kernel takes all at once, who is told goes on to send, and is told again, in one turn for ever
      this.#isTellingLater = true
      setImmediate(Sender.#tellLater, this, length)
    } else {
      this.#tellWritten(length)
    }
  }

  static readonly #tellLater = (sender: Sender, length: number): void => {
    sender.#isTellingLater = false
    if (!sender.#destroyed) sender.#tellWritten(length)
  }

  #tellWritten (length: number): void {
    const callbacks: SendCallback[] = []
    for (let due = this.#callbacks?.peek(); due !== undefined && due.end <= this.#written; due = this.#callbacks!.peek()) {
      callbacks.push(due.callback)
      this.#callbacks!.shift()
    }
    this.#owner.onWritten(callbacks)
    if (this.#transport.maxInFlight !== undefined) this.#goOn(length)
  }

  async #readBlob (opcode: Opcode, fin: boolean, blob: Blob, callback: SendCallback | undefined, mayCompress: boolean): Promise<void> {
    const bytes = await readBlob(blob)
    if (this.#destroyed) return
    if (bytes instanceof Error) {
      this.#giveUp(bytes, callback)
      return
    }
    await this.#send(opcode, fin, bytes, this.#deflaterFor(opcode, fin, bytes.length, mayCompress), callback)
  }
}

async function readBlob (blob: Blob): Promise<Buffer | Error> {
  try {
    return Buffer.from(await blob.arrayBuffer())
  } catch (error) {
    return error as Error // a DOMException: NotReadableError
  }
}
