// What takes time before it becomes frames, and what waits behind that: messages and Close keep the order of their calls.
import type { SendCallback } from '../../../types/connection.ts'
import { Fifo } from '../../framing/fifo.ts'
import { nextTurn, TurnClock } from '../turn-clock.ts'

export interface QueueEntry {
  /** Bytes of the message that wait in the queue. */
  readonly size: number
  readonly callback?: SendCallback | undefined
  /** Called at its turn: turns it into frames. What is behind waits until the promise is settled. */
  run (): Promise<void> | void
  /** Of an entry that lasts until somebody ends it: it will not have its turn, or has lost it. */
  onCut? (): void
}

// Bytes that an entry takes besides its message: 200,000 empty messages are 50 MB as well.
const ENTRY_OVERHEAD = 256
// Fairness: the clock is read once in this many entries.
const ENTRIES_BETWEEN_LOOKS = 16

export class SendQueue {
  readonly #entries = new Fifo<QueueEntry>()
  // bytes of all entries; and of those before the first that somebody has to end
  #size = 0
  #sizeInWork = 0
  // entries that somebody has to end
  #open = 0
  #isRunning = false
  readonly #onError: (error: Error, callback: SendCallback | undefined) => void

  /** @param onError called for an entry that threw: it is not sent, and what is behind it has its turn */
  constructor (onError: (error: Error, callback: SendCallback | undefined) => void) {
    this.#onError = onError
  }

  get isEmpty (): boolean { return this.#entries.isEmpty }
  /** Bytes of memory, overhead included. */
  get size (): number { return this.#size }

  /** The part of it that waits only for work to be done, and not behind an entry that somebody has to end. */
  get sizeInWork (): number { return this.#sizeInWork }

  add (entry: QueueEntry): void {
    this.#entries.push(entry)
    this.#size += sizeOf(entry)
    if (isOpen(entry)) this.#open++
    if (this.#open === 0) this.#sizeInWork += sizeOf(entry)
    if (!this.#isRunning) void this.#run()
  }

  /** Drops the first entry that somebody would have to end, and all behind it. @returns their callbacks */
  cut (): SendCallback[] {
    if (this.#open === 0) return []
    let first = 0
    for (const entry of this.#entries) {
      if (isOpen(entry)) break
      first++
    }
    return this.#drop(first)
  }

  /** Drops everything. @returns the callbacks of what was not sent */
  clear (): SendCallback[] {
    return this.#drop(0)
  }

  #drop (first: number): SendCallback[] {
    const dropped = this.#entries.cut(first)
    this.#size = this.#open = 0
    for (const entry of this.#entries) this.#size += sizeOf(entry)
    this.#sizeInWork = this.#size // as nothing that is left is open
    for (const entry of dropped) entry.onCut?.()
    return dropped.map(({ callback }) => callback).filter(callback => callback !== undefined)
  }

  async #run (): Promise<void> {
    this.#isRunning = true
    const turnClock = new TurnClock()
    let ran = 0
    for (let entry = this.#entries.peek(); entry !== undefined; entry = this.#entries.peek()) {
      try {
        const done = entry.run()
        if (done !== undefined) await done
      } catch (error) { // such as running out of memory
        this.#onError(error as Error, entry.callback)
      }
      if (this.#entries.peek() === entry) this.#takeOut(entry) // if not, it was dropped meanwhile
      if (++ran % ENTRIES_BETWEEN_LOOKS === 0 && turnClock.isOver) await nextTurn()
    }
    this.#isRunning = false
  }

  #takeOut (entry: QueueEntry): void {
    this.#entries.shift()
    this.#size -= sizeOf(entry)
    if (!isOpen(entry)) {
      this.#sizeInWork -= sizeOf(entry)
      return
    }
    // what stood behind it can be worked on now, up to the next that somebody has to end
    this.#open--
    for (const behind of this.#entries) {
      if (isOpen(behind)) break
      this.#sizeInWork += sizeOf(behind)
    }
  }
}

function isOpen (entry: QueueEntry): boolean {
  return entry.onCut !== undefined
}

function sizeOf (entry: QueueEntry): number {
  return isOpen(entry) ? entry.size : entry.size + ENTRY_OVERHEAD // the memory of a stream is its writer's
}
