// messages -> [Deflater] -> SendQueue (if not ready) -> FrameWriter -> transport
import type { Deflater } from '../../compression/deflater.ts'
import type { Role } from '../../protocol/role.ts'
import { COPY_UP_TO } from '../../framing/frame-serializer.ts'
import { BINARY, TEXT, type Opcode } from '../../protocol/opcode.ts'
import { FrameWriter, type FrameWriterOwner } from './frame-writer.ts'
import { MessageSlot } from './message-slot.ts'
import type { PreparedMessage } from '../prepared-message.ts'
import { SendQueue, type QueueEntry } from './send-queue.ts'
import type { Transport } from '../../transport/transport.ts'
import type { SendCallback } from '../../../types/connection.ts'

export interface SenderOwner extends FrameWriterOwner {
  /** A message cannot be sent: its Blob cannot be read, or memory ran out. */
  onUnsendable (error: Error, callback: SendCallback | undefined): void
}

export class Sender {
  readonly #frames: FrameWriter
  readonly #role: Role
  readonly #deflater: Deflater | null
  readonly #owner: SenderOwner
  #queue: SendQueue | null = null // created when something has to wait for its turn
  // what frames.end() is to be called with once the queue is empty
  #isPeerDone: boolean | null = null

  constructor (transport: Transport, role: Role, deflater: Deflater | null, owner: SenderOwner) {
    this.#frames = new FrameWriter(transport, role, owner)
    this.#role = role
    this.#deflater = deflater
    this.#owner = owner
  }

