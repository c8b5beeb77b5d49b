import { setMaxListeners } from 'node:events'
import type { ClientHttp2Session } from 'node:http2'

// Streams of one session, if the server allows no fewer.
const MOST_STREAMS = 100
// Milliseconds that a session without streams is kept.
const KEPT_IDLE = 10_000
// Milliseconds for the answer to a PING, and for which one answer is believed.
const PING_TIMEOUT = 5_000
const PING_INTERVAL = 10_000

export interface Clock {
  readonly now: () => number
  readonly setTimeout: (callback: () => void, milliseconds: number) => NodeJS.Timeout
}

const REAL: Clock = { now: () => performance.now(), setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds) }

/** A session of HTTP/2 whose server takes WebSockets, and its streams that we have opened: Node tells neither their number nor that one has to wait. */
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

  /** @param onGone it takes no new streams */
  constructor (session: ClientHttp2Session, onGone: (session: PooledSession) => void, clock: Clock = REAL) {
    this.session = session
    this.#onGone = onGone
    this.#clock = clock
    setMaxListeners(0, this.#dead.signal) // each handshake that waits adds one
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

  /** Aborted when a PING has not been answered: what waits for an answer waits in vain. */
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

  /** Takes no new streams; those that are open may go on. */
  evict (): void {
    if (!this.#isUsable) return
    this.#isUsable = false
    clearTimeout(this.#idleTimer)
    this.#onGone(this)
    if (this.#streams === 0) this.session.destroy()
  }

  /** Nobody needs it: it does not keep the process. */
  #rest (): void {
    this.session.unref()
    this.#idleTimer = this.#clock.setTimeout(() => { this.evict() }, KEPT_IDLE).unref()
  }

  /** A session that has died silently would get every new attempt until TCP gives up. */
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
