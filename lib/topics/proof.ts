// Proves that the messages a broker has kept are complete. Numbers alone do not suffice: a broker restored from an older state gives the
// same numbers to other messages. So each message refers to the one before it by a unique tag.
import type { Entry, Head } from '../../types/topics.ts'
import { isSame } from './position.ts'

/** A broker's answer to read(). */
export class Proof {
  readonly head: Head
  readonly #entries: readonly Entry[]
  // index from which each entry follows the one before, up to the head
  readonly #chained: number

  constructor (head: Head, entries: readonly Entry[]) {
    this.head = head
    this.#entries = entries
    let start = entries.length
    let next: Entry | null = null
    while (start > 0) {
      const entry = entries[start - 1]!
      if (next === null ? !isSame(entry.head, head) : !follows(next, entry.head)) break
      next = entry
      start--
    }
    this.#chained = start
  }

  /** @returns all messages published after `since`, in order; null if completeness cannot be proven */
  since (since: Head): readonly Entry[] | null {
    const { head } = this
    if (since.epoch !== head.epoch) return null
    if (since.number >= head.number) return isSame(since, head) ? [] : null
    const first = this.#indexAfter(since.number)
    if (first < this.#chained || first === this.#entries.length) return null
    return follows(this.#entries[first]!, since) ? this.#entries.slice(first) : null
  }

  /** The index of the first entry with a higher number. */
  #indexAfter (number: number): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#entries[middle]!.head.number > number) high = middle
      else low = middle + 1
    }
    return low
  }
}

/** Whether `entry` is the next message after `head`. */
export function follows ({ head: { epoch }, previous, previousTag }: Entry, head: Head): boolean {
  return epoch === head.epoch && previous === head.number && (previousTag === null || previousTag === head.tag)
}
