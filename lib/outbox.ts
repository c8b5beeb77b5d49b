// messages -> [Deflater] -> SendQueue (what is not ready) -> FrameSerializer -> transport
// What is added in one tick, or while one chunk is read, leaves in one write. The transport gets the next 64 KiB only when
// it has room, so what a slow peer does not take waits here and is counted here.
import type { Deflater } from './deflater.ts'
import { COPY_UP_TO, type FrameSerializer } from './frame-serializer.ts'
import { BINARY, TEXT, type Opcode } from './opcode.ts'
import { MessageSlot } from './message-slot.ts'
import type { PreparedMessage } from './prepared-message.ts'
import { SendQueue } from './send-queue.ts'
import type { Transport } from './transport.ts'
import type { SendCallback } from '../types/connection.ts'

export interface OutboxOwner {
  /** The transport took more of the bytes; `callbacks` are those of the frames that are out with them, in order. */
  onWritten (callbacks: SendCallback[]): void
  /** A Blob that should have been sent could not be read; `callback` is that of its frame. */
  onUnreadable (error: Error, callback: SendCallback | undefined): void
}

export class Outbox {
  readonly #transport: Transport
  readonly #serializer: FrameSerializer
  readonly #deflater: Deflater | null
  readonly #owner: OutboxOwner
  // bytes given to the serializer since the start, and those of them that the transport has taken: their difference waits
  #added = 0
  #written = 0
  // bytes that will never be
  #dropped = 0
  // lengths of the writes that the transport has not taken yet, and their sum
  readonly #writing: number[] = []
  #inFlight = 0
  // in the order of `end`, the value of #written at which each is due
  #callbacks: Array<{ readonly end: number, readonly callback: SendCallback }> = []
  readonly #queue = new SendQueue()
  #waitsForTurn = false
  #held = false
  #isFlushScheduled = false
  #ended = false
  #destroyed = false

  constructor (transport: Transport, serializer: FrameSerializer, deflater: Deflater | null, owner: OutboxOwner) {
    this.#transport = transport
    this.#serializer = serializer
    this.#deflater = deflater
    this.#owner = owner
  }

  /** Bytes that the transport has taken since the start. */
  get bytesWritten (): number {
    return this.#written - this.#dropped
  }

  /** Bytes added and not yet taken by the transport, frame headers included. */
  get bufferedAmount (): number {
    return this.#added - this.#written + this.#queue.size
  }

  /** Of those, the bytes that wait for the peer, or for work on them, and not for the end of a message that is sent in pieces. */
  get amountInWork (): number {
    return this.#added - this.#written + this.#queue.sizeInWork
  }

  /** There are bytes that the transport could take. */
  get hasUnsentBytes (): boolean {
    return this.#added > this.#written
  }

  /** Adds a frame of a message, or Close: they keep their order. @param mayCompress whether it is compressed if it is a whole message */
  add (opcode: Opcode, fin: boolean, payload: Buffer | string | Blob, callback?: SendCallback, mayCompress = true): void {
    if (payload instanceof Blob) {
      this.#queue.add({ size: payload.size, callback, run: () => this.#readBlob(opcode, fin, payload, callback, mayCompress) })
      return
    }
    if (this.#queue.isEmpty && (this.#deflater === null || !mayCompress)) {
      this.#serialize(opcode, fin, payload, callback)
      return
    }
    const size = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
    const deflater = this.#deflaterFor(opcode, fin, size, mayCompress)
    if (this.#queue.isEmpty && (deflater === null || deflater.isQuick(size))) {
      void this.#send(opcode, fin, payload, deflater, callback)
      return
    }
    // as when it is serialized at once: whoever sends so little may use the memory again
    const kept = typeof payload !== 'string' && size <= COPY_UP_TO ? Buffer.from(payload) : payload
    this.#queue.add({ size, callback, run: () => this.#send(opcode, fin, kept, deflater, callback) })
  }

  /** Adds a message that others get too. */
  addPrepared (message: PreparedMessage, callback?: SendCallback): void {
    const { opcode, payload, length, mayCompress } = message
    const deflater = this.#deflaterFor(opcode, true, length, mayCompress)
    if (this.#serializer.masks || deflater?.keepsContext === true) { // nobody else gets the same bytes
      this.add(opcode, true, payload, callback, mayCompress)
      return
    }
    const frame = deflater === null ? message.frame : message.deflatedBy(deflater)
    if (this.#queue.isEmpty && !(frame instanceof Promise)) {
      this.#serializeFrame(frame ?? message.frame, callback)
    } else {
      this.#queue.add({ size: length, callback, run: async () => { this.#serializeFrame(await frame ?? message.frame, callback) } })
    }
  }

