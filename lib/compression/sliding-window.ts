/** The last bytes of a direction, as in LZ77's sliding window. A copy, so that no message is kept alive. */
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
    // not from Node's pool: a slice would keep the whole pool alive
    const next = Buffer.allocUnsafeSlow(kept + added)
    this.#bytes.copy(next, 0, this.#bytes.length - kept)
    bytes.copy(next, kept, bytes.length - added)
    this.#bytes = next
  }
}
