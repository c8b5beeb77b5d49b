export interface BackoffSettings {
  readonly min: number
  readonly max: number
  readonly factor: number
}

/** How long to wait before the next attempt: full jitter, so that clients which a server lost at once do not come back at once. */
export class Backoff {
  readonly #settings: BackoffSettings
  readonly #random: () => number
  #failures = 0

  /** @param random a number from 0 up to but not including 1 */
  constructor (settings: BackoffSettings, random: () => number) {
    this.#settings = settings
    this.#random = random
  }

  /**
   * After one more attempt in vain.
   * @param atLeast milliseconds that the server has asked for; all who were told the same are spread over half of that behind it
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
