import type { Http2Session } from 'node:http2'

/**
 * Takes turns among the streams of one HTTP/2 session that have more than one piece to send: one stream per turn of the event loop.
 * Newer Node.js serves streams first come, first served (RFC 9218): one that always has data would block all others.
 */
export class SessionTurns {
  static readonly #bySession = new WeakMap<Http2Session, SessionTurns>()
  #waiting: Array<() => void> = []

  static of (session: Http2Session): SessionTurns {
    let turns = SessionTurns.#bySession.get(session)
    if (turns === undefined) {
      turns = new SessionTurns()
      SessionTurns.#bySession.set(session, turns)
    }
    return turns
  }

  /** Calls `write` in its turn. */
  take (write: () => void): void {
    this.#waiting.push(write)
    if (this.#waiting.length === 1) setImmediate(this.#next)
  }

  readonly #next = (): void => {
    const write = this.#waiting.shift()!
    if (this.#waiting.length > 0) setImmediate(this.#next)
    write()
  }
}
