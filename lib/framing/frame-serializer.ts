// frames -> bytes (RFC 6455 §5)
// Small frames fed before the next pull are copied into one buffer; large payloads are passed by reference. next() returns at most
// 64 KiB, or what it is asked for, so that the writer can stop in between.
import { randomFillSync } from 'node:crypto'
import { encodeFrameHeader, frameHeaderLength } from '../protocol/frame.ts'
import { mask } from '../protocol/mask.ts'
import type { Opcode } from '../protocol/opcode.ts'
import type { Role } from '../protocol/role.ts'
import type { FrameRun } from './frame-run.ts'
import { PullTransform } from './pull-transform.ts'
import type { WriteLoans } from './write-loans.ts'
import type { WriteSlab } from './write-slab.ts'

export interface OutgoingFrame {
  readonly opcode: Opcode
  /** Default: true. */
  readonly fin?: boolean
  /** Default: false. */
  readonly rsv1?: boolean
  /** A string is encoded as UTF-8. A Buffer must not be modified until its bytes are written. */
  readonly payload: Buffer | string
}

export interface FrameSerializerOptions {
  /** The writing side: a client masks each frame with a new random key. RFC 6455 §5.3. */
  role: Role
}

/**
 * Payloads of up to this many bytes are copied, longer ones passed by reference. Measured on loopback: a native copy of up to this size
 * costs less than another buffer in the write.
 */
export const COPY_UP_TO = 16 * 1024
/** Maximum bytes that next() returns. */
export const MAX_PIECE = 64 * 1024
// Bytes from which a batch is in lent memory: smaller ones share some that Node allocates for all.
const LOAN_FROM = 4 * 1024

/** A Transform from {@link OutgoingFrame}s to bytes, for one direction of one connection. */
export class FrameSerializer extends PullTransform<OutgoingFrame, Buffer> {
  readonly #masks: boolean
  // complete buffers, in order
  #ready: Buffer[] = []
  // small frames joined, after those in #ready; or a run of frames that other connections send too
  #batch: Buffer | null = null
  #run: FrameRun | null = null
  // of either
  #batchLength = 0
  // the memory for the first batch, whether that batch is still open, and its length once complete
  #slab: WriteSlab | null = null
  #isInSlab = false
  #lengthInSlab = 0
  // who lends memory, what is lent for the batch or for the first in #ready, and how much of that next() has not returned
  #loans: WriteLoans | null = null
  #loan: Buffer | null = null
  #leftOfLoan = 0

  constructor ({ role }: FrameSerializerOptions) {
    super({ writableObjectMode: true, readableHighWaterMark: MAX_PIECE })
    this.#masks = role === 'client'
  }

