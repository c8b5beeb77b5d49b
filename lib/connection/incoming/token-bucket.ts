/**
 * What somebody may take at a rate, and some of it at once. What was taken already may be more than there is: that is a debt, which is paid before
 * the next is taken.
 */
export class TokenBucket {
  readonly #rate: number
  readonly #capacity: number
  #tokens: number
  #at: number

  /** @param rate tokens for each second @param burst of how many seconds they are kept @param now milliseconds, as for all that follows */
  constructor (rate: number, burst: number, now: number) {
    this.#rate = rate / 1000
    this.#capacity = rate * burst
    this.#tokens = this.#capacity
    this.#at = now
  }

  take (count: number, now: number): void {
    this.#tokens = this.#tokensAt(now) - count
    this.#at = now
  }

  /** @returns milliseconds until so many are there, or as many as there can be */
  wait (count: number, now: number): number {
    const missing = Math.min(count, this.#capacity) - this.#tokensAt(now)
    return missing > 0 ? missing / this.#rate : 0
  }

  #tokensAt (now: number): number {
    return Math.min(this.#capacity, this.#tokens + (now - this.#at) * this.#rate)
  }
}
