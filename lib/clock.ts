/** Time and timers, which tests can replace. */
export interface Clock {
  /** Monotonic milliseconds. */
  now (): number
  /** Calls `callback` once, after at least this many milliseconds. @returns cancels it */
  after (milliseconds: number, callback: () => void): () => void
}

export const CLOCK: Clock = {
  now: () => performance.now(),
  after (milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds)
    return () => { clearTimeout(timer) }
  }
}
