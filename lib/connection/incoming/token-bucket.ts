/**
 * Tokens arrive at a fixed rate, up to a capacity. take() may take more than there are, which leaves a debt that later tokens pay off.
 */
export class TokenBucket {
  readonly #rate: number
  readonly #capacity: number
  #tokens: number
  #at: number

  /** @param rate tokens per second @param burst capacity in seconds of `rate` @param now milliseconds, here and below */
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

  /** @returns milliseconds until `count` tokens are available, or the bucket is full if it holds fewer */
  wait (count: number, now: number): number {
    const missing = Math.min(count, this.#capacity) - this.#tokensAt(now)
    return missing > 0 ? missing / this.#rate : 0
  }

  #tokensAt (now: number): number {
    return Math.min(this.#capacity, this.#tokens + (now - this.#at) * this.#rate)
  }
}
