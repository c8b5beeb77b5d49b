/** Tells the sender of one connection when to wait, and notices if it does not. */
export class Backpressure {
  readonly #highWaterMark: number
  #mustWait = false
  // unsent bytes after the last message sent while the sender need not wait
  #obedientAmount = 0
  #waiters: Array<(mayGoOn: boolean) => void> | null = null

  /** @param highWaterMark unsent bytes from which the sender is to wait */
  constructor (highWaterMark: number) {
    this.#highWaterMark = highWaterMark
  }

  /** True from the high-water mark until everything is out. */
  get mustWait (): boolean { return this.#mustWait }

  /** A message was sent. @param unsent bytes, including this message @returns false if the sender is to wait */
  sent (unsent: number): boolean {
    if (!this.#mustWait) this.#obedientAmount = unsent
    this.#mustWait ||= unsent >= this.#highWaterMark
    return !this.#mustWait
  }

  /** More is unsent than a sender that respects backpressure can ever cause, even with a large message. */
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

  /** Resolves all wait() calls. @param mayGoOn whether sending more makes sense */
  tell (mayGoOn: boolean): void {
    const waiters = this.#waiters
    if (waiters === null) return
    this.#waiters = null
    for (const resolve of waiters) resolve(mayGoOn)
  }
}
