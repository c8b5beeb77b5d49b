import type { Http2Session } from 'node:http2'

/** The writer of a stream. */
export interface StreamWriter {
  /** Bytes handed to the stream since the start. */
  readonly bytesHandedOver: number
  /** The same plus bytes that wait to be handed over. */
  readonly bytesAdded: number
  /** Sends a Ping. @returns false after a Close, which nothing may follow */
  ask (): boolean
  /** Writes as much as it may. */
  flush (): void
}

// Smaller windows are not divided up: with a part of one, streams could not send at full speed.
const SMALLEST_WINDOW = 4 * 2 ** 20
// Bytes of a stream between two looks at the session's window, whose size the client announces only after a while.
const BETWEEN_LOOKS = 2 ** 16
// The part of the window for bytes not known to be read. Browsers give a single stream about as much.
const PART = 3 / 8
// A further part, shared equally by streams when the first is used up. Both together are less than half.
const PART_SHARED = 1 / 16
// The part of the window, or of its share, that a stream sends before it asks by a Ping whether its peer reads.
const PART_UNASKED = 1 / 64
const PART_OF_SHARE = 1 / 2

/** How much of a session's window its WebSockets occupy. */
class SessionRoom {
  static readonly #bySession = new WeakMap<Http2Session, SessionRoom>()
  readonly #session: Http2Session
  /** Bytes; 0 for a small window. */
  window = 0
  /** Bytes sent that are not known to be read. */
  unproven = 0
  /** How many streams have such bytes. */
  holders = 0
  readonly #waiting = new Set<StreamWriter>()

  static of (session: Http2Session): SessionRoom {
    let room = SessionRoom.#bySession.get(session)
    if (room === undefined) {
      room = new SessionRoom(session)
      SessionRoom.#bySession.set(session, room)
    }
    return room
  }

  private constructor (session: Http2Session) {
    this.#session = session
  }

  /** Estimates the window's size: Node exposes only how much of it is left. */
  look (): void {
    const { remoteWindowSize = 0 } = this.#session.state
    if (remoteWindowSize >= SMALLEST_WINDOW) this.window = Math.max(this.window, remoteWindowSize)
  }

  wait (writer: StreamWriter): void {
    this.#waiting.add(writer)
  }

  stopWaiting (writer: StreamWriter): void {
    this.#waiting.delete(writer)
  }

  goOn (): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const writer of waiting) writer.flush()
  }
}

/**
 * Limits how much of its session's window a WebSocket occupies. A page that reads nothing, such as one in the back/forward cache,
 * lets its stream's window fill up, and three such pages fill the session's window in Chromium. Leaving some room is not enough:
 * clients return room only when half of the window has been read, so other streams stop once more than half is unread. HTTP/2 does
 * not tell how much of a stream has been read; a Pong does.
 */
export class StreamRoom {
  readonly #session: SessionRoom
  readonly #writer: StreamWriter
  #proven = 0
  #unproven = 0
  // stream position at the end of the unanswered Ping
  #askedUpTo: number | null = null
  #lookedAt = -BETWEEN_LOOKS

  constructor (session: Http2Session, writer: StreamWriter) {
    this.#session = SessionRoom.of(session)
    this.#writer = writer
  }

  /** Whether more may be written. If not, flush() of the writer is called later. */
  mayWrite (): boolean {
    const { bytesHandedOver } = this.#writer
    if (bytesHandedOver - this.#lookedAt >= BETWEEN_LOOKS) {
      this.#lookedAt = bytesHandedOver
      this.#session.look()
    }
    const { window } = this.#session
    if (window === 0) {
      this.#proven = bytesHandedOver
      return true
    }
    this.#count(bytesHandedOver - this.#proven)
    const share = window * PART_SHARED / this.#session.holders
    if (this.#askedUpTo === null && this.#unproven >= Math.min(window * PART_UNASKED, share * PART_OF_SHARE)) {
      if (!this.#writer.ask()) return true // closing: it will soon be gone
      this.#askedUpTo = this.#writer.bytesAdded
    }
    // a Ping queued behind a long frame cannot be answered yet
    const isAsked = this.#askedUpTo !== null && bytesHandedOver >= this.#askedUpTo
    if (!isAsked || this.#session.unproven < window * PART || this.#unproven < share) return true
    this.#session.wait(this.#writer)
    return false
  }

  /** The peer has sent data. After a Ping this counts as its Pong, which may be queued behind long messages. */
  heard (): void {
    const { bytesHandedOver } = this.#writer
    if (this.#askedUpTo === null || bytesHandedOver < this.#askedUpTo) return
    this.#proven = this.#askedUpTo
    this.#askedUpTo = null
    this.#count(bytesHandedOver - this.#proven)
    this.#session.goOn()
  }

  /** The stream is closed: the client has returned its part of the window. */
  leave (): void {
    this.#session.stopWaiting(this.#writer)
    this.#count(0)
    this.#session.goOn()
  }

  #count (unproven: number): void {
    this.#session.unproven += unproven - this.#unproven
    this.#session.holders += Number(unproven > 0) - Number(this.#unproven > 0)
    this.#unproven = unproven
  }
}
