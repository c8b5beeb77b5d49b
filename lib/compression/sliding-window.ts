/** The last bytes of what went through, as the sliding window of LZ77 has them. A copy: no message is kept. */
export class SlidingWindow {
  readonly #size: number
  #bytes: Buffer = Buffer.alloc(0)

  constructor (size: number) {
    this.#size = size
  }

  /** Not to be changed; add() makes new ones. */
  get bytes (): Buffer { return this.#bytes }

  add (bytes: Buffer): void {
    const kept = Math.max(0, Math.min(this.#bytes.length, this.#size - bytes.length))
    const added = Math.min(bytes.length, this.#size)
    // of its own: memory of Node's pool would keep all the rest of that
    const next = Buffer.allocUnsafeSlow(kept + added)
    this.#bytes.copy(next, 0, this.#bytes.length - kept)
    bytes.copy(next, kept, bytes.length - added)
    this.#bytes = next
  }
}
