// Whether the peer is still there: whether it sends anything, and whether it takes what we send.
import type { Role } from '../protocol/role.ts'
import { Heartbeat, type HeartbeatListener } from './heartbeat.ts'

export interface LivenessSettings {
  /** Milliseconds: of silence before a Ping (interval), until the peer then counts as gone (timeout), between round-trip Pings (rtt). Or false. */
  readonly heartbeat: { readonly interval: number, readonly timeout: number, readonly rtt?: number | undefined } | false
  /** Milliseconds that unsent bytes may wait without any progress. */
  readonly stallTimeout: number
  /** Only a client checks its connection after this machine slept; a server's clients reconnect by themselves. */
  readonly role: Role
}

export interface LivenessOwner {
  /** We are reading; while we are not, the peer's silence means nothing. */
  isReading (): boolean
  hasUnsentBytes (): boolean
  /** Bytes that the transport has taken since the start. */
  bytesWritten (): number
  /** Send a Ping. */
  onSilence (): void
  /** The peer is gone: the Ping was not answered in time. */
  onDead (): void
  /** The peer has stopped taking what we send. */
  onStalled (): void
  /** The process exits once this returns: messages of this tick have to be written now. */
  onExit (): void
}

// The beat period is a fraction of the shortest configured time, at most a second.
const BEATS = 8
const MIN_PERIOD = 5
const MAX_PERIOD = 1000
// Milliseconds to answer the Ping that a client sends after sleep, unless `timeout` is shorter.
const AFTER_SLEEP = 5_000

export class Liveness implements HeartbeatListener {
  readonly #settings: LivenessSettings
  readonly #owner: LivenessOwner
  readonly #heartbeat: Heartbeat
  // heartbeat.interval with up to 10 % taken off, so that connections opened together do not ping together
  readonly #interval: number
  #heardAt: number
  #askedAt: number | null = null
  #progressAt: number
  // bytes that the transport had taken at the last beat
  #written = 0

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
    const written = this.#owner.bytesWritten()
    if (written !== this.#written || !this.#owner.hasUnsentBytes()) {
      this.#written = written
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
      // While we are not reading, the Pong may be waiting for us; while bytes are unsent, the Ping is behind them and stallTimeout
      // applies. The next Ping reveals whether the peer has closed TCP.
      if (this.#owner.isReading() && !this.#owner.hasUnsentBytes()) this.#owner.onDead()
      else this.#ask(now)
    }
  }

  #ask (now: number): void {
    this.#askedAt = now
    this.#owner.onSilence()
  }
}
