/** Gets periodic beats, one listener per connection. */
export interface HeartbeatListener {
  /** @param now milliseconds on the heartbeat's clock */
  onBeat (now: number): void
  /** The machine or this process was suspended. Called before onBeat(). */
  onWake? (now: number): void
  /** The process exits once this returns. */
  onExit (): void
}

// Milliseconds the wall clock must be ahead of the beats to count as sleep: more than a busy event loop or a clock correction explains.
const ASLEEP = 5_000

/**
 * One timer for all connections with the same period, with a clock that stops while the event loop is blocked: a peer is not blamed for data that a
 * busy process read too late.
 */
export class Heartbeat {
  static readonly #byPeriod = new Map<number, Heartbeat>()

  readonly #period: number
  readonly #listeners = new Set<HeartbeatListener>()
  #timer: NodeJS.Timeout | null = null
  #lastBeat = 0
  // on the wall clock: the monotonic clock may stop while the machine sleeps
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

  /** Milliseconds; advances at each beat. */
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
    // rounded: V8 stores a small integer inline in each connection's object
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
