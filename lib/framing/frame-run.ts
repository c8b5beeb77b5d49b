// frames that many connections send one after the other
import assert from 'node:assert'

/**
 * Encoded frames in the order in which they go out, joined into one buffer once for all connections that send the same: each connection goes from one
 * run to the next as it is given frames, and those that are given the same, one after the other and in one tick, meet in the same runs.
 */
export class FrameRun {
  /** Of the joined frames, in bytes. */
  readonly length: number
  // the frames before the last one; null: #bytes has them all
  #before: FrameRun | null
  readonly #last: FrameRun | null
  #bytes: Buffer | null
  #isShared = false
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
      const joined = Buffer.allocUnsafeSlow(this.length)
      this.copyTo(joined)
      this.#bytes = joined
      this.#before = null
    }
    return this.#bytes
  }

  /** It is not joined yet, and nobody else has come to it. */
  get isAlone (): boolean {
    return this.#bytes === null && !this.#isShared
  }

  /** Joins the frames at the start of `memory`. */
  copyTo (memory: Buffer): void {
    FrameRun.#copy(this, memory)
  }

  /** @param frame a run of one frame */
  followedBy (frame: FrameRun): FrameRun {
    const known = this.#next
    if (known !== null && known.#last === frame) {
      known.#isShared = true
      return known
    }
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

  static #copy (whole: FrameRun, target: Buffer): void {
    let end = whole.length
    let run = whole
    for (; run.#bytes === null; run = run.#before) {
      assert(run.#before !== null && run.#last !== null)
      end -= run.#last.length
      run.#last.bytes.copy(target, end)
    }
    run.#bytes.copy(target)
  }
}
