import { CLOCK, type Clock } from '../clock.ts'
import { Heartbeat, type HeartbeatListener } from './heartbeat.ts'

export interface RoundTripOwner {
  /** Nothing stands before a Ping, and its Pong will be read when it comes. */
  mayMeasure (): boolean
  sendPing (payload: Buffer): void
  onRoundTrip (milliseconds: number): void
}

// As of the heartbeat: a beat is a fraction of the interval, and nothing needs more than one a second.
const BEATS = 8
const MIN_PERIOD = 5
const MAX_PERIOD = 1000
const LENGTH = 4

/**
 * Measures how long the peer takes to answer, by Pings of its own whatever else is sent: those of the heartbeat are for the silent alone, and a Pong
 * to an empty one answers none in particular.
 */
export class RoundTrip implements HeartbeatListener {
  /** Milliseconds, of the last that was answered. */
  last: number | null = null
  readonly #interval: number
  readonly #owner: RoundTripOwner
  readonly #clock: Clock
  readonly #random: () => number
  readonly #heartbeat: Heartbeat
  // on the heartbeat's clock, which does not run while the event loop stands
  #due: number
  // what the payload says; null: no answer is expected. A small integer, where a Buffer would cost each connection 250 bytes
  #asked: number | null = null
  #sentAt = 0

  /** @param interval milliseconds from one Ping to the next */
  constructor (interval: number, owner: RoundTripOwner, clock: Clock = CLOCK, random: () => number = Math.random) {
    this.#interval = interval
    this.#owner = owner
    this.#clock = clock
    this.#random = random
    this.#heartbeat = Heartbeat.of(Math.min(MAX_PERIOD, Math.max(MIN_PERIOD, Math.ceil(interval / BEATS))))
    this.#due = this.#heartbeat.now
    this.#heartbeat.add(this)
  }

  stop (): void {
    this.#heartbeat.delete(this)
  }

  onExit (): void {}

  onBeat (now: number): void {
    if (!this.#owner.mayMeasure()) {
      this.#asked = null // its Pong may have to wait with us
      return
    }
    if (now < this.#due) return
    this.#due = now + Math.round(this.#interval * (1 - this.#random() / 10)) // many that were opened at once do not ping at once
    this.#asked = Math.floor(this.#random() * 2 ** 30)
    const payload = Buffer.alloc(LENGTH)
    payload.writeUInt32BE(this.#asked)
    this.#sentAt = this.#clock.now()
    this.#owner.sendPing(payload)
  }

  /** @returns whether a Pong is the answer to our last Ping */
  answers (payload: Buffer): boolean {
    if (this.#asked === null || payload.length !== LENGTH || payload.readUInt32BE() !== this.#asked) return false
    this.#asked = null
    this.last = this.#clock.now() - this.#sentAt
    this.#owner.onRoundTrip(this.last)
    return true
  }
}
