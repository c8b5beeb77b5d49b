// Frames at the pace at which a peer may send them. One that is ahead of it waits here, and is the last that was read: the transport is paused.
import { CLOCK, type Clock } from '../../clock.ts'
import { rateExceeded } from '../../errors.ts'
import { FrameReader, type FrameInflater } from '../../framing/frame-reader.ts'
import type { Frame } from '../../protocol/frame.ts'
import { CLOSE } from '../../protocol/opcode.ts'
import type { Role } from '../../protocol/role.ts'
import { TokenBucket } from './token-bucket.ts'

export interface RateLimit {
  /** For each second: whole messages, and control frames. Undefined: any number. */
  readonly messages?: number | undefined
  /** For each second: of the wire. Undefined: any number. */
  readonly bytes?: number | undefined
  /** Seconds of which the peer may use what it has left, at once. */
  readonly burst: number
  /** Milliseconds that a frame may have to wait; 0: none may. */
  readonly maxWait: number
}

/**
 * A FrameReader that judges each frame when it begins, by what came before, and takes it whole: one that is larger than all that may come at once
 * passes, and what comes behind it waits for longer. Where that is longer than `maxWait` next() throws. A Close costs nothing, as nothing follows.
 */
export class RateLimitedFrameReader extends FrameReader {
  readonly #maxWait: number
  readonly #clock: Clock
  readonly #onReady: () => void
  readonly #messages: TokenBucket | null
  readonly #bytes: TokenBucket | null
  // of the chunk that the frames come from, which they are not judged by
  #chunkLength = 0
  #waiting: Frame | null = null
  #cancel: (() => void) | null = null
  #isLifted = false

  /** @param onReady there may be a frame again: in a later turn */
  constructor (
    role: Role, ownsChunks: boolean, inflater: FrameInflater | null, { messages, bytes, burst, maxWait }: RateLimit, onReady: () => void, clock: Clock = CLOCK
  ) {
    super(role, ownsChunks, inflater)
    const now = clock.now()
    this.#messages = messages === undefined ? null : new TokenBucket(messages, burst, now)
    this.#bytes = bytes === undefined ? null : new TokenBucket(bytes, burst, now)
    this.#maxWait = maxWait
    this.#onReady = onReady
    this.#clock = clock
  }

  /** A frame waits for its time. */
  get isWaiting (): boolean { return this.#cancel !== null }
  override get isBusy (): boolean { return this.isWaiting || super.isBusy }

  override feed (chunk: Buffer): void {
    this.#bytes?.take(chunk.length, this.#clock.now())
    this.#chunkLength = chunk.length
    super.feed(chunk)
  }

  /** From now on everything is taken at once: it counts no more. */
  lift (): void {
    this.#isLifted = true
    this.#stopWaiting()
  }

  override destroy (): void {
    this.#stopWaiting()
    super.destroy()
  }

  protected override parse (): Frame | null {
    if (this.isWaiting) return null
    const frame = this.#waiting ?? super.parse()
    if (frame === null || this.#isLifted) {
      this.#waiting = null
      return frame
    }
    const now = this.#clock.now()
    const wait = frame.first && frame.opcode !== CLOSE ? this.#waitAt(now) : 0
    if (wait > 0) {
      this.#wait(frame, wait)
      return null
    }
    this.#waiting = null
    if (frame.fin && frame.last && frame.opcode !== CLOSE) this.#messages?.take(1, now)
    return frame
  }

  #waitAt (now: number): number {
    return Math.max(this.#messages?.wait(1, now) ?? 0, this.#bytes?.wait(-this.#chunkLength, now) ?? 0)
  }

  #wait (frame: Frame, milliseconds: number): void {
    if (milliseconds > this.#maxWait) throw rateExceeded()
    this.#waiting = frame
    this.#cancel = this.#clock.after(Math.ceil(milliseconds), () => {
      this.#cancel = null
      this.#onReady()
    })
  }

  #stopWaiting (): void {
    this.#cancel?.()
    this.#cancel = null
  }
}
