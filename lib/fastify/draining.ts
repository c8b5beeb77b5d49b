// delay (handshakes are still taken) -> spread (they are refused, and connections leave one after the other) -> the last are waited for
import type { CloseInfo, ReadyState } from '../../types/connection.ts'
import { CLOCK, type Clock } from '../clock.ts'
import type { DrainSettings } from '../options/drain-settings.ts'

/** Of a connection, what it takes to let it go. */
export interface Drained {
  readonly readyState: ReadyState
  readonly closed: Promise<CloseInfo>
  shutDown (code: number, reason: Uint8Array): void
  terminate (): void
}

/** Who is drained: all registrations of one HTTP server. */
export interface Crowd {
  /** Those that are not closed yet. */
  connections (): Drained[]
  /** From now on handshakes are refused. */
  onRefusing (): void
  /** Milliseconds that connections have to answer once the last was told to go. */
  readonly shutdownTimeout: number
}

// Milliseconds between two steps: a client each, where there are few, but no more timers than anybody would see.
const MIN_STEP = 10
const MAX_STEP = 50

/**
 * Lets all connections of a server go while the rest of the app goes on. Who is last has a whole `spread` more than who is first, so that those
 * who come back elsewhere do not come all at once.
 */
export class Draining {
  /** Resolves when all are gone; never rejects. */
  readonly done: Promise<void>
  readonly #settings: DrainSettings
  readonly #crowd: Crowd
  readonly #clock: Clock
  readonly #random: () => number
  #phase: 'delay' | 'spread' | 'waiting' = 'delay'
  #isHurried = false
  #cancel: () => void = () => {}
  #setDone!: () => void
  // since when they leave, in which order, and how many were told to
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

  /** Whoever is left is told at once. */
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

  /** The k-th of n leaves at k/n of the spread; who has left by himself leaves a hole. */
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

/** In a random order (Fisher and Yates): who came together does not leave together. */
function shuffled<Element> (list: Element[], random: () => number): Element[] {
  for (let last = list.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const element = list[last]!
    list[last] = list[other]!
    list[other] = element
  }
  return list
}
