/** The last bytes that went through, as in the sliding window of LZ77. They are a copy, so that no message is kept in memory. */
export class SlidingWindow {
  readonly #size: number
  #bytes: Buffer = Buffer.alloc(0)

  constructor (size: number) {
    this.#size = size
  }

  /** Not to be modified; add() replaces it. */
  get bytes (): Buffer { return this.#bytes }

  add (bytes: Buffer): void {
    const kept = Math.max(0, Math.min(this.#bytes.length, this.#size - bytes.length))
    const added = Math.min(bytes.length, this.#size)
    // in memory of its own: a slice of Node's pool would keep the whole pool
    const next = Buffer.allocUnsafeSlow(kept + added)
    this.#bytes.copy(next, 0, this.#bytes.length - kept)
    bytes.copy(next, kept, bytes.length - added)
    this.#bytes = next
  }
}
