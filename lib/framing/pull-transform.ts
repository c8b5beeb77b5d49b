// in --_write--> feed() | next() --push--> out
//                       ^ continues only while there is room downstream
import { Transform, type TransformCallback } from 'node:stream'

/**
 * A Transform that respects backpressure within a chunk. A plain Transform may push any number of results per chunk past the
 * high-water mark; here feed() takes a chunk, and next() returns its results one by one, called only when the reader wants more.
 * The callback of the chunk is kept until then. With a readableHighWaterMark of 1 in objectMode an error of next() never
 * overtakes a result, as none is buffered at that point.
 *
 * An owner that pulls by itself may also call feed() and next() directly, bypassing both stream queues. The two ways share code
 * and state, and may alternate whenever the queues are empty.
 */
export abstract class PullTransform<In, Out> extends Transform {
  // the callback of a chunk with results still to come
  #parked: TransformCallback | null = null

  /** Adds a chunk, after what is left of earlier ones. */
  abstract feed (chunk: In): void

  /** @returns the next result, or null if more input is needed */
  abstract next (): Out | null

  override _transform (chunk: In, _encoding: BufferEncoding, callback: TransformCallback): void {
    try {
      this.feed(chunk)
    } catch (error) {
      callback(error as Error)
      return
    }
    this.#pump(callback)
  }

  override _read (size: number): void {
    const callback = this.#parked
    if (callback !== null) {
      this.#parked = null
      this.#pump(callback)
    }
    super._read(size)
  }

  #pump (callback: TransformCallback): void {
    let result: Out | null
    do {
      try {
        result = this.next()
      } catch (error) {
        // _read() runs before its caller has taken the last result, which the error must not overtake
        process.nextTick(callback, error)
        return
      }
      if (result !== null && !this.push(result)) {
        this.#parked = callback
        return
      }
    } while (result !== null)
    callback()
  }
}
