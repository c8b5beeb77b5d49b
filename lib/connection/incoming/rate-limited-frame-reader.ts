// Passes frames on at the rate a peer may send them. A frame that exceeds it waits here, and the transport is paused meanwhile.
import { CLOCK, type Clock } from '../../clock.ts'
import { rateExceeded } from '../../errors.ts'
import { FrameReader, type FrameInflater } from '../../framing/frame-reader.ts'
import type { Frame } from '../../protocol/frame.ts'
import { CLOSE } from '../../protocol/opcode.ts'
import type { Role } from '../../protocol/role.ts'
import { TokenBucket } from './token-bucket.ts'

export interface RateLimit {
  /** Whole messages and control frames per second. Undefined: no limit. */
  readonly messages?: number | undefined
  /** Bytes on the wire per second. Undefined: no limit. */
  readonly bytes?: number | undefined
  /** Seconds of unused allowance that the peer may use at once. */
  readonly burst: number
  /** Milliseconds that a frame may be delayed; 0: no delay. */
  readonly maxWait: number
}

/**
 * A FrameReader that checks each frame when it begins, against what came before, and then passes it whole: a frame larger than the burst passes, and
 * the next one waits longer. If the wait exceeds `maxWait`, next() throws. A Close is free, as nothing follows it.
 */
export class RateLimitedFrameReader extends FrameReader {
  readonly #maxWait: number
  readonly #clock: Clock
  readonly #onReady: () => void
  readonly #messages: TokenBucket | null
  readonly #bytes: TokenBucket | null
  // bytes of the current chunk, which do not count against its own frames
  #chunkLength = 0
  #waiting: Frame | null = null
  #cancel: (() => void) | null = null
  #isLifted = false

  /** @param onReady called in a later turn, when a frame may be available again */
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

  /** A frame is being delayed. */
  get isWaiting (): boolean { return this.#cancel !== null }
  override get isBusy (): boolean { return this.isWaiting || super.isBusy }

  override feed (chunk: Buffer, isLone = false): void {
    this.#bytes?.take(chunk.length, this.#clock.now())
    this.#chunkLength = chunk.length
    super.feed(chunk, isLone)
  }

  /** Ends the limit: frames pass at once from now on. */
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
