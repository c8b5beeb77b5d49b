import type { Http2Session } from 'node:http2'

/** Who writes on a stream. */
export interface StreamWriter {
  /** Bytes handed to the stream since the start. */
  readonly bytesHandedOver: number
  /** Those, and the bytes that are to be handed over. */
  readonly bytesAdded: number
  /** Adds a Ping. @returns whether it may: nothing stands behind a Close */
  ask (): boolean
  /** Hands over what it may. */
  flush (): void
}

// A session with a smaller window has all of it for its streams: with a part of it they would not go on at full speed.
const SMALLEST_WINDOW = 4 * 2 ** 20
// Bytes of a stream after which the session's window is looked at again: at first the client has not said yet how large it is.
const BETWEEN_LOOKS = 2 ** 16
// Part of the window that may hold what is not known to be read. One stream gets about as much of the browsers.
const PART = 3 / 8
// Part of it that streams get besides, in equal shares, when others hold all of that. Both together are less than half.
const PART_SHARED = 1 / 16
// Part of it that a stream sends before it asks whether its peer reads, or that part of its share.
const PART_UNASKED = 1 / 64
const PART_OF_SHARE = 1 / 2

/** Of the streams of one session that speak WebSocket: how much of its window they hold. */
class SessionRoom {
  static readonly #bySession = new WeakMap<Http2Session, SessionRoom>()
  readonly #session: Http2Session
  /** Bytes; 0 where it is small. */
  window = 0
  /** Bytes that may be read or not. */
  unproven = 0
  /** Streams that have some. */
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

  /** Node tells what is left of the window, not its size. */
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
 * lets its window fill, and three of those fill the session's in Chromium. Nor is it enough to leave some room: a client gives back
 * what was read once that is half of the window, so that other streams come to a stop when more than half is unread. HTTP/2 does not
 * tell what of a stream is read. A Pong does.
 */
export class StreamRoom {
  readonly #session: SessionRoom
  readonly #writer: StreamWriter
  #proven = 0
  #unproven = 0
  // where the Ping ends that is not answered
  #askedUpTo: number | null = null
  #lookedAt = -BETWEEN_LOOKS

  constructor (session: Http2Session, writer: StreamWriter) {
    this.#session = SessionRoom.of(session)
    this.#writer = writer
  }

  /** Whether more may be handed over; else the writer is asked to flush again. */
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
      if (!this.#writer.ask()) return true // it is soon over
      this.#askedUpTo = this.#writer.bytesAdded
    }
    // A Ping that is still behind a long frame cannot be answered.
    const isAsked = this.#askedUpTo !== null && bytesHandedOver >= this.#askedUpTo
    if (!isAsked || this.#session.unproven < window * PART || this.#unproven < share) return true
    this.#session.wait(this.#writer)
    return false
  }

  /** Something has come of the peer: behind the Ping it is taken for the Pong, which may stand behind messages that are long. */
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
