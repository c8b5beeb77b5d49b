// Whether what a broker has kept is all that there was. Numbers alone do not say so: a broker that comes back with what it had a while ago
// gives the same ones to other messages. So each message names the one before it, by a tag that no other has.
import type { Entry, Head } from '../../types/topics.ts'
import { isSame } from './position.ts'

/** What a broker has answered to a read(). */
export class Proof {
  readonly head: Head
  readonly #entries: readonly Entry[]
  // from here on each entry is the next of the one before, up to the head
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

  /** @returns all that was published after `since`, in order; null where that cannot be proven */
  since (since: Head): readonly Entry[] | null {
    const { head } = this
    if (since.epoch !== head.epoch) return null
    if (since.number >= head.number) return isSame(since, head) ? [] : null
    const first = this.#indexAfter(since.number)
    if (first < this.#chained || first === this.#entries.length) return null
    return follows(this.#entries[first]!, since) ? this.#entries.slice(first) : null
  }

  /** The first entry whose number is higher. */
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

/** Whether there was nothing between `head` and `entry`. */
export function follows ({ head: { epoch }, previous, previousTag }: Entry, head: Head): boolean {
  return epoch === head.epoch && previous === head.number && (previousTag === null || previousTag === head.tag)
}
