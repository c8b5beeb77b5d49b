// compressed data frames -> data frames (RFC 7692 §7.2.2): chooses one of three ways for each message
import { ByteCollector } from '../framing/byte-collector.ts'
import { oversizedMessage } from '../errors.ts'
import { Frame } from '../protocol/frame.ts'
import type { Opcode } from '../protocol/opcode.ts'
import { inflateLater, inflateNow, WINDOW_SIZE } from './inflate-message.ts'
import { InflateStream } from './inflate-stream.ts'
import { Limiter } from './limiter.ts'
import { SlidingWindow } from './sliding-window.ts'

// Messages up to these sizes, compressed and inflated, are inflated synchronously, in about 0.3 ms.
const SYNC_INPUT = 16 * 1024
const SYNC_OUTPUT = 256 * 1024

const EMPTY: Buffer = Buffer.alloc(0)

/**
 * Inflates the messages of one connection. A whole message takes one call of zlib: synchronous if small, otherwise in the thread pool. So
 * only the last bytes received are kept between messages, with context takeover. Messages that are read as they arrive are inflated piece by
 * piece.
 */
export class Inflater {
  /** Maximum size of an inflated message in bytes. next() throws while the message exceeds it. */
  maxPayload = Infinity
  /** Messages are read in pieces as they arrive. */
  isStreaming = false
  readonly #limiter: Limiter
  readonly #onReady: () => void
  readonly #window: SlidingWindow | null

  #opcode: Opcode = 0
  #inMessage = false
  #isWhole = false
  // compressed bytes of the message so far
  #input: Buffer | null = null
  #pieces: ByteCollector | null = null
  // inflated bytes of the message so far; over the limit if it is known to exceed that
  #length = 0
  // state of a job in the thread pool
  #isBusy = false
  #result: Buffer | Error | null = null
  #stream: InflateStream | null = null

  /** @param onReady called, in a later turn, when next() should be called again */
  constructor ({ contextTakeover }: { contextTakeover: boolean }, concurrency: number, onReady: () => void) {
    this.#limiter = Limiter.of('inflate', concurrency)
    this.#onReady = onReady
    this.#window = contextTakeover ? new SlidingWindow(WINDOW_SIZE) : null
  }

  /** A message has begun, and next() has not yet returned its end. */
  get inMessage (): boolean { return this.#inMessage }

  /** More output will come without further input. */
  get isBusy (): boolean { return this.#isBusy || this.#stream?.isBusy === true }

  /** The message in progress exceeds maxPayload. */
  get isOversized (): boolean { return this.#length > this.maxPayload }

  /** Adds a piece of a compressed message. Only when everything before is out: next() returns null and isBusy is false. */
  feed ({ opcode, fin, last, payload }: Frame): void {
    const isFirst = !this.#inMessage
    if (isFirst) {
      this.#inMessage = true
      this.#opcode = opcode
    }
    this.#isWhole = fin && last
    if (isFirst && this.#isWhole) {
      this.#input = payload
    } else {
      this.#pieces ??= new ByteCollector()
      this.#pieces.append(payload)
    }
  }

  /**
   * @returns the next piece of the message, inflated, or null while it is busy or needs more input
   * @throws ProtocolError 1007 for invalid data, 1009 beyond maxPayload
   */
  next (): Frame | null {
    if (!this.#inMessage || this.#isBusy) return null
    if (this.isOversized) throw oversizedMessage(this.#length, this.maxPayload)
    if (this.#result !== null) return this.#takeResult(this.#result)
    if (this.#stream !== null || this.isStreaming) return this.#nextOfStream()
    return this.#isWhole ? this.#inflateWhole() : null
  }

  destroy (): void {
    this.#inMessage = this.#isBusy = false
    this.#stream?.destroy()
    this.#stream = null
    this.#input = this.#pieces = this.#result = null
  }

  #inflateWhole (): Frame | null {
    const input = this.#input = this.#takeInput()
    if (input.length === 0) return this.#end(EMPTY) // strictly invalid, but some clients send an empty message like this
    const maxLength = this.maxPayload
    if (input.length <= SYNC_INPUT) {
      const output = inflateNow(input, this.#window?.bytes, Math.min(maxLength, SYNC_OUTPUT))
      if (output !== null) return this.#finish(output)
    }
    this.#isBusy = true
    const job = (): Promise<Buffer | null> => this.#inMessage ? inflateLater(input, this.#window?.bytes, maxLength) : Promise.resolve(EMPTY)
    const settle = (result: Buffer | Error): void => {
      this.#isBusy = false
      if (!this.#inMessage) return // destroyed meanwhile
      this.#result = result
      this.#onReady()
    }
    this.#limiter.run(job).then(output => { settle(output ?? new TooLarge(maxLength)) }, settle)
    return null
  }

  #takeResult (result: Buffer | Error): Frame | null {
    this.#result = null
    if (result instanceof TooLarge) return this.#exceed(result.limit)
    if (result instanceof Error) throw result
    return this.#finish(result)
  }

  /** Keeps the message, in case the limit is raised. */
  #exceed (limit: number): null {
    this.#length = limit + 1
    return this.next() as null // throws, or tries again if the limit was raised meanwhile
  }

  #finish (output: Buffer): Frame {
    this.#window?.add(output)
    return this.#end(output)
  }

  #end (output: Buffer): Frame {
    this.#inMessage = false
    this.#input = null
    this.#length = 0
    return new Frame(this.#opcode, true, false, output, true, true)
  }

  #takeInput (): Buffer {
    const input = this.#input ?? this.#pieces?.take() ?? EMPTY
    this.#input = null
    return input
  }

  #nextOfStream (): Frame | null {
    if (this.#stream === null) {
      this.#length = 0
      this.#stream = new InflateStream(this.#window ?? new SlidingWindow(WINDOW_SIZE), this.#onReady)
    }
    const stream = this.#stream
    const output = stream.read()
    if (output !== null) {
      this.#length += output.length
      if (this.isOversized) throw oversizedMessage(this.#length, this.maxPayload)
      return new Frame(this.#opcode, false, false, output, true, true)
    }
    if (stream.isDone) return this.#endStream()
    if (stream.isBusy) return null
    const input = this.#takeInput()
    if (this.#isWhole && stream.isEmpty && input.length === 0) return this.#endStream()
    if (this.#isWhole || input.length > 0) stream.write(input, this.#isWhole)
    return null
  }

  #endStream (): Frame {
    this.#stream!.destroy()
    this.#stream = null
    return this.#end(EMPTY)
  }
}

class TooLarge extends Error {
  readonly limit: number

  constructor (limit: number) {
    super()
    this.limit = limit
  }
}
