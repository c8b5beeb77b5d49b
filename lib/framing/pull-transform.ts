// in --_write--> feed() | next() --push--> out
//                       ^ goes on only while somebody downstream has room
import { Transform, type TransformCallback } from 'node:stream'

/**
 * A Transform that respects backpressure inside a chunk. A plain Transform may push any number of results for one chunk
 * past the high-water mark; here a chunk goes in by feed(), and its results come out one by one by next(), which is called
 * again only when the reader wants more. The callback of the chunk is kept until then. With a readableHighWaterMark
 * of 1 in objectMode an error of next() never overtakes a result, as nothing else waits to be read at that point.
 *
 * feed() and next() are also a second way in, past both stream queues, for an owner that pulls by itself. Both ways run the
 * same code on the same state, and may alternate as long as nothing waits in the queues at that moment.
 */
export abstract class PullTransform<In, Out> extends Transform {
  // the callback of a chunk whose results are not all out yet
  #parked: TransformCallback | null = null

  /** Takes in one chunk. What an earlier chunk left over comes first. */
  abstract feed (chunk: In): void

  /** @returns the next result, or null when more input is needed */
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
        // _read() runs before its caller has taken out the last result: the error must come after that
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
