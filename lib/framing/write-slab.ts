import assert from 'node:assert'

const SIZE = 64 * 1024
// Room for any frame that a FrameSerializer copies, except for a long text.
const MIN_ROOM = 32 * 1024

/**
 * Memory in which one sender at a time lays out what it writes next. Once the kernel has taken that, the next sender uses the same bytes:
 * nothing is allocated for a write, and the bytes stay in the processor's cache.
 */
export class WriteSlab {
  #memory: Buffer | null = null
  #start = 0
  #isLent = false

  /** @returns at least 32 KiB; null while somebody else has it */
  lend (): Buffer | null {
    if (this.#isLent) return null
    if (this.#memory === null || this.#start > SIZE - MIN_ROOM) {
      this.#memory = Buffer.allocUnsafeSlow(SIZE)
      this.#start = 0
    }
    this.#isLent = true
    return this.#start === 0 ? this.#memory : this.#memory.subarray(this.#start)
  }

  /** @param kept bytes at the start of what was lent that are still referred to: they are not written to again */
  takeBack (kept: number): void {
    assert(this.#isLent)
    this.#isLent = false
    this.#start += kept
  }
}
