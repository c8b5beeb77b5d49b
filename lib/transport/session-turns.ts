import type { Http2Session } from 'node:http2'

/**
 * Turns in which the streams of one HTTP/2 session that have more than a piece to send go on: one in each turn of the event loop.
 * Newer Node.js sends what came first first (RFC 9218): streams that are never without data would let no other stream through.
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
