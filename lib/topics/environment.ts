// Time and chance, from outside: a simulation brings its own. Nothing else in this folder knows any.
import { performance } from 'node:perf_hooks'

export interface Environment {
  /** Milliseconds since whenever. */
  readonly clock: () => number
  /** From 0 up to but not including 1. */
  readonly random: () => number
  /** Calls `callback` after so many milliseconds. @param isAwaited whether the process stays alive for it. Default: false @returns undoes that */
  readonly schedule: (callback: () => void, delay: number, isAwaited?: boolean) => () => void
}

export const NODE: Environment = {
  clock: () => performance.now(),
  random: () => Math.random(),
  schedule: (callback, delay, isAwaited = false) => {
    const timer = setTimeout(callback, delay)
    if (!isAwaited) timer.unref()
    return () => { clearTimeout(timer) }
  }
}

const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz'

/** Eight letters and digits. */
export function randomTag (random: () => number): string {
  let tag = ''
  for (let i = 0; i < 8; i++) tag += LETTERS[Math.floor(random() * LETTERS.length)]!
  return tag
}
