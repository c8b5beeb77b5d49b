// Whether there is still a peer at the other end: by what is heard from it, and by whether it takes what is sent.
import type { Role } from '../protocol/role.ts'
import { Heartbeat, type HeartbeatListener } from './heartbeat.ts'

export interface LivenessSettings {
  /** Milliseconds of silence before a Ping, and then until the peer counts as gone, and between Pings that measure; or false. */
  readonly heartbeat: { readonly interval: number, readonly timeout: number, readonly rtt?: number | undefined } | false
  /** Milliseconds that unsent bytes may wait without any progress. */
  readonly stallTimeout: number
  /** A client's connection may have died while this machine slept; a server's clients come back by themselves. */
  readonly role: Role
}

export interface LivenessOwner {
  /** We read what the peer sends; while we do not, its silence says nothing. */
  isReading (): boolean
  hasUnsentBytes (): boolean
  /** Ask the peer for a sign of life. */
  onSilence (): void
  /** The peer is gone: it gave no sign of life when it was asked. */
  onDead (): void
  /** The peer is as good as gone: it takes nothing of what is sent. */
  onStalled (): void
  /** The process ends when this returns: what was sent in this tick has to go out now. */
  onExit (): void
}

// A beat is a fraction of the shortest time that is measured in beats, and nothing needs more than one a second.
const BEATS = 8
const MIN_PERIOD = 5
const MAX_PERIOD = 1000
// Milliseconds for the answer to the question that a client asks when it wakes, if `timeout` is not less.
const AFTER_SLEEP = 5_000

export class Liveness implements HeartbeatListener {
  readonly #settings: LivenessSettings
  readonly #owner: LivenessOwner
  readonly #heartbeat: Heartbeat
  // heartbeat.interval, less a little: many connections that were opened at once do not ping at once
  readonly #interval: number
  #heardAt: number
  #askedAt: number | null = null
  #progressAt: number

  constructor (settings: LivenessSettings, owner: LivenessOwner) {
    this.#settings = settings
    this.#owner = owner
    const { heartbeat, stallTimeout } = settings
    this.#interval = heartbeat === false ? 0 : Math.round(heartbeat.interval * (1 - Math.random() / 10))
    const shortest = heartbeat === false ? stallTimeout : Math.min(heartbeat.interval, heartbeat.timeout, stallTimeout)
    this.#heartbeat = Heartbeat.of(Math.min(MAX_PERIOD, Math.max(MIN_PERIOD, Math.ceil(shortest / BEATS))))
    this.#heardAt = this.#progressAt = this.#heartbeat.now
    this.#heartbeat.add(this)
  }

  /** Any byte from the peer is a sign of life. */
  heard (): void {
    this.#heardAt = this.#heartbeat.now
    this.#askedAt = null
  }

  /** The transport took bytes. */
  progressed (): void {
    this.#progressAt = this.#heartbeat.now
  }

  stop (): void {
    this.#heartbeat.delete(this)
  }

  onExit (): void {
    this.#owner.onExit()
  }

  onWake (now: number): void {
    const { heartbeat, role } = this.#settings
    if (heartbeat === false || role !== 'client') return
    this.#ask(now)
    this.#askedAt = now - Math.max(heartbeat.timeout - AFTER_SLEEP, 0)
  }

  onBeat (now: number): void {
    if (!this.#owner.hasUnsentBytes()) {
      this.#progressAt = now
    } else if (now - this.#progressAt >= this.#settings.stallTimeout) {
      this.#owner.onStalled()
      return
    }
    const { heartbeat } = this.#settings
    if (heartbeat === false) return
    if (this.#askedAt === null) {
      if (now - this.#heardAt >= this.#interval) this.#ask(now)
    } else if (now - this.#askedAt >= heartbeat.timeout) {
      // While we do not read, the answer may be there; while bytes wait, the Ping waits behind them, and stallTimeout judges.
      // The next Ping finds out whether the peer has closed TCP.
      if (this.#owner.isReading() && !this.#owner.hasUnsentBytes()) this.#owner.onDead()
      else this.#ask(now)
    }
  }

  #ask (now: number): void {
    this.#askedAt = now
    this.#owner.onSilence()
  }
}
