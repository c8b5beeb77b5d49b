/** What the sender of one connection is told about its unsent bytes, and whether it obeys. */
export class Backpressure {
  readonly #highWaterMark: number
  #mustWait = false
  // bytes that were unsent after the last message that was sent without being told to wait
  #obedientAmount = 0
  #waiters: Array<(mayGoOn: boolean) => void> | null = null

  /** @param highWaterMark unsent bytes from which the sender is to wait */
  constructor (highWaterMark: number) {
    this.#highWaterMark = highWaterMark
  }

  /** Until all is out. */
  get mustWait (): boolean { return this.#mustWait }

  /** A message was sent. @param unsent bytes, with it @returns false when the sender is to wait */
  sent (unsent: number): boolean {
    if (!this.#mustWait) this.#obedientAmount = unsent
    this.#mustWait ||= unsent >= this.#highWaterMark
    return !this.#mustWait
  }

  /** More is unsent than a sender that waits when it is told to can ever have, even after a large message. */
  isExceededBy (unsent: number): boolean {
    return unsent > Math.max(2 * this.#highWaterMark, this.#obedientAmount)
  }

  /** Everything is out. */
  drained (): void {
    this.#mustWait = false
    this.#obedientAmount = 0
  }

  /** Resolves at the next tell(). */
  wait (): Promise<boolean> {
    return new Promise(resolve => { (this.#waiters ??= []).push(resolve) })
  }

  /** Wakes whoever waits. @param mayGoOn whether there is a point in sending more */
  tell (mayGoOn: boolean): void {
    const waiters = this.#waiters
    this.#waiters = null
    for (const resolve of waiters ?? []) resolve(mayGoOn)
  }
}