  /** Adds a message whose fragments come one by one; until it has ended what is added behind it waits. */
  addMessage (opcode: Opcode): MessageSlot {
    const slot = new MessageSlot(opcode, (...frame) => { this.#serialize(...frame) })
    this.#queue.add(slot)
    return slot
  }

  /**
   * Nobody may go on with a message that has not ended: it is cut off, and what waits behind it cannot be sent.
   * @returns the callbacks of that
   */
  cut (): SendCallback[] {
    return this.#queue.cut()
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

  /** Ends the transport once everything is out. */
  end (): void {
    this.#ended = true
    this.flush()
  }

  flush (): void {
    if (this.#destroyed || this.#held || this.#waitsForTurn) return
    const { stream, maxInFlight = Infinity } = this.#transport
    if (stream.writableNeedDrain || this.#inFlight >= maxInFlight) {
      this.#serializer.vacate()
      return // goes on at 'drain', or when what is in flight is out
    }
    let room = true
    let piece = this.#serializer.next(maxInFlight)
    // a header and the payload behind it, or the pieces of a long one, in one system call; most flushes are a single piece
    const isCorked = !this.#serializer.isEmpty
    if (isCorked) stream.cork()
    while (piece !== null) {
      this.#writing.push(piece.length)
      this.#inFlight += piece.length
      room = stream.write(piece, this.#onPieceWritten) && this.#inFlight < maxInFlight
      piece = room ? this.#serializer.next(maxInFlight) : null
    }
    if (isCorked) stream.uncork()
    this.#serializer.giveBack(stream.writableLength === 0)
    if (room && this.#ended && this.#queue.isEmpty && !stream.writableEnded) this.#transport.finish()
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
    const unsent = [...this.#callbacks.map(({ callback }) => callback), ...this.#queue.clear()]
    this.#callbacks = []
    this.#dropped = this.#added - this.#written
    this.#written = this.#added
    this.#serializer.clear()
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
    if (this.#destroyed) return
    this.#borrowSlab()
    this.#onSerialized(this.#serializer.feed({ opcode, fin, rsv1, payload }), callback)
  }

  #serializeFrame (frame: Buffer, callback: SendCallback | undefined): void {
    if (!this.#destroyed) this.#onSerialized(this.#serializer.feedFrame(frame), callback)
  }

  /** Where the stream takes at once what is written. */
  #borrowSlab (): void {
    const { slab, stream } = this.#transport
    if (slab !== undefined && this.#serializer.isEmpty && stream.writableLength === 0) this.#serializer.borrow(slab)
  }

  #onSerialized (length: number, callback: SendCallback | undefined): void {
    this.#added += length
    if (callback !== undefined) this.#callbacks.push({ end: this.#added, callback })
    if (this.#held || this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    process.nextTick(Outbox.#flushScheduled, this)
  }

  static readonly #flushScheduled = (outbox: Outbox): void => {
    outbox.#isFlushScheduled = false
    outbox.flush()
  }

  readonly #onPieceWritten = (error?: Error | null): void => {
    // after an error the transport closes, and destroy() settles all
    if (error || this.#destroyed) return
    const length = this.#writing.shift()!
    this.#written += length
    this.#inFlight -= length
    let due = 0
    while (due < this.#callbacks.length && this.#callbacks[due]!.end <= this.#written) due++
    const callbacks = due === 0 ? [] : this.#callbacks.splice(0, due).map(({ callback }) => callback)
    this.#owner.onWritten(callbacks)
    if (this.#transport.maxInFlight !== undefined) this.#goOn(length)
  }

  async #readBlob (opcode: Opcode, fin: boolean, blob: Blob, callback: SendCallback | undefined, mayCompress: boolean): Promise<void> {
    const bytes = await readBlob(blob)
    if (this.#destroyed) return
    if (bytes instanceof Error) {
      process.nextTick(Outbox.#flushScheduled, this) // there may be nothing else to wait for before the end
      this.#owner.onUnreadable(bytes, callback)
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
