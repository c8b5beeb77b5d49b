// What takes its time before it is frames, and what waits behind that: messages and Close keep the order of their calls.
import type { SendCallback } from '../types/connection.ts'

export interface QueueEntry {
  /** Bytes that count as unsent while it is here. */
  readonly size: number
  readonly callback?: SendCallback | undefined
  /** Its turn: makes frames of it. What is behind waits until the promise resolves; it never rejects. */
  run (): Promise<void> | void
  /** For one that lasts until somebody ends it: it will not have a turn, or no longer. */
  onCut? (): void
}

export class SendQueue {
  #entries: QueueEntry[] = []
  #size = 0
  #isRunning = false

  get isEmpty (): boolean { return this.#entries.length === 0 }
  get size (): number { return this.#size }

  add (entry: QueueEntry): void {
    this.#entries.push(entry)
    this.#size += entry.size
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
      this.#size -= entry.size
      entry.onCut?.()
    }
    return dropped.map(({ callback }) => callback).filter(callback => callback !== undefined)
  }

  async #run (): Promise<void> {
    this.#isRunning = true
    for (let entry = this.#entries[0]; entry !== undefined; entry = this.#entries[0]) {
      const done = entry.run()
      if (done !== undefined) await done
      if (this.#entries[0] !== entry) continue // it was dropped meanwhile
      this.#entries.shift()
      this.#size -= entry.size
    }
    this.#isRunning = false
  }
}
