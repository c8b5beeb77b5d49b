/** What tells the time and calls back, so that a test can be the one who does both. */
export interface Clock {
  /** Milliseconds, which only go on. */
  now (): number
  /** Calls back once, in so many milliseconds at the earliest. @returns takes that back */
  after (milliseconds: number, callback: () => void): () => void
}

export const CLOCK: Clock = {
  now: () => performance.now(),
  after (milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds)
    return () => { clearTimeout(timer) }
  }
}
