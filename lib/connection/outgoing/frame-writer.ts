// frames -> FrameSerializer -> transport
// Frames that are shared with other connections may go without a serializer.
// What is added in one tick, or while one chunk is read, leaves in one write. The transport gets the next 64 KiB only when
// it has room, so bytes for a slow peer wait here and are counted here; up to 256 KiB, while the kernel takes all at once.
import type { Duplex } from 'node:stream'
import type { Role } from '../../protocol/role.ts'
import { Fifo } from '../../framing/fifo.ts'
import type { FrameRun } from '../../framing/frame-run.ts'
import { COPY_UP_TO, FrameSerializer, MAX_PIECE } from '../../framing/frame-serializer.ts'
import type { Opcode } from '../../protocol/opcode.ts'
import { Pool } from '../../framing/pool.ts'
import { tellAtTickEnd, type TickEndListener } from './tick-end.ts'
import type { StreamWriter } from '../../transport/session-room.ts'
import type { Transport } from '../../transport/transport.ts'
import type { SendCallback } from '../../../types/connection.ts'
import { TurnClock } from '../turn-clock.ts'

export interface FrameWriterOwner {
  /** Whether anything hangs on onWritten() now, other than callbacks. Absent: always. */
  readonly awaitsProgress?: boolean
  /** The transport took more bytes; `callbacks` are those of the frames now written, in order. */
  onWritten (callbacks: SendCallback[]): void
  /** The transport asks for a Ping. @returns whether one is sent. Absent: never */
  onAsk? (): boolean
}

type WriteListener = (error?: Error | null) => void

interface WriteCallback {
  /** The value of FrameWriter.#written at which it is due. */
  readonly end: number
  readonly callback: SendCallback
}

// Fairness: the clock is read once per this many pieces of work, such as messages, and after each write of this many bytes, which may hold thousands
// of messages.
const WORK_BETWEEN_LOOKS = 8
const LARGE_WRITE = 8 * 1024

// Of a long message the kernel gets twice as much after each write that it has taken at once, as fewer writes cost less. No more than this: what a write
// has made of its way is not seen before all of it is taken, and who takes less in a stallTimeout counts as stalled.
const LARGEST_PIECE = 4 * MAX_PIECE

const NOTHING: Buffer = Buffer.alloc(0)

const SERIALIZERS: Readonly<Record<Role, Pool<FrameSerializer>>> = {
  client: new Pool(() => new FrameSerializer({ role: 'client' })),
  server: new Pool(() => new FrameSerializer({ role: 'server' }))
}

export class FrameWriter implements StreamWriter, TickEndListener {
  readonly #transport: Transport
  readonly #role: Role
  readonly #owner: FrameWriterOwner
  // Only while it holds data: it takes 0.6 KiB, and most connections have nothing to send most of the time.
  #serializer: FrameSerializer | null = null
  // frames that other connections send too, while nothing else is to be sent: where they are taken at once, they need no serializer
  #run: FrameRun | null = null
  // bytes added since the start, and those the transport has taken; the difference is unsent
  #added = 0
  #written = 0
  // bytes that destroy() dropped, which count as written
  #dropped = 0
  // lengths of the writes that the transport has not taken yet, and their sum
  #writing: Fifo<number> | null = null
  #inFlight = 0
  // created on demand, as most writes need no callback
  #listener: WriteListener | null = null
  // in the order of `end`; created on demand, as most messages have no callback
  #callbacks: Fifo<WriteCallback> | null = null
  // bytes of a write
  #maxPiece = MAX_PIECE
  #waitsForTurn = false
  #isWriting = false
  #held = false
  #isFlushScheduled = false
  // what transport.finish() is to be called with once everything is out
  #isPeerDone: boolean | null = null
  #destroyed = false
  // pieces of work since the start, and the clock for their fair share
  #work = 0
  #turnClock: TurnClock | null = null
  // #tellWritten() is scheduled for the next turn
  #isTellingLater = false

  constructor (transport: Transport, role: Role, owner: FrameWriterOwner) {
    this.#transport = transport
    this.#role = role
    this.#owner = owner
  }

  /** Bytes taken by the transport since the start. */
  get bytesWritten (): number {
    return this.#written - this.#dropped
  }

  /** Bytes added but not yet taken by the transport, frame headers included. */
  get unsent (): number {
    return this.#added - this.#written
  }

  /** Bytes handed to the transport since the start, whether it has taken them or not. */
  get bytesHandedOver (): number {
    return this.#written + this.#inFlight
  }

  /** Bytes added since the start. */
  get bytesAdded (): number {
    return this.#added
  }

  /** Nothing is written any more. */
  get isDestroyed (): boolean {
    return this.#destroyed
  }

  /** Asks the owner to send a Ping. @returns whether it does */
  ask (): boolean {
    return this.#owner.onAsk?.() === true
  }

