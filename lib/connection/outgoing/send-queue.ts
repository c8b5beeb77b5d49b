// Messages that take time to become frames, and what waits behind them: messages and Close keep the order of their calls.
import type { SendCallback } from '../../../types/connection.ts'
import { Fifo } from '../../framing/fifo.ts'
import { nextTurn, TurnClock } from '../turn-clock.ts'

export interface QueueEntry {
  /** Bytes of the message that wait in the queue. */
  readonly size: number
  readonly callback?: SendCallback | undefined
  /** Called at its turn: turns it into frames. Later entries wait until the promise has settled. */
  run (): Promise<void> | void
  /** Only open entries have this, which last until the application ends them. Called when the entry is dropped. */
  onCut? (): void
}

export interface SendQueueOwner {
  /** run() of an entry failed: it is not sent, and the next has its turn. */
  onError (error: Error, callback: SendCallback | undefined): void
  /** Nothing waits any more. */
  onEmpty (): void
}

// Bytes an entry takes besides its message: even 200,000 empty messages take 50 MB.
const ENTRY_OVERHEAD = 256
// Fairness: the clock is read once per this many entries.
const ENTRIES_BETWEEN_LOOKS = 16

export class SendQueue {
  readonly #entries = new Fifo<QueueEntry>()
  // bytes of all entries, and of those before the first open one
  #size = 0
  #sizeInWork = 0
  // number of open entries
  #open = 0
  #isRunning = false
  readonly #owner: SendQueueOwner

  constructor (owner: SendQueueOwner) {
    this.#owner = owner
  }

  get isEmpty (): boolean { return this.#entries.isEmpty }
  /** Bytes of memory, overhead included. */
  get size (): number { return this.#size }

  /** The part of size that waits only for work such as compression, and not behind an open entry. */
  get sizeInWork (): number { return this.#sizeInWork }

  add (entry: QueueEntry): void {
    this.#entries.push(entry)
    this.#size += sizeOf(entry)
    if (isOpen(entry)) this.#open++
    if (this.#open === 0) this.#sizeInWork += sizeOf(entry)
    if (!this.#isRunning) void this.#run()
  }

  /** Drops the first open entry and all behind it. @returns their callbacks */
  cut (): SendCallback[] {
    if (this.#open === 0) return []
    let first = 0
    for (const entry of this.#entries) {
      if (isOpen(entry)) break
      first++
    }
    return this.#drop(first)
  }

  /** Drops everything. @returns the callbacks of unsent messages */
  clear (): SendCallback[] {
    return this.#drop(0)
  }

  #drop (first: number): SendCallback[] {
    const dropped = this.#entries.cut(first)
    this.#size = this.#open = 0
    for (const entry of this.#entries) this.#size += sizeOf(entry)
    this.#sizeInWork = this.#size // nothing left is open
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
        this.#owner.onError(error as Error, entry.callback)
      }
      if (this.#entries.peek() === entry) this.#takeOut(entry) // if not, it was dropped meanwhile
      if (++ran % ENTRIES_BETWEEN_LOOKS === 0 && turnClock.isOver) await nextTurn()
    }
    this.#isRunning = false
    this.#owner.onEmpty()
  }

  #takeOut (entry: QueueEntry): void {
    this.#entries.shift()
    this.#size -= sizeOf(entry)
    if (!isOpen(entry)) {
      this.#sizeInWork -= sizeOf(entry)
      return
    }
    // entries behind it can be worked on now, up to the next open one
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
  return isOpen(entry) ? entry.size : entry.size + ENTRY_OVERHEAD // the Writable accounts for its own memory
}