  /** Bytes taken by the transport since the start. */
  get bytesWritten (): number { return this.#frames.bytesWritten }
  /** Bytes added but not yet taken by the transport, frame headers included. */
  get bufferedAmount (): number { return this.#frames.unsent + (this.#queue?.size ?? 0) }
  /** The part of bufferedAmount that waits for the peer or for work such as compression, and not for the end of a message stream. */
  get amountInWork (): number { return this.#frames.unsent + (this.#queue?.sizeInWork ?? 0) }
  /** There are frames that the transport has not taken. */
  get hasUnsentBytes (): boolean { return this.#frames.unsent > 0 }
  /** Whether the caller has used up its share of this event loop turn. Ask once after each piece of work, such as a message. */
  get isTurnOver (): boolean { return this.#frames.isTurnOver }

  /** Whether add() copies a payload of this length, so that the caller may reuse its memory. */
  copies (length: number): boolean {
    return length <= COPY_UP_TO
  }

  /** Adds a frame of a message, or a Close, in order. @param mayCompress whether to compress it if it is a whole message */
  add (opcode: Opcode, fin: boolean, payload: Buffer | string | Blob, callback?: SendCallback, mayCompress = true): void {
    if (payload instanceof Blob) {
      this.#enqueue({ size: payload.size, callback, run: () => this.#readBlob(opcode, fin, payload, callback, mayCompress) })
      return
    }
    if (this.#isQueueEmpty && (this.#deflater === null || !mayCompress)) {
      this.#frames.add(opcode, fin, payload, callback)
      return
    }
    const size = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
    const deflater = this.#deflaterFor(opcode, fin, size, mayCompress)
    if (this.#isQueueEmpty && (deflater === null || deflater.isQuick(size))) {
      void this.#send(opcode, fin, payload, deflater, callback)
      return
    }
    // as when serialized at once: the caller may reuse the memory of a small payload
    const kept = typeof payload !== 'string' && this.copies(size) ? Buffer.from(payload) : payload
    this.#enqueue({ size, callback, run: () => this.#send(opcode, fin, kept, deflater, callback) })
  }

  /** Adds a message that is shared with other connections. */
  addPrepared (message: PreparedMessage, callback?: SendCallback): void {
    const { opcode, payload, length, mayCompress } = message
    const deflater = this.#deflaterFor(opcode, true, length, mayCompress)
    if (this.#role === 'client' || deflater?.keepsContext === true) { // the bytes differ for each connection
      this.add(opcode, true, payload, callback, mayCompress)
      return
    }
    const frame = deflater === null ? message.frame : message.deflatedBy(deflater)
    if (this.#isQueueEmpty && !(frame instanceof Promise)) {
      this.#frames.addRun(frame ?? message.frame, callback)
    } else {
      this.#enqueue({ size: length, callback, run: async () => { this.#frames.addRun(await frame ?? message.frame, callback) } })
    }
  }

  /** Adds a message whose fragments come one by one; later messages wait until it has ended. */
  addMessage (opcode: Opcode): MessageSlot {
    const slot = new MessageSlot(opcode, (...frame) => { this.#frames.add(...frame) })
    this.#enqueue(slot)
    return slot
  }

  /**
   * Cuts off a message stream that has not ended, and drops what waits behind it.
   * @returns the callbacks of what was dropped
   */
  cut (): SendCallback[] {
    return this.#queue?.cut() ?? []
  }

  /** Adds a Ping or Pong, ahead of messages that are not ready. */
  addControl (opcode: Opcode, payload: Buffer, callback?: SendCallback): void {
    this.#frames.add(opcode, true, payload, callback)
  }

  /** Delays writing until release(), which writes everything at once. */
  hold (): void { this.#frames.hold() }
  release (): void { this.#frames.release() }
  /** Writes now instead of at the end of the tick, as far as the transport has room. */
  flushNow (): void { this.#frames.flushNow() }
  /** The same, and ends the transport if that is due. */
  flush (): void { this.#frames.flush() }

  /** Ends the transport once everything is out. @param isPeerDone nothing more is expected from the peer. Default: true */
  end (isPeerDone = true): void {
    this.#isPeerDone = isPeerDone
    if (this.#isQueueEmpty) this.#frames.end(isPeerDone)
    else this.#frames.flush()
  }

  /** Drops everything. @returns the callbacks of unsent messages */
  destroy (): SendCallback[] {
    return [...this.#frames.destroy(), ...this.#queue?.clear() ?? []]
  }

  /** The deflater for a frame: only for whole messages that are large enough, otherwise null. */
  #deflaterFor (opcode: Opcode, fin: boolean, size: number, mayCompress: boolean): Deflater | null {
    const isWhole = fin && (opcode === TEXT || opcode === BINARY)
    return mayCompress && isWhole && this.#deflater?.takes(size) === true ? this.#deflater : null
  }

  #send (
    opcode: Opcode, fin: boolean, payload: Buffer | string, deflater: Deflater | null, callback: SendCallback | undefined
  ): Promise<void> | undefined {
    if (deflater === null) {
      this.#frames.add(opcode, fin, payload, callback)
      return
    }
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
    const serialize = (deflated: Buffer | null): void => { this.#frames.add(opcode, fin, deflated ?? bytes, callback, deflated !== null) }
    if (!deflater.isQuick(bytes.length)) return this.#sendLater(deflater, bytes, serialize)
    serialize(deflater.deflateSync(bytes))
  }

  /** Compresses asynchronously; if that fails the message goes out uncompressed. */
  async #sendLater (deflater: Deflater, bytes: Buffer, serialize: (deflated: Buffer | null) => void): Promise<void> {
    serialize(this.#frames.isDestroyed ? null : await deflater.deflate(bytes).catch(() => null))
  }

  get #isQueueEmpty (): boolean {
    return this.#queue === null || this.#queue.isEmpty
  }

  #enqueue (entry: QueueEntry): void {
    this.#queue ??= new SendQueue({
      onError: (error, callback) => { this.#owner.onUnsendable(error, callback) },
      onEmpty: () => { if (this.#isPeerDone !== null) this.#frames.end(this.#isPeerDone) }
    })
    this.#queue.add(entry)
  }

  async #readBlob (opcode: Opcode, fin: boolean, blob: Blob, callback: SendCallback | undefined, mayCompress: boolean): Promise<void> {
    const bytes = await readBlob(blob)
    if (this.#frames.isDestroyed) return
    if (bytes instanceof Error) {
      this.#owner.onUnsendable(bytes, callback)
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
