// Time and chance, from outside: a simulation brings its own. Nothing else in this folder knows any.
import { performance } from 'node:perf_hooks'

export interface Environment {
  /** Milliseconds since whenever. */
  readonly clock: () => number
  /** From 0 up to but not including 1. */
  readonly random: () => number
  /** Calls `callback` after so many milliseconds, and does not keep the process alive for it. @returns undoes that */
  readonly schedule: (callback: () => void, delay: number) => () => void
}

export const NODE: Environment = {
  clock: () => performance.now(),
  random: () => Math.random(),
  schedule: (callback, delay) => {
    const timer = setTimeout(callback, delay).unref()
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
