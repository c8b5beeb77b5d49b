// frames -> FrameSerializer -> transport
// What is added in one tick, or while one chunk is read, leaves in one write. The transport gets the next 64 KiB only when
// it has room, so what a slow peer does not take waits here and is counted here.
import type { FrameSerializer } from './frame-serializer.ts'
import type { Opcode } from './opcode.ts'
import type { Transport } from './transport.ts'
import type { SendCallback } from '../types/connection.ts'

interface Deferred {
  readonly opcode: Opcode
  readonly fin: boolean
  readonly payload: Buffer | string | Blob
  readonly size: number
  readonly callback: SendCallback | undefined
}

export interface OutboxOwner {
  /** The transport took more of the bytes; `callbacks` are those of the frames that are out with them, in order. */
  onWritten (callbacks: SendCallback[]): void
  /** A Blob that should have been sent could not be read; `callback` is that of its frame. */
  onUnreadable (error: Error, callback: SendCallback | undefined): void
}

export class Outbox {
  readonly #transport: Transport
  readonly #serializer: FrameSerializer
  readonly #owner: OutboxOwner
  // bytes given to the serializer since the start, and those of them that the transport has taken: their difference waits
  #added = 0
  #written = 0
  // bytes that will never be
  #dropped = 0
  // lengths of the writes that the transport has not taken yet
  readonly #writing: number[] = []
  // in the order of `end`, the value of #written at which each is due
  #callbacks: Array<{ readonly end: number, readonly callback: SendCallback }> = []
  // frames behind a Blob whose bytes are still being read; null when none is
  #deferred: Deferred[] | null = null
  #deferredSize = 0
  #held = false
  #flushScheduled = false
  #ended = false
  #destroyed = false

  constructor (transport: Transport, serializer: FrameSerializer, owner: OutboxOwner) {
    this.#transport = transport
    this.#serializer = serializer
    this.#owner = owner
  }

  /** Bytes that the transport has taken since the start. */
  get bytesWritten (): number {
    return this.#written - this.#dropped
  }

  /** Bytes added and not yet taken by the transport, frame headers included. */
  get bufferedAmount (): number {
    return this.#added - this.#written + this.#deferredSize
  }

  /** Adds a frame of a message, or Close: they keep their order. */
  add (opcode: Opcode, fin: boolean, payload: Buffer | string | Blob, callback?: SendCallback): void {
    if (this.#deferred !== null || payload instanceof Blob) {
      this.#defer({ opcode, fin, payload, size: sizeOf(payload), callback })
    } else {
      this.#serialize(opcode, fin, payload, callback)
    }
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
    if (this.#destroyed || this.#held) return
    const { stream } = this.#transport
    if (stream.writableNeedDrain) return // goes on at 'drain'
    let room = true
    let piece = this.#serializer.next()
    // a header and the payload behind it, or the pieces of a long one, in one system call; most flushes are a single piece
    const isCorked = !this.#serializer.isEmpty
    if (isCorked) stream.cork()
    while (piece !== null) {
      this.#writing.push(piece.length)
      room = stream.write(piece, this.#onPieceWritten)
      piece = room ? this.#serializer.next() : null
    }
    if (isCorked) stream.uncork()
    if (room && this.#ended && this.#deferred === null && !stream.writableEnded) this.#transport.finish()
  }

  /** Drops everything; the callbacks of what was not sent get `error`. */
  destroy (error: Error): SendCallback[] {
    this.#destroyed = true
    const unsent = [...this.#callbacks.map(({ callback }) => callback), ...(this.#deferred ?? []).map(({ callback }) => callback)]
    this.#callbacks = []
    this.#deferred = null
    this.#deferredSize = 0
    this.#dropped = this.#added - this.#written
    this.#written = this.#added
    this.#serializer.clear()
    return unsent.filter(callback => callback !== undefined).map(callback => () => callback(error))
  }

  #serialize (opcode: Opcode, fin: boolean, payload: Buffer | string, callback?: SendCallback): void {
    if (this.#destroyed) return
    this.#added += this.#serializer.feed({ opcode, fin, payload })
    if (callback !== undefined) this.#callbacks.push({ end: this.#added, callback })
    if (this.#held || this.#flushScheduled) return
    this.#flushScheduled = true
    process.nextTick(this.#scheduledFlush)
  }

  readonly #scheduledFlush = (): void => {
    this.#flushScheduled = false
    this.flush()
  }

  readonly #onPieceWritten = (error?: Error | null): void => {
    // after an error the transport closes, and destroy() settles all
    if (error || this.#destroyed) return
    this.#written += this.#writing.shift()!
    let due = 0
    while (due < this.#callbacks.length && this.#callbacks[due]!.end <= this.#written) due++
    const callbacks = due === 0 ? [] : this.#callbacks.splice(0, due).map(({ callback }) => callback)
    this.#owner.onWritten(callbacks)
  }

  #defer (frame: Deferred): void {
    this.#deferredSize += frame.size
    if (this.#deferred !== null) {
      this.#deferred.push(frame)
      return
    }
    this.#deferred = [frame]
    void this.#readDeferred() // never rejects
  }

  async #readDeferred (): Promise<void> {
    for (let frame = this.#deferred?.[0]; frame !== undefined; frame = this.#deferred?.[0]) {
      const { opcode, fin, payload, size, callback } = frame
      const bytes = payload instanceof Blob ? await readBlob(payload) : payload
      if (this.#destroyed) return
      this.#deferred!.shift()
      this.#deferredSize -= size
      if (bytes instanceof Error) this.#owner.onUnreadable(bytes, callback)
      else this.#serialize(opcode, fin, bytes, callback)
    }
    this.#deferred = null
    this.flush()
  }
}

async function readBlob (blob: Blob): Promise<Buffer | Error> {
  try {
    return Buffer.from(await blob.arrayBuffer())
  } catch (error) {
    return error as Error // a DOMException: NotReadableError
  }
}

function sizeOf (payload: Buffer | string | Blob): number {
  if (typeof payload === 'string') return Buffer.byteLength(payload)
  return payload instanceof Blob ? payload.size : payload.length
}
