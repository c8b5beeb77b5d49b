// How much of a session's window WebSockets hold that may not be read.
import type { Http2Session } from 'node:http2'
import { test } from 'tap'
import { StreamRoom, type StreamWriter } from '../../lib/transport/session-room.ts'

const MIB = 2 ** 20
const PIECE = 16 * 1024

/** A stream whose writer always has more; a Ping is part of what it adds. */
class Stream implements StreamWriter {
  bytesHandedOver = 0
  bytesAdded = 0
  pings = 0
  readonly room: StreamRoom

  constructor (session: Http2Session) {
    this.room = new StreamRoom(session, this)
  }

  isClosing = false

  ask (): boolean {
    if (this.isClosing) return false
    this.pings++
    this.bytesAdded += 2
    return true
  }

  flush (): void {
    this.send(Infinity, 1)
  }

  /** Writes pieces until it has to wait. @returns whether it has to */
  send (bytes: number, pieces = Infinity): boolean {
    const end = this.bytesHandedOver + bytes
    for (; this.bytesHandedOver < end && pieces > 0; pieces--) {
      if (!this.room.mayWrite()) return true
      this.bytesHandedOver = Math.max(this.bytesHandedOver + PIECE, this.bytesAdded)
      this.bytesAdded = this.bytesHandedOver
    }
    return false
  }
}

function sessionOf (remoteWindowSize: number): Http2Session {
  return { state: { remoteWindowSize } } as unknown as Http2Session
}

test('a stream that nobody reads stops at three eighths of the window, and has asked', t => {
  const stream = new Stream(sessionOf(16 * MIB))
  t.equal(stream.send(Infinity), true)
  t.ok(stream.bytesHandedOver >= 6 * MIB && stream.bytesHandedOver < 6 * MIB + 2 * PIECE, `${stream.bytesHandedOver / MIB} MiB`)
  t.equal(stream.pings, 1)
  t.end()
})

test('any number of them stops before half', t => {
  for (const count of [2, 8, 64]) {
    const session = sessionOf(16 * MIB)
    const streams = Array.from({ length: count }, () => new Stream(session))
    for (let i = 0; i < 2000; i++) for (const stream of streams) stream.send(PIECE)
    const held = streams.reduce((sum, { bytesHandedOver }) => sum + bytesHandedOver, 0)
    t.ok(held >= 6 * MIB && held < 7 * MIB + 2 * count * PIECE, `${count}: ${held / MIB} MiB`)
  }
  t.end()
})

test('a stream that is read goes on without a wait', t => {
  const stream = new Stream(sessionOf(16 * MIB))
  for (let i = 0; i < 100; i++) {
    t.equal(stream.send(MIB), false)
    stream.room.heard()
  }
  t.equal(stream.pings, 100)
  t.end()
})

test('a stream that is read goes on beside those that are not', t => {
  const session = sessionOf(16 * MIB)
  const unread = Array.from({ length: 3 }, () => new Stream(session))
  for (let i = 0; i < 2000; i++) for (const stream of unread) stream.send(PIECE)
  const before = unread.map(({ bytesHandedOver }) => bytesHandedOver)
  const stream = new Stream(session)
  for (let i = 0; i < 100; i++) {
    stream.send(MIB / 8)
    stream.room.heard()
  }
  t.equal(stream.bytesHandedOver, 100 * MIB / 8)
  const more = unread.map(({ bytesHandedOver }, i) => bytesHandedOver - before[i]!)
  t.ok(more.every(bytes => bytes < MIB), 'and they do not')
  t.end()
})

test('the answer to a Ping, or the end of another stream, lets a stream go on that waits', t => {
  const session = sessionOf(16 * MIB)
  const [stream, other] = [new Stream(session), new Stream(session)]
  for (let i = 0; i < 2000; i++) for (const each of [stream, other]) each.send(PIECE)
  let sent = stream.bytesHandedOver
  other.room.leave()
  t.ok(stream.bytesHandedOver > sent)
  t.equal(stream.send(Infinity), true)
  sent = stream.bytesHandedOver
  stream.room.heard()
  t.ok(stream.bytesHandedOver > sent)
  stream.room.leave()
  t.end()
})

test('what comes before the Ping is out is no answer to it, and until then nothing waits', t => {
  const stream = new Stream(sessionOf(16 * MIB))
  stream.bytesAdded = 30 * MIB // a long frame
  while (stream.bytesHandedOver < 20 * MIB) {
    t.equal(stream.room.mayWrite(), true)
    stream.bytesHandedOver += MIB
    stream.room.heard()
  }
  t.equal(stream.pings, 1)
  stream.bytesHandedOver = stream.bytesAdded
  t.equal(stream.room.mayWrite(), false)
  t.end()
})

test('a stream that may not ask any more does not wait', t => {
  const stream = new Stream(sessionOf(16 * MIB))
  stream.isClosing = true
  t.equal(stream.send(100 * MIB), false)
  t.end()
})

test('a session with a small window has no shares', t => {
  const stream = new Stream(sessionOf(65_535))
  t.equal(stream.send(100 * MIB), false)
  t.equal(stream.pings, 0)
  t.end()
})

test('a session whose client tells late how large its window is has them from then on', t => {
  const session = sessionOf(65_535)
  const stream = new Stream(session)
  stream.send(MIB)
  session.state.remoteWindowSize = 16 * MIB
  t.equal(stream.send(Infinity), true)
  t.ok(stream.bytesHandedOver < 8 * MIB)
  const gone = new Stream({ state: {} } as unknown as Http2Session)
  t.equal(gone.room.mayWrite(), true)
  t.end()
})
