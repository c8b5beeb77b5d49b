// Clock, timers and random: the only source of them in this folder, so that a simulation can replace it.
import { performance } from 'node:perf_hooks'

export interface Environment {
  /** Milliseconds since an arbitrary point. */
  readonly clock: () => number
  /** From 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number
  /** Calls `callback` after `delay` ms. @param isAwaited whether it keeps the process alive. Default: false @returns cancels it */
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

/** Eight random letters and digits. */
export function randomTag (random: () => number): string {
  let tag = ''
  for (let i = 0; i < 8; i++) tag += LETTERS[Math.floor(random() * LETTERS.length)]!
  return tag
}

/** Milliseconds since 1970, to compare with what other machines say. */
export const wallClock = (): number => Date.now()

/** @param time as in RFC 3339 @returns as wallClock() does */
export const parseTime = (time: string): number => Date.parse(time)
