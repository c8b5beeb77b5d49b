// compressed data frames -> data frames (RFC 7692 §7.2.2)
import { constants } from 'node:buffer'
import { promisify } from 'node:util'
import { createInflateRaw, inflateRaw, inflateRawSync, type InflateRaw, type ZlibOptions } from 'node:zlib'
import { invalidDeflate, oversizedMessage } from '../errors.ts'
import { Frame } from '../protocol/frame.ts'
import { Limiter } from './limiter.ts'
import type { Opcode } from '../protocol/opcode.ts'
import { MAX_WINDOW_BITS } from '../protocol/permessage-deflate.ts'
import { ByteCollector } from '../framing/byte-collector.ts'
import { Window } from './sliding-window.ts'

// What is compressed to so many bytes, and inflates to no more than so many, is inflated at once: some 0.3 ms.
const SYNC_INPUT = 16 * 1024
const SYNC_OUTPUT = 256 * 1024
const MAX_CHUNK = 64 * 1024
const WINDOW_SIZE = 2 ** MAX_WINDOW_BITS

/**
 * What is read behind a message. §7.2.2: 00 00 ff ff, which its sender has cut off. Then an empty block that is the last one, so that
 * zlib tells a message that was cut off in its middle from one that has ended.
 */
const TRAILER = Buffer.from([0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff])
// §7.2.3.4: a message may hold last blocks. Each costs a call, and a stranger can put one into two bytes.
const MAX_LAST_BLOCKS = 256
const SYNC_LAST_BLOCKS = 3

const EMPTY: Buffer = Buffer.alloc(0)

const inflateRawAsync = promisify<Buffer, ZlibOptions, Buffer>(inflateRaw)

interface Step {
  readonly input: Buffer
  readonly options: ZlibOptions
}

interface Inflated {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

/**
 * Inflates the messages of one connection. Whole messages: a small one at once, a large one beside the event loop, with one call of
 * zlib each, so that between messages nothing is kept but, with context takeover, the last bytes that came. Where messages are wanted
 * while they come, piece by piece.
 */
export class Inflater {
  /** Bytes of one message, inflated. Beyond it next() throws for as long as it is. */
  maxPayload = Infinity
  /** ByteCollector of a message are wanted as they come. */
  isStreaming = false
  readonly #limiter: Limiter
  readonly #onReady: () => void
  readonly #window: Window | null

  #opcode: Opcode = 0
  #inMessage = false
  #isWhole = false
  // what has come of a message: all of it, or the pieces
  #input: Buffer | null = null
  #pieces: ByteCollector | null = null
  // bytes of the message that came out, or had to
  #length = 0
  // of a job beside the event loop
  #isBusy = false
  #result: Buffer | Error | null = null
  #stream: InflateStream | null = null

  /** @param onReady called, in a later turn, when next() has more to say */
  constructor ({ contextTakeover }: { contextTakeover: boolean }, concurrency: number, onReady: () => void) {
    this.#limiter = Limiter.of('inflate', concurrency)
    this.#onReady = onReady
    this.#window = contextTakeover ? new Window(WINDOW_SIZE) : null
  }

  /** A message has begun whose end next() has not given. */
  get inMessage (): boolean { return this.#inMessage }

  /** More will come out without more going in. */
  get isBusy (): boolean { return this.#isBusy || this.#stream?.isBusy === true }

  /** The message in progress does not fit into maxPayload. */
  get isOversized (): boolean { return this.#length > this.maxPayload }

  /** Takes a piece of a compressed message in. What came before must be out: next() gives null, and it is not busy. */
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
   * @returns the next piece of the message, inflated, or null when more has to come or it is busy
   * @throws ProtocolError 1007 for data that are not valid, 1009 beyond maxPayload
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
    if (input.length === 0) return this.#end(EMPTY) // no data are not valid ones, but some send an empty message so
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

  /** Keeps the message, in case that the limit is raised. */
  #exceed (limit: number): null {
    this.#length = limit + 1
    return this.next() as null // which throws, or tries again if it was raised meanwhile
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
      this.#stream = new InflateStream(this.#window ?? new Window(WINDOW_SIZE), this.#onReady)
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

/** @returns null for more than `maxLength` bytes, or too many last blocks to be done with it at once */
function inflateNow (data: Buffer, window: Buffer | undefined, maxLength: number): Buffer | null {
  try {
    const run = steps(data, window, maxLength)
    let step = run.next()
    for (let calls = 0; !step.done; calls++) {
      if (calls > SYNC_LAST_BLOCKS) return null
      step = run.next(inflateRawSync(step.value.input, step.value.options) as unknown as Inflated)
    }
    return step.value
  } catch (error) {
    return tooLarge(error)
  }
}

/** As inflateNow(), beside the event loop. @returns null for more than `maxLength` bytes */
async function inflateLater (data: Buffer, window: Buffer | undefined, maxLength: number): Promise<Buffer | null> {
  try {
    const run = steps(data, window, maxLength)
    let step = run.next()
    while (!step.done) step = run.next(await inflateRawAsync(step.value.input, step.value.options) as unknown as Inflated)
    return step.value
  } catch (error) {
    return tooLarge(error)
  }
}

function tooLarge (error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return null
  throw toProtocolError(error)
}

function toProtocolError (error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException
  return code === 'Z_DATA_ERROR' || code === 'Z_BUF_ERROR' ? invalidDeflate() : error
}

/** Calls of zlib, one for each last block. */
function * steps (data: Buffer, window: Buffer | undefined, maxLength: number): Generator<Step, Buffer | null, Inflated> {
  const outputs: Buffer[] = []
  let length = 0
  let input = Buffer.concat([data, TRAILER])
  let dictionary = window
  for (let calls = 0; calls <= MAX_LAST_BLOCKS; calls++) {
    const chunkSize = Math.max(1024, Math.min(input.length * 4, MAX_CHUNK))
    const maxOutputLength = Math.max(1, Math.min(maxLength - length, constants.MAX_LENGTH))
    const { buffer, engine } = yield { input, options: { info: true, chunkSize, maxOutputLength, ...withDictionary(dictionary) } }
    outputs.push(buffer)
    length += buffer.length
    if (length > maxLength) return null
    if (engine.bytesWritten === input.length) return outputs.length === 1 ? buffer : Buffer.concat(outputs)
    input = input.subarray(engine.bytesWritten)
    const seen = new Window(WINDOW_SIZE)
    for (const bytes of [dictionary ?? EMPTY, buffer]) seen.add(bytes)
    dictionary = seen.bytes
  }
  throw invalidDeflate()
}

function withDictionary (dictionary: Buffer | undefined): ZlibOptions {
  return dictionary === undefined || dictionary.length === 0 ? {} : { dictionary }
}

/** One message, inflated while it comes and no faster than it is read. */
class InflateStream {
  readonly #window: Window
  readonly #onReady: () => void
  #engine: InflateRaw
  // what the engine is at work on, and how much it had read before that
  #input: Buffer | null = null
  #before = 0
  #isLast = false
  #isDone = false
  #lastBlocks = 0
  #error: unknown = null

  constructor (window: Window, onReady: () => void) {
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
    const engine = createInflateRaw({ chunkSize: MAX_CHUNK, ...withDictionary(this.#window.bytes) })
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
      // one that has come to a last block may say so too, before its 'end' or behind it
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

  /** The engine has come to a last block, and all that was before is read. */
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
