// frames that many connections send one after the other
import assert from 'node:assert'

/**
 * Encoded frames in the order in which they go out, joined into one buffer once for all connections that send the same: each connection goes from one
 * run to the next as it is given frames, and all that began with the same frame meet in the same runs.
 */
export class FrameRun {
  /** Of the joined frames, in bytes. */
  readonly length: number
  // the frames before the last one; null: #bytes has them all
  #before: FrameRun | null
  readonly #last: FrameRun | null
  #bytes: Buffer | null
  // what the last caller of followedBy() got in this tick
  #next: FrameRun | null = null

  // those with a next one
  static #met: FrameRun[] = []

  /** @param frame whole and encoded; must not be modified */
  static of (frame: Buffer): FrameRun {
    return new FrameRun(frame.length, null, null, frame)
  }

  private constructor (length: number, before: FrameRun | null, last: FrameRun | null, bytes: Buffer | null) {
    this.length = length
    this.#before = before
    this.#last = last
    this.#bytes = bytes
  }

  /** The joined frames; must not be modified. */
  get bytes (): Buffer {
    if (this.#bytes === null) {
      this.#bytes = FrameRun.#join(this)
      this.#before = null
    }
    return this.#bytes
  }

  /** @param frame a run of one frame */
  followedBy (frame: FrameRun): FrameRun {
    const known = this.#next
    if (known !== null && known.#last === frame) return known
    if (known === null) this.#keepForThisTick()
    const run = new FrameRun(this.length + frame.length, this, frame, null)
    this.#next = run
    return run
  }

  /** A message may be kept for long, and must not keep all that was ever sent behind it. */
  #keepForThisTick (): void {
    if (FrameRun.#met.push(this) === 1) process.nextTick(FrameRun.#part)
  }

  static readonly #part = (): void => {
    for (const run of FrameRun.#met) run.#next = null
    FrameRun.#met = []
  }

  static #join (whole: FrameRun): Buffer {
    const joined = Buffer.allocUnsafeSlow(whole.length)
    let end = whole.length
    let run = whole
    while (run.#bytes === null) {
      assert(run.#before !== null && run.#last !== null)
      end -= run.#last.length
      run.#last.bytes.copy(joined, end)
      run = run.#before
    }
    run.#bytes.copy(joined)
    return joined
  }
}
