import type { Http2Session } from 'node:http2'

/** Who writes on a stream. */
export interface StreamWriter {
  /** Bytes handed to the stream since the start. */
  readonly bytesHandedOver: number
  /** Those, and the bytes that still wait to be handed over. */
  readonly bytesAdded: number
  /** Sends a Ping. @returns false after a Close, which nothing may follow */
  ask (): boolean
  /** Hands over as much as it may. */
  flush (): void
}

// A smaller window is left to the streams as a whole: with a part of it they could not send at full speed.
const SMALLEST_WINDOW = 4 * 2 ** 20
// After this many bytes of a stream the session's window is looked at again: at first the client has not yet said how large it is.
const BETWEEN_LOOKS = 2 ** 16
// The part of the window that may be filled with bytes not known to be read. Browsers give one stream about as much.
const PART = 3 / 8
// A further part, which streams share equally when others hold all of the first. Together they are less than half.
const PART_SHARED = 1 / 16
// The part of the window, or of its share, that a stream sends before it asks whether its peer reads.
const PART_UNASKED = 1 / 64
const PART_OF_SHARE = 1 / 2

/** How much of a session's window its WebSockets hold. */
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

  /** Node tells how much of the window is left, not its size. */
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
 * What a WebSocket may hold of its session's window. A page that reads nothing, such as one in the back/forward cache of a browser,
 * lets its window fill, and three of those fill the session's in Chromium. Nor is it enough to leave some room: a client gives
 * room back only when half of the window has been read, so that other streams stop when more than half is unread. HTTP/2 does not
 * tell how much of a stream has been read. A Pong does.
 */
export class StreamRoom {
  readonly #session: SessionRoom
  readonly #writer: StreamWriter
  #proven = 0
  #unproven = 0
  // where the unanswered Ping ends
  #askedUpTo: number | null = null
  #lookedAt = -BETWEEN_LOOKS

  constructor (session: Http2Session, writer: StreamWriter) {
    this.#session = SessionRoom.of(session)
    this.#writer = writer
  }

  /** Whether more may be handed over. If not, the writer is told to flush again later. */
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
      if (!this.#writer.ask()) return true // it is closing, and will soon be gone
      this.#askedUpTo = this.#writer.bytesAdded
    }
    // A Ping that still waits behind a long frame cannot be answered yet.
    const isAsked = this.#askedUpTo !== null && bytesHandedOver >= this.#askedUpTo
    if (!isAsked || this.#session.unproven < window * PART || this.#unproven < share) return true
    this.#session.wait(this.#writer)
    return false
  }

  /** The peer has sent something. After a Ping that is taken for the Pong, which may wait behind long messages. */
  heard (): void {
    const { bytesHandedOver } = this.#writer
    if (this.#askedUpTo === null || bytesHandedOver < this.#askedUpTo) return
    this.#proven = this.#askedUpTo
    this.#askedUpTo = null
    this.#count(bytesHandedOver - this.#proven)
    this.#session.goOn()
  }

  /** The stream is closed: the client has given back what it held. */
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
