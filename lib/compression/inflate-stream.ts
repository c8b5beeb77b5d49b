// pieces of a compressed message -> zlib's stream -> pieces of the original (RFC 7692 §7.2.2)
import type { InflateRaw } from 'node:zlib'
import { zlib } from '../builtins.ts'
import { invalidDeflate } from '../errors.ts'
import { MAX_CHUNK, MAX_LAST_BLOCKS, TRAILER, toProtocolError, withDictionary } from './inflate-message.ts'
import type { SlidingWindow } from './sliding-window.ts'

/** Inflates one message as it arrives, no faster than it is read. */
export class InflateStream {
  readonly #window: SlidingWindow
  readonly #onReady: () => void
  #engine: InflateRaw
  // the engine's current input, and the bytes it had read before
  #input: Buffer | null = null
  #before = 0
  #isLast = false
  #isDone = false
  #lastBlocks = 0
  #error: unknown = null

  constructor (window: SlidingWindow, onReady: () => void) {
    this.#window = window
    this.#onReady = onReady
    this.#engine = this.#createEngine()
  }

  get isDone (): boolean { return this.#isDone }
  get isBusy (): boolean { return this.#input !== null }
  get isEmpty (): boolean { return this.#engine.bytesWritten === 0 && this.#lastBlocks === 0 }

  write (input: Buffer, isLast: boolean): void {
    this.#isLast = isLast
    this.#feed(isLast ? Buffer.concat([input, TRAILER]) : input)
  }

  read (): Buffer | null {
    if (this.#error !== null) throw toProtocolError(this.#error)
    const output = this.#engine.read() as Buffer | null
    if (output !== null) this.#window.add(output)
    return output
  }

  destroy (): void {
    this.#engine.destroy()
  }

  #createEngine (): InflateRaw {
    const engine = zlib().createInflateRaw({ chunkSize: MAX_CHUNK, ...withDictionary(this.#window.bytes) })
    engine.on('readable', this.#onReady)
    engine.on('end', () => { this.#onEnd() })
    engine.on('error', error => {
      this.#error = error
      this.#onReady()
    })
    return engine
  }

  #feed (input: Buffer): void {
    this.#input = input
    this.#before = this.#engine.bytesWritten
    const engine = this.#engine
    engine.write(input, error => {
      // also called by an engine that has reached a final block, before or after its 'end'
      const isConsumed = engine === this.#engine && engine.bytesWritten - this.#before === input.length
      if (!error && isConsumed) this.#onWritten()
    })
  }

  #onWritten (): void {
    if (this.#isLast) {
      this.#engine.end() // 'end' follows, or an error
    } else {
      this.#input = null
      this.#onReady()
    }
  }

  /** The engine has reached a final block, and all output before it has been read. */
  #onEnd (): void {
    const rest = this.#input!.subarray(this.#engine.bytesWritten - this.#before)
    if (rest.length === 0) {
      this.#isDone = true
      this.#input = null
      this.#onReady()
      return
    }
    if (++this.#lastBlocks > MAX_LAST_BLOCKS) {
      this.#error = invalidDeflate()
      this.#onReady()
      return
    }
    this.#engine = this.#createEngine()
    this.#feed(rest)
  }
}