  /** Whether the caller has used up its share of this event loop turn. Ask once after each piece of work, such as a message. */
  get isTurnOver (): boolean {
    return ++this.#work % WORK_BETWEEN_LOOKS === 0 && this.#lookAtClock()
  }

  #lookAtClock (): boolean {
    this.#turnClock ??= new TurnClock()
    return this.#turnClock.isOver
  }

  // Adding

  /** Adds a frame. @param callback called once the transport has taken it */
  add (opcode: Opcode, fin: boolean, payload: Buffer | string, callback?: SendCallback, rsv1 = false): void {
    if (!this.#destroyed) this.#onAdded(this.#takeSerializer().feed({ opcode, fin, rsv1, payload }), callback)
  }

  /** Adds frames that other connections send too. */
  addRun (run: FrameRun, callback?: SendCallback): void {
    if (this.#destroyed) return
    if (!this.#addToRun(run)) this.#takeSerializer().feedFrame(run)
    this.#onAdded(run.length, callback)
  }

  /** @returns whether it goes out as it is, behind others like it */
  #addToRun (frame: FrameRun): boolean {
    const run = this.#run
    if (run !== null) {
      if (frame.length > COPY_UP_TO || run.length + frame.length > MAX_PIECE) return false
    } else if (this.#serializer !== null || this.#transport.takesAtOnce !== true || frame.length > MAX_PIECE) {
      return false
    }
    this.#scheduleFlush()
    this.#run = run === null ? frame : run.followedBy(frame)
    return true
  }

  #takeSerializer (): FrameSerializer {
    this.#scheduleFlush() // first, as feed() may throw: the flush then returns the slab
    return this.#serializer ?? this.#openSerializer()
  }

  /** Also borrows the shared write buffer if the stream takes writes at once. */
  #openSerializer (): FrameSerializer {
    const { slab, loans, stream } = this.#transport
    const serializer = SERIALIZERS[this.#role].take()
    if (slab !== undefined && stream.writableLength === 0) serializer.borrow(slab)
    serializer.borrowFrom(loans ?? null)
    this.#serializer = serializer
    if (this.#run !== null) serializer.feedFrame(this.#run)
    this.#run = null
    return serializer
  }

  #letGoOf (serializer: FrameSerializer): void {
    SERIALIZERS[this.#role].giveBack(serializer)
    this.#serializer = null
  }

  #onAdded (length: number, callback: SendCallback | undefined): void {
    this.#added += length
    if (callback === undefined) return
    this.#callbacks ??= new Fifo()
    this.#callbacks.push({ end: this.#added, callback })
  }

  #scheduleFlush (): void {
    if (this.#held || this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    tellAtTickEnd(this)
  }

  onTickEnd (): void {
    this.#isFlushScheduled = false
    this.flush()
  }

  // Writing

  /** Delays writing until release(), which writes everything at once. */
  hold (): void {
    this.#held = true
  }

  release (): void {
    this.#held = false
    this.flush()
  }

  /** Ends the transport once everything is out. @param isPeerDone nothing more is expected from the peer */
  end (isPeerDone: boolean): void {
    this.#isPeerDone = isPeerDone
    this.flush()
  }

  /** Writes now instead of at the end of the tick, as far as the transport has room. */
  flushNow (): void {
    this.#writeOut()
  }

  flush (): void {
    if (this.#held || !this.#writeOut()) return
    if (this.#isPeerDone !== null && !this.#transport.stream.writableEnded) this.#transport.finish(this.#isPeerDone)
  }

  /** @returns whether everything is written and there is room for more */
  #writeOut (): boolean {
    if (this.#destroyed || this.#isWriting) return false
    const { stream, maxInFlight = Infinity } = this.#transport
    const mustWait = this.#waitsForTurn || stream.writableNeedDrain || this.#inFlight >= maxInFlight
    if (mustWait || (this.#serializer !== null && this.#transport.mayWrite?.(this) === false)) {
      if (this.#run !== null) this.#openSerializer()
      this.#serializer?.settle()
      return false // continues at 'drain', when a write in flight is done, or when it is its turn
    }
    let hasRoom = this.#run === null || this.#writeRun(this.#run, stream)
    // loops for messages sent meanwhile: an in-memory stream may deliver the peer's answer, and ours to that, before write() returns
    while (hasRoom && this.#serializer !== null) hasRoom = this.#write(this.#serializer, stream, maxInFlight)
    return hasRoom
  }

  /** @returns whether there is room for more */
  #writeRun (run: FrameRun, stream: Duplex): boolean {
    this.#run = null
    this.#isWriting = true
    try {
      return this.#needsCallback() ? this.#writePiece(run.bytes, stream, this.#pieceListener) : this.#writeAtOnce(run.bytes, stream)
    } finally {
      this.#isWriting = false
    }
  }

  /** @returns whether there is room for more */
  #write (serializer: FrameSerializer, stream: Duplex, maxInFlight: number): boolean {
    let room = true
    let written = 0
    const maxPiece = Math.min(maxInFlight, this.#maxPiece)
    let piece = serializer.next(maxPiece)
    // one system call for a header and its payload, or the pieces of a long one; most flushes are a single piece
    const isCorked = !serializer.isEmpty
    const needsCallback = isCorked || this.#needsCallback()
    this.#isWriting = true
    try {
      if (isCorked) stream.cork()
      while (piece !== null) {
        written += piece.length
        room = needsCallback ? this.#writePiece(piece, stream, this.#callbackFor(serializer, stream)) : this.#writeAtOnce(piece, stream)
        piece = room && this.#inFlight < maxInFlight ? serializer.next(maxPiece) : null
      }
    } finally {
      if (isCorked) stream.uncork()
      this.#isWriting = false
      const isTaken = stream.writableLength === 0 // the kernel has copied everything, and libuv holds no reference
      serializer.returnSlab(isTaken)
      if (!isTaken) this.#maxPiece = MAX_PIECE
      else if (written >= this.#maxPiece) this.#maxPiece = Math.min(2 * this.#maxPiece, LARGEST_PIECE)
      if (serializer.isEmpty) this.#letGoOf(serializer)
    }
    return room && this.#inFlight < maxInFlight
  }

  #needsCallback (): boolean {
    return this.#inFlight > 0 || this.#callbacks?.isEmpty === false || this.#transport.takesAtOnce !== true
  }

  /** @returns whether the stream has room for more */
  #writePiece (piece: Buffer, stream: Duplex, callback: WriteListener): boolean {
    this.#expect(piece.length)
    return stream.write(piece, callback)
  }

  /** Without a callback, for which Node would need another tick. @returns whether the stream has room for more */
  #writeAtOnce (piece: Buffer, stream: Duplex): boolean {
    const hasRoom = stream.write(piece)
    if (stream.writableLength > 0) {
      this.#expect(piece.length)
      stream.write(NOTHING, this.#pieceListener) // called back once what is in front of it is out
    } else if (stream.writable) { // otherwise it has failed
      this.#written += piece.length
      if (this.#owner.awaitsProgress !== false) process.nextTick(FrameWriter.#tellTaken, this, piece.length)
    }
    return hasRoom
  }

  #expect (length: number): void {
    this.#writing ??= new Fifo()
    this.#writing.push(length)
    this.#inFlight += length
  }

  /** For the piece that the serializer has returned last. */
  #callbackFor (serializer: FrameSerializer, stream: Duplex): WriteListener {
    const endLoan = serializer.passOnLoan()
    if (endLoan === null) return this.#pieceListener
    return (error) => {
      // a stream that is gone may have left some to its session, which still writes it
      endLoan(!error && !stream.destroyed)
      this.#onPieceWritten(error)
    }
  }

  /** Drops everything. @returns the callbacks of unsent frames */
  destroy (): SendCallback[] {
    this.#destroyed = true
    const unsent = this.#callbacks?.cut().map(({ callback }) => callback) ?? []
    this.#dropped = this.#added - this.#written
    this.#written = this.#added
    this.#run = null
    if (this.#serializer !== null) {
      this.#serializer.clear()
      if (!this.#isWriting) this.#letGoOf(this.#serializer)
    }
    return unsent
  }

  // Written

  get #pieceListener (): WriteListener {
    this.#listener ??= (error) => { this.#onPieceWritten(error) }
    return this.#listener
  }

  #onPieceWritten (error: Error | null | undefined): void {
    // after an error the transport closes, and destroy() handles the rest
    if (error || this.#destroyed) return
    const length = this.#writing!.shift()!
    this.#written += length
    this.#inFlight -= length
    this.#onTaken(length)
  }

  static readonly #tellTaken = (writer: FrameWriter, length: number): void => {
    if (!writer.#destroyed) writer.#onTaken(length)
  }

  #onTaken (length: number): void {
    if (this.#isTellingLater) return
    if (length >= LARGE_WRITE ? this.#lookAtClock() : this.isTurnOver) {
      // if the kernel takes everything at once, a caller that sends from each callback would never leave this turn
      this.#isTellingLater = true
      setImmediate(FrameWriter.#tellLater, this, length)
    } else {
      this.#tellWritten(length)
    }
  }

  static readonly #tellLater = (writer: FrameWriter, length: number): void => {
    writer.#isTellingLater = false
    if (!writer.#destroyed) writer.#tellWritten(length)
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

  /** Writes on once a piece is out, as far as maxInFlight allows. A stream that filled it lets others go first. */
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
}
