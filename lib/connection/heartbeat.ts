/** Who wants to be asked about its connection from time to time. */
export interface HeartbeatListener {
  /** @param now milliseconds on the heartbeat's clock */
  onBeat (now: number): void
  /** Time has passed that the clock has not seen: the machine has slept, or this process has. Before the beat. */
  onWake? (now: number): void
  /** The process ends when this returns. */
  onExit (): void
}

// The wall clock is so much ahead of the beats, in milliseconds: more than a busy event loop, or a correction of that clock.
const ASLEEP = 5_000

/**
 * What knows all open connections: one timer for those with the same rhythm, and a clock that stands still while the event loop does: what a
 * busy process was too late to read is not held against the peer.
 */
export class Heartbeat {
  static readonly #byPeriod = new Map<number, Heartbeat>()

  readonly #period: number
  readonly #listeners = new Set<HeartbeatListener>()
  #timer: NodeJS.Timeout | null = null
  #lastBeat = 0
  // by the wall clock: where the machine sleeps the other one may stand still
  #lastBeatDate = 0
  #now = 0

  /** @param period milliseconds between two beats */
  static of (period: number): Heartbeat {
    let heartbeat = Heartbeat.#byPeriod.get(period)
    if (heartbeat === undefined) {
      if (Heartbeat.#byPeriod.size === 0) process.on('exit', Heartbeat.#onExit)
      heartbeat = new Heartbeat(period)
      Heartbeat.#byPeriod.set(period, heartbeat)
    }
    return heartbeat
  }

  static readonly #onExit = (): void => {
    for (const heartbeat of Heartbeat.#byPeriod.values()) for (const listener of heartbeat.#listeners) listener.onExit()
  }

  private constructor (period: number) {
    this.#period = period
  }

  /** Milliseconds; goes on by beats. */
  get now (): number {
    return this.#now
  }

  add (listener: HeartbeatListener): void {
    this.#listeners.add(listener)
    if (this.#timer !== null) return
    this.#lastBeat = performance.now()
    this.#lastBeatDate = Date.now()
    this.#timer = setInterval(() => { this.#beat() }, this.#period)
    this.#timer.unref()
  }

  delete (listener: HeartbeatListener): void {
    this.#listeners.delete(listener)
    if (this.#listeners.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  #beat (): void {
    const time = performance.now()
    // as an integer, as which V8 keeps it in the object of each connection that remembers it
    const passed = Math.min(Math.round(time - this.#lastBeat), 2 * this.#period)
    this.#now += passed
    this.#lastBeat = time
    const date = Date.now()
    const hasSlept = date - this.#lastBeatDate - passed > ASLEEP
    this.#lastBeatDate = date
    if (hasSlept) for (const listener of this.#listeners) listener.onWake?.(this.#now)
    for (const listener of this.#listeners) listener.onBeat(this.#now)
  }
}
