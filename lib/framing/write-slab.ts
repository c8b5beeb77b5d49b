import assert from 'node:assert'

const SIZE = 64 * 1024
// Room for any frame that FrameSerializer copies, except long text.
const MIN_ROOM = 32 * 1024

/**
 * Memory used by one sender at a time for its next write. Once the kernel has taken that, the next sender reuses the same bytes: a write
 * allocates nothing, and the bytes stay in the CPU cache.
 */
export class WriteSlab {
  #memory: Buffer | null = null
  #start = 0
  #isLent = false

  /** @returns at least 32 KiB; null while it is lent */
  lend (): Buffer | null {
    if (this.#isLent) return null
    if (this.#memory === null || this.#start > SIZE - MIN_ROOM) {
      this.#memory = Buffer.allocUnsafeSlow(SIZE)
      this.#start = 0
    }
    this.#isLent = true
    return this.#start === 0 ? this.#memory : this.#memory.subarray(this.#start)
  }

  /** @param kept bytes at the start of the lent memory that are still in use, and are not reused */
  takeBack (kept: number): void {
    assert(this.#isLent)
    this.#isLent = false
    this.#start += kept
  }
}
