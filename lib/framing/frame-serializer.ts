// frames -> bytes (RFC 6455 §5)
// Small frames that are fed before the next pull are copied side by side into one buffer; large payloads pass by reference.
// next() returns at most 64 KiB, so that whoever writes that can stop in between.
import { randomFillSync } from 'node:crypto'
import { encodeFrameHeader, frameHeaderLength } from '../protocol/frame.ts'
import { mask } from '../protocol/mask.ts'
import type { Opcode } from '../protocol/opcode.ts'
import type { Role } from '../protocol/role.ts'
import { PullTransform } from './pull-transform.ts'
import type { WriteSlab } from './write-slab.ts'

export interface OutgoingFrame {
  readonly opcode: Opcode
  /** Default: true. */
  readonly fin?: boolean
  /** Default: false. */
  readonly rsv1?: boolean
  /** A string goes out as UTF-8. A Buffer must not change until its bytes are out. */
  readonly payload: Buffer | string
}

export interface FrameSerializerOptions {
  /** Who writes: a client masks its frames, each with a new random key. RFC 6455 §5.3. */
  role: Role
}

/**
 * A payload of up to this many bytes is copied; a longer one goes out by reference. Measured on loopback: one more native copy of up to
 * this much costs less than one more buffer in the write.
 */
export const COPY_UP_TO = 16 * 1024
const MAX_PIECE = 64 * 1024

/** A Transform from {@link OutgoingFrame}s to bytes, for one direction of one connection. */
export class FrameSerializer extends PullTransform<OutgoingFrame, Buffer> {
  readonly #masks: boolean
  // what is complete, in order
  #ready: Buffer[] = []
  // small frames, side by side, after what is ready
  #batch: Buffer | null = null
  #batchLength = 0
  // the memory that the first batch is copied into, whether that batch is still open, and its length once it is complete
  #slab: WriteSlab | null = null
  #isInSlab = false
  #lengthInSlab = 0

  constructor ({ role }: FrameSerializerOptions) {
    super({ writableObjectMode: true, readableHighWaterMark: MAX_PIECE })
    this.#masks = role === 'client'
  }

  /** @returns the frame's length in bytes, header included */
  override feed ({ opcode, fin = true, rsv1 = false, payload }: OutgoingFrame): number {
    const payloadLength = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
    const headerLength = frameHeaderLength(payloadLength, this.#masks)
    const maskingKey = this.#masks ? randomMaskingKey() : null
    // only here is a payload passed on by reference
    const byReference = typeof payload !== 'string' && maskingKey === null && payloadLength > COPY_UP_TO
    const batch = this.#reserve(byReference ? headerLength : headerLength + payloadLength)

    const start = encodeFrameHeader(batch, this.#batchLength, opcode, fin, rsv1, payloadLength, maskingKey)
    this.#batchLength = start
    if (byReference) {
      this.#finishBatch()
      this.#ready.push(payload)
    } else {
      if (typeof payload === 'string') batch.write(payload, start)
      else if (maskingKey === null) payload.copy(batch, start)
      else mask(payload, 0, batch, start, payloadLength, maskingKey, 0)
      if (typeof payload === 'string' && maskingKey !== null) mask(batch, start, batch, start, payloadLength, maskingKey, 0)
      this.#batchLength = start + payloadLength
    }
    return headerLength + payloadLength
  }

  /** Takes in a whole frame that is encoded already and will not change. @returns its length in bytes @internal */
  feedFrame (frame: Buffer): number {
    if (frame.length > COPY_UP_TO) {
      this.#finishBatch()
      this.#ready.push(frame)
    } else if (this.#batch === null) {
      // the only frame of its tick goes out as it is; it has no room for another, so the next frame makes a copy
      this.#batch = frame
      this.#batchLength = frame.length
    } else {
      frame.copy(this.#reserve(frame.length), this.#batchLength)
      this.#batchLength += frame.length
    }
    return frame.length
  }

  /** @param maxLength how much to return at once, in bytes; never more than 64 KiB */
  override next (maxLength = MAX_PIECE): Buffer | null {
    if (this.#ready.length === 0) this.#finishBatch()
    const head = this.#ready[0]
    if (head === undefined) return null
    const length = Math.min(maxLength, MAX_PIECE)
    if (head.length <= length) return this.#ready.shift()!
    this.#ready[0] = head.subarray(length)
    return head.subarray(0, length)
  }

  /** Nothing waits for next(). @internal */
  get isEmpty (): boolean {
    return this.#ready.length === 0 && this.#batch === null
  }

  // The slab holds what is fed first, so that the first call of next() takes out all of it, and nothing else.

  /**
   * Copies what is fed from now on, while nothing waits, into `slab` as long as it has room, unless somebody else is using it.
   * @internal
   */
  borrow (slab: WriteSlab): void {
    this.#batch = slab.lend()
    if (this.#batch === null) return
    this.#slab = slab
    this.#isInSlab = true
  }

  /** After the first call of next(). @param isTaken nobody refers to what that returned any more @internal */
  returnSlab (isTaken: boolean): void {
    this.#returnSlab(isTaken ? 0 : this.#lengthInSlab)
  }

  /** Before that: what is in the slab has to wait, and is moved elsewhere. @internal */
  vacateSlab (): void {
    if (this.#slab === null) return
    this.#finishBatch()
    if (this.#lengthInSlab > 0) this.#ready[0] = Buffer.from(this.#ready[0]!)
    this.#returnSlab(0)
  }

  #returnSlab (kept: number): void {
    this.#slab?.takeBack(kept)
    this.#slab = null
    this.#lengthInSlab = 0
  }

  /** Drops what was fed and has not been taken out by next(). @internal */
  clear (): void {
    this.#ready = []
    this.#batch = null
    this.#batchLength = 0
    this.#isInSlab = false
    this.#returnSlab(0)
  }

  /** The batch, with room for `length` more bytes. */
  #reserve (length: number): Buffer {
    const needed = this.#batchLength + length
    const capacity = this.#isInSlab ? this.#batch!.length : MAX_PIECE
    if (this.#batch !== null && this.#batchLength > 0 && needed > capacity) {
      this.#finishBatch()
      return this.#reserve(length)
    }
    if (this.#batch === null) {
      // most frames are the only one of their tick: not a byte more than it needs
      this.#batch = Buffer.allocUnsafe(length)
    } else if (this.#batch.length < needed) {
      const grown = Buffer.allocUnsafe(Math.max(needed, Math.min(this.#batch.length * 2, MAX_PIECE)))
      this.#batch.copy(grown, 0, 0, this.#batchLength)
      this.#batch = grown
      this.#isInSlab = false
    }
    return this.#batch
  }

  #finishBatch (): void {
    if (this.#batch === null) return
    if (this.#batchLength === this.#batch.length) this.#ready.push(this.#batch)
    else if (this.#batchLength > 0) this.#ready.push(this.#batch.subarray(0, this.#batchLength))
    if (this.#isInSlab) this.#lengthInSlab = this.#batchLength
    this.#isInSlab = false
    this.#batch = null
    this.#batchLength = 0
  }
}

// §5.3, §10.3: a strong source of entropy, unpredictable to whoever provides the payload. One system call makes many keys.
const keys = new Int32Array(2048)
let usedKeys = keys.length

function randomMaskingKey (): number {
  if (usedKeys === keys.length) {
    randomFillSync(keys)
    usedKeys = 0
  }
  return keys[usedKeys++]!
}
