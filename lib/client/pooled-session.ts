import { setMaxListeners } from 'node:events'
import type { ClientHttp2Session } from 'node:http2'

// Maximum number of streams per session; the server may allow fewer.
const MOST_STREAMS = 100
// Milliseconds that a session without streams is kept.
const KEPT_IDLE = 10_000
// Milliseconds to answer a PING, and until the next PING is needed.
const PING_TIMEOUT = 5_000
const PING_INTERVAL = 10_000

export interface Clock {
  readonly now: () => number
  readonly setTimeout: (callback: () => void, milliseconds: number) => NodeJS.Timeout
}

const REAL: Clock = { now: () => performance.now(), setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds) }

/** An HTTP/2 session whose server accepts WebSockets. Counts its streams, as Node exposes neither their number nor that one is queued. */
export class PooledSession {
  readonly session: ClientHttp2Session
  readonly #onGone: (session: PooledSession) => void
  readonly #dead = new AbortController()
  #streams = 0
  #isUsable = true
  #idleTimer: NodeJS.Timeout | undefined
  #pingTimer: NodeJS.Timeout | undefined
  readonly #clock: Clock
  #believedUntil: number

  /** @param onGone called when it takes no more streams */
  constructor (session: ClientHttp2Session, onGone: (session: PooledSession) => void, clock: Clock = REAL) {
    this.session = session
    this.#onGone = onGone
    this.#clock = clock
    setMaxListeners(0, this.#dead.signal) // each pending handshake adds a listener
    this.#believedUntil = clock.now() + PING_INTERVAL
    // open streams go on
    session.on('goaway', () => { this.evict() })
    session.on('error', () => { this.evict() })
    session.on('close', () => {
      clearTimeout(this.#pingTimer)
      this.evict()
    })
    this.#rest()
  }

  get isUsable (): boolean { return this.#isUsable }
  get hasRoom (): boolean {
    return this.#isUsable && this.#streams < Math.min(this.session.remoteSettings.maxConcurrentStreams ?? MOST_STREAMS, MOST_STREAMS)
  }

  /** Aborted when a PING was not answered in time: pending handshakes fail. */
  get dead (): AbortSignal { return this.#dead.signal }

  take (): void {
    this.#streams++
    clearTimeout(this.#idleTimer)
    this.session.ref()
    this.#ask()
  }

  release (): void {
    this.#streams--
    if (this.#streams > 0) return
    if (this.#isUsable) this.#rest()
    else this.session.close()
  }

  /** Takes no more streams; open ones go on. */
  evict (): void {
    if (!this.#isUsable) return
    this.#isUsable = false
    clearTimeout(this.#idleTimer)
    this.#onGone(this)
    if (this.#streams === 0) this.session.destroy()
  }

  /** Without streams it does not keep the process alive, and is evicted after KEPT_IDLE. */
  #rest (): void {
    this.session.unref()
    this.#idleTimer = this.#clock.setTimeout(() => { this.evict() }, KEPT_IDLE).unref()
  }

  /** Sends a PING if the last answer is too old: a session that died silently would get all new handshakes until TCP gives up. */
  #ask (): void {
    if (this.#pingTimer !== undefined || this.#clock.now() < this.#believedUntil) return
    this.#pingTimer = this.#clock.setTimeout(() => {
      this.evict()
      this.#dead.abort()
    }, PING_TIMEOUT).unref()
    this.session.ping(() => {
      clearTimeout(this.#pingTimer)
      this.#pingTimer = undefined
      this.#believedUntil = this.#clock.now() + PING_INTERVAL
    })
  }
}
