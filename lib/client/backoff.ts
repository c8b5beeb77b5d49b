export interface BackoffSettings {
  readonly min: number
  readonly max: number
  readonly factor: number
}

/** Exponential backoff with full jitter, so that clients that lost a server together do not all come back together. */
export class Backoff {
  readonly #settings: BackoffSettings
  readonly #random: () => number
  #failures = 0

  /** @param random returns a number from 0 (inclusive) to 1 (exclusive) */
  constructor (settings: BackoffSettings, random: () => number) {
    this.#settings = settings
    this.#random = random
  }

  /**
   * The delay after one more failed attempt.
   * @param atLeast milliseconds that the server asked for; clients told the same are spread over another half of that
   * @returns milliseconds
   */
  next (atLeast: number | null): number {
    const { min, max, factor } = this.#settings
    const limit = Math.min(max, min * factor ** this.#failures++)
    if (atLeast === null) return Math.round(this.#random() * limit)
    return Math.round(atLeast + this.#random() * Math.max(limit, atLeast / 2))
  }

  reset (): void {
    this.#failures = 0
  }
}
