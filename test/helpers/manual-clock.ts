import type { Clock } from '../../lib/clock.ts'

/** Goes on when it is told to, and calls back what is due on the way, in order. */
export class ManualClock implements Clock {
  #now = 0
  #timers: Array<{ at: number, callback: () => void }> = []

  now (): number { return this.#now }

  after (milliseconds: number, callback: () => void): () => void {
    const timer = { at: this.#now + milliseconds, callback }
    this.#timers.push(timer)
    return () => { this.#timers = this.#timers.filter(other => other !== timer) }
  }

  /** How many callbacks are due some time. */
  get pending (): number { return this.#timers.length }

  advance (milliseconds: number): void {
    const end = this.#now + milliseconds
    for (;;) {
      const [first] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)
      if (first === undefined) break
      this.#timers = this.#timers.filter(other => other !== first)
      this.#now = first.at
      first.callback()
    }
    this.#now = end
  }
}
