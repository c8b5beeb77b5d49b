import { LARGE, makeYoungGarbage } from './young-garbage.ts'

// Most fragments are small: a Buffer of this size still comes from Node's pool.
const MIN_CAPACITY = 1024
// A piece of at least this size, and at least half of the chunk it is a view into, is kept without a copy.
const LARGE_PIECE = 4 * 1024

/**
 * Joins bytes that arrive in pieces. Small pieces are copied into one growing buffer as they arrive, so that memory depends on their
 * bytes (at most twice as many, while it grows) and not on their number.
 */
export class ByteCollector {
  #parts: Buffer[] = []
  // small pieces joined, after the parts
  #tail: Buffer | null = null
  #tailLength = 0
  #length = 0

  /** In bytes. */
  get length (): number { return this.#length }

  append (piece: Buffer): void {
    this.#length += piece.length
    if (piece.length >= LARGE_PIECE && piece.length >= piece.buffer.byteLength / 2) {
      this.#finishTail()
      this.#parts.push(piece)
      return
    }
    const needed = this.#tailLength + piece.length
    if (this.#tail === null || this.#tail.length < needed) {
      const grown = Buffer.allocUnsafe(Math.max(MIN_CAPACITY, needed, this.#tailLength * 2))
      this.#tail?.copy(grown, 0, 0, this.#tailLength)
      this.#tail = grown
    }
    piece.copy(this.#tail, this.#tailLength)
    this.#tailLength = needed
  }

  /** Removes and returns everything so far. */
  take (): Buffer {
    this.#finishTail()
    if (this.#parts.length > 1 && this.#length >= LARGE) makeYoungGarbage(this.#length)
    const bytes = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
    this.#parts = []
    this.#length = 0
    return bytes
  }

  #finishTail (): void {
    if (this.#tail === null) return
    this.#parts.push(this.#tail.subarray(0, this.#tailLength))
    this.#tail = null
    this.#tailLength = 0
  }
}
