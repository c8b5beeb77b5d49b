import { countOutside, free } from './outside-memory.ts'

// Most fragments are small: a Buffer of this size still comes from Node's pool.
const MIN_CAPACITY = 1024
// Pieces of at least this size are kept without a copy if they are half of the memory that they are views into. What is read over HTTP/2, or from Node 24
// on over TLS, is a quarter of such memory, and most often what follows in it is the same message: whether it comes to the half shows then.
const LARGE_PIECE = 4 * 1024
const MIN_SHARE = 1 / 8
const SHARE = 1 / 2

/**
 * Joins bytes that arrive in pieces. Small pieces are copied into one growing buffer as they arrive, so that memory depends on their
 * bytes (at most twice as many, while it grows, and eight times for the last of the large pieces) and not on their number.
 */
export class ByteCollector {
  #parts: Buffer[] = []
  // small pieces joined, after the parts
  #tail: Buffer | null = null
  #tailLength = 0
  #length = 0
  // what the last large piece is a view into, how much of it is in the parts, and from which on
  #memory: ArrayBufferLike | null = null
  #inMemory = 0
  #first = 0
  // memory that nothing but the parts refers to
  #lone: ArrayBufferLike[] = []

  /** In bytes. */
  get length (): number { return this.#length }

  /** @param isLone nothing else refers to its memory, which is freed once it is copied */
  append (piece: Buffer, isLone = false): void {
    const { length, buffer } = piece
    this.#length += length
    if (length < LARGE_PIECE || (buffer !== this.#memory && length < buffer.byteLength * MIN_SHARE)) {
      this.#copy(piece)
      return
    }
    if (buffer !== this.#memory) this.#goOnIn(buffer)
    this.#finishTail()
    this.#parts.push(piece)
    this.#inMemory += length
    if (isLone) this.#lone.push(buffer)
  }

  #copy (piece: Buffer): void {
    const needed = this.#tailLength + piece.length
    if (this.#tail === null || this.#tail.length < needed) {
      const grown = Buffer.allocUnsafe(Math.max(MIN_CAPACITY, needed, this.#tailLength * 2))
      this.#tail?.copy(grown, 0, 0, this.#tailLength)
      this.#tail = grown
    }
    piece.copy(this.#tail, this.#tailLength)
    this.#tailLength = needed
  }

  /** Nothing more comes from the memory before: if little has, that is copied. */
  #goOnIn (memory: ArrayBufferLike | null): void {
    this.#finishTail()
    if (this.#memory !== null && this.#inMemory < this.#memory.byteLength * SHARE) {
      this.#parts.push(Buffer.concat(this.#parts.splice(this.#first)))
    }
    this.#memory = memory
    this.#inMemory = 0
    this.#first = this.#parts.length
  }

  /** Removes and returns everything so far. */
  take (): Buffer {
    this.#finishTail()
    if (this.#parts.length === 1) this.#goOnIn(null)
    const parts = this.#parts
    const lone = this.#lone
    this.#parts = []
    this.#lone = []
    this.#length = 0
    this.#memory = null
    this.#inMemory = 0
    if (parts.length === 1) return parts[0]!
    const bytes = Buffer.concat(parts)
    countOutside(bytes.length)
    for (const memory of lone) free(memory)
    return bytes
  }

  #finishTail (): void {
    if (this.#tail === null) return
    this.#parts.push(this.#tail.subarray(0, this.#tailLength))
    this.#tail = null
    this.#tailLength = 0
  }
}