  /** @returns the frame's length in bytes, header included */
  override feed ({ opcode, fin = true, rsv1 = false, payload }: OutgoingFrame): number {
    const payloadLength = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
    const headerLength = frameHeaderLength(payloadLength, this.#masks)
    const maskingKey = this.#masks ? randomMaskingKey() : null
    // the only case in which a payload is not copied
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

  /** Adds a frame, or several, that other connections send too. @returns the length in bytes @internal */
  feedFrame (frame: FrameRun): number {
    const { length } = frame
    if (length > COPY_UP_TO) {
      this.#finishBatch()
      this.#ready.push(frame.bytes)
    } else if (this.#batch !== null) {
      frame.bytes.copy(this.#reserve(length), this.#batchLength)
      this.#batchLength += length
    } else {
      if (this.#batchLength + length > MAX_PIECE) this.#finishBatch()
      this.#run = this.#run === null ? frame : this.#run.followedBy(frame)
      this.#batchLength += length
    }
    return length
  }

  /** @param maxLength maximum bytes to return. Default: 64 KiB */
  override next (maxLength = MAX_PIECE): Buffer | null {
    const head = this.#ready[0] ?? this.#endBatch()
    if (head === null) return null
    const length = Math.min(maxLength, head.length)
    if (this.#loan !== null) this.#leftOfLoan -= length
    if (head.length > length) {
      this.#ready[0] = head.subarray(length)
      return head.subarray(0, length)
    }
    if (this.#ready.length > 0) this.#ready.shift()
    return head
  }

  /** next() would return null. @internal */
  get isEmpty (): boolean {
    return this.#ready.length === 0 && this.#batch === null && this.#run === null
  }

  // The slab holds the first frames, so that the first call of next() returns its whole content and nothing else.

  /**
   * Copies frames into `slab` from now on, as long as it has room and unless it is in use. Only while isEmpty.
   * @internal
   */
  borrow (slab: WriteSlab): void {
    this.#batch = slab.lend()
    if (this.#batch === null) return
    this.#slab = slab
    this.#isInSlab = true
  }

  /** Call after the first call of next(). @param isTaken the buffer it returned is no longer used @internal */
  returnSlab (isTaken: boolean): void {
    this.#returnSlab(isTaken ? 0 : this.#lengthInSlab)
  }

  /** Call before it: what was fed has to wait, so that it leaves the slab, and a run, to which each further frame would add an object, ends. @internal */
  settle (): void {
    this.#endRun()
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

  /** Takes memory for large batches from `loans` from now on; null: from nobody. Only while isEmpty. @internal */
  borrowFrom (loans: WriteLoans | null): void {
    this.#loans = loans
  }

  /**
   * Call after next().
   * @returns what to call once the piece that it returned is written, with whether its memory may be used again; null: nothing
   * @internal
   */
  passOnLoan (): ((isReusable: boolean) => void) | null {
    const memory = this.#loan
    const loans = this.#loans
    if (memory === null || loans === null || this.#leftOfLoan > 0) return null
    this.#loan = null
    return (isReusable) => { loans.takeBack(memory, isReusable) }
  }

  /** Drops frames not yet returned by next(). @internal */
  clear (): void {
    this.#ready = []
    this.#batch = null
    this.#run = null
    this.#batchLength = 0
    this.#isInSlab = false
    this.#returnSlab(0)
    // a piece of it may be on its way
    if (this.#loan !== null) this.#loans!.takeBack(this.#loan, false)
    this.#loan = null
  }

  /** Returns the batch, with room for `length` more bytes. */
  #reserve (length: number): Buffer {
    this.#endRun()
    const needed = this.#batchLength + length
    const capacity = this.#isInSlab ? this.#batch!.length : MAX_PIECE
    if (this.#batch !== null && this.#batchLength > 0 && needed > capacity) {
      this.#finishBatch()
      return this.#reserve(length)
    }
    if (this.#batch === null) {
      // exact size, as most frames are the only one of their tick
      this.#batch = this.#borrow(length) ?? Buffer.allocUnsafe(length)
    } else if (this.#batch.length < needed) {
      const grown = this.#borrow(needed) ?? Buffer.allocUnsafe(Math.max(needed, Math.min(this.#batch.length * 2, MAX_PIECE)))
      this.#batch.copy(grown, 0, 0, this.#batchLength)
      this.#batch = grown
      this.#isInSlab = false
    }
    return this.#batch
  }

  /** In lent memory, unless others send the same bytes. */
  #join (run: FrameRun): Buffer {
    const memory = run.isAlone ? this.#borrow(run.length) : null
    if (memory === null) return run.bytes
    run.copyTo(memory)
    return memory
  }

  /** Only for what comes first, so that next() returns it first. */
  #borrow (length: number): Buffer | null {
    if (this.#loans === null || length < LOAN_FROM || length > MAX_PIECE || this.#loan !== null || this.#ready.length > 0) return null
    this.#loan = this.#loans.lend()
    return this.#loan
  }

  /** Makes it a batch, which is full, so that the next frame copies it. */
  #endRun (): void {
    if (this.#run === null) return
    this.#batch = this.#run.bytes
    this.#run = null
  }

  #finishBatch (): void {
    const batch = this.#endBatch()
    if (batch !== null) this.#ready.push(batch)
  }

  /** @returns the batch, which is complete; null: there is none */
  #endBatch (): Buffer | null {
    const batch = this.#run === null ? this.#batch : this.#join(this.#run)
    if (batch === null) return null
    const length = this.#batchLength
    if (batch === this.#loan) this.#leftOfLoan = length
    if (this.#isInSlab) this.#lengthInSlab = length
    this.#isInSlab = false
    this.#batch = null
    this.#run = null
    this.#batchLength = 0
    if (length === 0) return null
    return length === batch.length ? batch : batch.subarray(0, length)
  }
}

// §5.3, §10.3: a strong source of entropy, unpredictable to the provider of the payload. One system call fills many keys.
const keys = new Int32Array(2048)
let usedKeys = keys.length

function randomMaskingKey (): number {
  if (usedKeys === keys.length) {
    randomFillSync(keys)
    usedKeys = 0
  }
  return keys[usedKeys++]!
}
