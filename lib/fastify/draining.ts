// delay (handshakes are still accepted) -> spread (they are refused, and connections are closed one by one) -> waiting (for the last to close)
import type { CloseInfo, ReadyState } from '../../types/connection.ts'
import { CLOCK, type Clock } from '../clock.ts'
import type { DrainSettings } from '../options/drain-settings.ts'

/** What draining needs of a connection. */
export interface Drained {
  readonly readyState: ReadyState
  readonly closed: Promise<CloseInfo>
  shutDown (code: number, reason: Uint8Array): void
  terminate (): void
}

/** What is drained: the connections of all registrations of one HTTP server. */
export interface Crowd {
  /** Connections not closed yet. */
  connections (): Drained[]
  /** Handshakes are refused from now on. */
  onRefusing (): void
  /** Milliseconds that connections have to answer our Close, once the last has been sent. */
  readonly shutdownTimeout: number
}

// Milliseconds between two steps: one client per step if there are few, without needlessly frequent timers.
const MIN_STEP = 10
const MAX_STEP = 50

/**
 * Closes all connections of a server while the rest of the app goes on, spread over time, so that clients do not all reconnect elsewhere at once.
 */
export class Draining {
  /** Resolves when all connections are closed; never rejects. */
  readonly done: Promise<void>
  readonly #settings: DrainSettings
  readonly #crowd: Crowd
  readonly #clock: Clock
  readonly #random: () => number
  #phase: 'delay' | 'spread' | 'waiting' = 'delay'
  #isHurried = false
  #cancel: () => void = () => {}
  #setDone!: () => void
  // when the spread began, the connections in the order in which they are closed, and how many were sent Close
  #begin = 0
  #leaving: Drained[] = []
  #told = 0

  constructor (settings: DrainSettings, crowd: Crowd, clock: Clock = CLOCK, random: () => number = Math.random) {
    this.#settings = settings
    this.#crowd = crowd
    this.#clock = clock
    this.#random = random
    this.done = new Promise(resolve => { this.#setDone = resolve })
  }

  begin (): void {
    const { delay, signal } = this.#settings
    signal?.addEventListener('abort', this.#onAbort)
    if (signal?.aborted === true) this.hurry()
    else if (delay === 0) this.#start()
    else this.#cancel = this.#clock.after(delay, () => { this.#start() })
  }

  /** Handshakes are refused. */
  get isRefusing (): boolean { return this.#phase !== 'delay' }

  /** Closes all remaining connections at once. */
  hurry (): void {
    if (this.#phase === 'waiting' || this.#isHurried) return
    this.#isHurried = true
    this.#cancel()
    if (this.#phase === 'delay') this.#start()
    else this.#step()
  }

  readonly #onAbort = (): void => { this.hurry() }

  #start (): void {
    this.#phase = 'spread'
    this.#crowd.onRefusing()
    this.#leaving = shuffled(this.#crowd.connections(), this.#random)
    this.#begin = this.#clock.now()
    this.#step()
  }

  /** Closes the k-th of n connections at k/n of the spread; one that is already closed keeps its time slot. */
  #step (): void {
    const { spread, code, reason } = this.#settings
    const count = this.#leaving.length
    const elapsed = this.#clock.now() - this.#begin
    const due = this.#isHurried || elapsed >= spread ? count : Math.floor(count * elapsed / spread)
    while (this.#told < due) this.#leaving[this.#told++]!.shutDown(code, reason)
    if (due === count) this.#wait()
    else this.#cancel = this.#clock.after(Math.min(MAX_STEP, Math.max(MIN_STEP, spread / count)), () => { this.#step() })
  }

  #wait (): void {
    this.#phase = 'waiting'
    this.#leaving = []
    const left = this.#crowd.connections()
    const cancel = this.#clock.after(this.#crowd.shutdownTimeout, () => { for (const connection of left) connection.terminate() })
    void Promise.all(left.map(({ closed }) => closed)).then(() => {
      cancel()
      this.#settings.signal?.removeEventListener('abort', this.#onAbort)
      this.#setDone()
    })
  }
}

/** Shuffles in place (Fisher–Yates): connections opened together are not closed together. */
function shuffled<Element> (list: Element[], random: () => number): Element[] {
  for (let last = list.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const element = list[last]!
    list[last] = list[other]!
    list[other] = element
  }
  return list
}
