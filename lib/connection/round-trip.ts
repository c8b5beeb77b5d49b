import { CLOCK, type Clock } from '../clock.ts'
import { Heartbeat, type HeartbeatListener } from './heartbeat.ts'

export interface RoundTripOwner {
  /** A Ping would go out at once, and its Pong would be read when it arrives. */
  mayMeasure (): boolean
  sendPing (payload: Buffer): void
  onRoundTrip (milliseconds: number): void
}

// As for the heartbeat: the beat period is a fraction of the interval, at most a second.
const BEATS = 8
const MIN_PERIOD = 5
const MAX_PERIOD = 1000
const LENGTH = 4

/**
 * Measures how long the peer takes to answer, with Pings of its own: those of the heartbeat go only to silent peers, and are empty, so that a Pong
 * cannot be matched to one of them.
 */
export class RoundTrip implements HeartbeatListener {
  /** The last measured round trip, in milliseconds. */
  last: number | null = null
  readonly #interval: number
  readonly #owner: RoundTripOwner
  readonly #clock: Clock
  readonly #random: () => number
  readonly #heartbeat: Heartbeat
  // on the heartbeat's clock, which stops while the event loop is blocked
  #due: number
  // the payload of the pending Ping; null: none. A small integer, as a Buffer would cost 250 bytes per connection
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
      this.#asked = null // we may be late in reading its Pong
      return
    }
    if (now < this.#due) return
    this.#due = now + Math.round(this.#interval * (1 - this.#random() / 10)) // connections opened together do not ping together
    this.#asked = Math.floor(this.#random() * 2 ** 30)
    const payload = Buffer.alloc(LENGTH)
    payload.writeUInt32BE(this.#asked)
    this.#sentAt = this.#clock.now()
    this.#owner.sendPing(payload)
  }

  /** @returns whether this Pong answers our pending Ping */
  answers (payload: Buffer): boolean {
    if (this.#asked === null || payload.length !== LENGTH || payload.readUInt32BE() !== this.#asked) return false
    this.#asked = null
    this.last = this.#clock.now() - this.#sentAt
    this.#owner.onRoundTrip(this.last)
    return true
  }
}
