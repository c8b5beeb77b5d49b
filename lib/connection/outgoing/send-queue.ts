// What takes its time before it is frames, and what waits behind that: messages and Close keep the order of their calls.
import type { SendCallback } from '../../../types/connection.ts'

export interface QueueEntry {
  /** Bytes that count as unsent while it is here. */
  readonly size: number
  readonly callback?: SendCallback | undefined
  /** Its turn: makes frames of it. What is behind waits until the promise is settled. */
  run (): Promise<void> | void
  /** For one that lasts until somebody ends it: it will not have a turn, or no longer. */
  onCut? (): void
}

export class SendQueue {
  readonly #entries: QueueEntry[] = []
  #size = 0
  // entries that somebody has to end
  #open = 0
  #isRunning = false
  readonly #onError: (error: Error, callback: SendCallback | undefined) => void

  /** @param onError told of an entry that threw: it is not sent, what is behind it has its turn */
  constructor (onError: (error: Error, callback: SendCallback | undefined) => void) {
    this.#onError = onError
  }

  get isEmpty (): boolean { return this.#entries.length === 0 }
  get size (): number { return this.#size }

  /** Of what waits for nothing but the work on it, so not behind an entry that somebody has to end. */
  get sizeInWork (): number {
    if (this.#open === 0) return this.#size
    let size = 0
    for (const entry of this.#entries) {
      if (entry.onCut !== undefined) break
      size += entry.size
    }
    return size
  }

  add (entry: QueueEntry): void {
    this.#entries.push(entry)
    this.#count(entry, 1)
    if (!this.#isRunning) void this.#run()
  }

  /** Drops the first entry that somebody would have to end, and all behind it. @returns their callbacks */
  cut (): SendCallback[] {
    const first = this.#entries.findIndex(entry => entry.onCut !== undefined)
    return first < 0 ? [] : this.#drop(first)
  }

  /** Drops everything. @returns the callbacks of what was not sent */
  clear (): SendCallback[] {
    return this.#drop(0)
  }

  #drop (first: number): SendCallback[] {
    const dropped = this.#entries.splice(first)
    for (const entry of dropped) {
      this.#count(entry, -1)
      entry.onCut?.()
    }
    return dropped.map(({ callback }) => callback).filter(callback => callback !== undefined)
  }

  async #run (): Promise<void> {
    this.#isRunning = true
    for (let entry = this.#entries[0]; entry !== undefined; entry = this.#entries[0]) {
      try {
        const done = entry.run()
        if (done !== undefined) await done
      } catch (error) { // memory that ran out
        this.#onError(error as Error, entry.callback)
      }
      if (this.#entries[0] !== entry) continue // it was dropped meanwhile
      this.#entries.shift()
      this.#count(entry, -1)
    }
    this.#isRunning = false
  }

  #count (entry: QueueEntry, sign: 1 | -1): void {
    this.#size += sign * entry.size
    if (entry.onCut !== undefined) this.#open += sign
  }
}
