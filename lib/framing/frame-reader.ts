// chunks -> FrameParser -> [Inflater] -> frames with uncompressed payloads
import type { Frame } from '../protocol/frame.ts'
import { FrameParser, type FrameParserOptions } from './frame-parser.ts'
import { isControlOpcode } from '../protocol/opcode.ts'
import type { Role } from '../protocol/role.ts'
import { Pool } from './pool.ts'

/** Converts frames of compressed messages to frames of the original. */
export interface FrameInflater {
  /** Maximum size of an inflated message in bytes; next() throws while a message exceeds it. */
  maxPayload: number
  /** Messages are read piece by piece, as they arrive. */
  isStreaming: boolean
  readonly inMessage: boolean
  readonly isBusy: boolean
  readonly isOversized: boolean
  feed (frame: Frame): void
  next (): Frame | null
  destroy (): void
}

// Inflating a message takes about as long as this many frames.
const FRAMES_OF_INFLATING = 8

// by the index that parsersFor() derives from the options
const PARSERS: Array<Pool<FrameParser> | undefined> = []

/** The pool of parsers for all connections with the same options. */
function parsersFor (options: Required<Pick<FrameParserOptions, 'role' | 'allowsRsv1' | 'ownsChunks'>>): Pool<FrameParser> {
  const index = Number(options.role === 'client') | Number(options.allowsRsv1) << 1 | Number(options.ownsChunks) << 2
  PARSERS[index] ??= new Pool(() => new FrameParser(options))
  return PARSERS[index]
}

export class FrameReader {
  readonly #parsers: Pool<FrameParser>
  // Only while it holds data: it takes 0.7 KiB, and most connections receive nothing most of the time.
  #parser: FrameParser | null = null
  readonly #inflater: FrameInflater | null
  #maxPayload = Infinity
  #effort = 0

  /** @param inflater for compressed messages; null: none are allowed */
  constructor (role: Role, ownsChunks: boolean, inflater: FrameInflater | null) {
    this.#parsers = parsersFor({ role, allowsRsv1: inflater !== null, ownsChunks })
    this.#inflater = inflater
  }

  /** A message is being inflated: next() returns null until that is done. */
  get isBusy (): boolean { return this.#inflater?.isBusy === true }

  /** The message in progress exceeds the limit: next() throws until the limit is changed. */
  get isOversized (): boolean { return this.#parser?.isOversized === true || this.#inflater?.isOversized === true }

  /** The cost of all frames so far, in units of one uncompressed frame. */
  get effort (): number { return this.#effort }

  /** @param maxPayload maximum bytes of a message @param isStreaming compressed messages are read in pieces as they arrive */
  limit (maxPayload: number, isStreaming: boolean): void {
    this.#maxPayload = maxPayload
    if (this.#parser !== null) this.#parser.maxPayload = maxPayload
    if (this.#inflater === null) return
    this.#inflater.maxPayload = maxPayload
    this.#inflater.isStreaming = isStreaming
  }

  /** @param isLone nobody else has or had the chunk, so that it may be freed */
  feed (chunk: Buffer, isLone = false): void {
    if (this.#parser === null) {
      this.#parser = this.#parsers.take()
      this.#parser.maxPayload = this.#maxPayload
    }
    this.#parser.feed(chunk, isLone)
  }

  /**
   * @returns null while it is busy or needs more input
   * @throws ProtocolError
   */
  next (): Frame | null {
    const inflater = this.#inflater
    if (inflater === null) return this.parse()
    for (;;) {
      const inflated = inflater.next()
      if (inflated !== null) this.#effort += FRAMES_OF_INFLATING
      if (inflated !== null || inflater.isBusy) return inflated
      const frame = this.parse()
      if (frame === null || isControlOpcode(frame.opcode) || !(frame.rsv1 || inflater.inMessage)) return frame
      inflater.feed(frame)
    }
  }

  /** Returns the parser to its pool if it is empty. */
  releaseParser (): void {
    if (this.#parser?.isIdle !== true) return
    this.#parsers.giveBack(this.#parser)
    this.#parser = null
  }

  /** Drops what is being inflated: nothing more will be read. */
  destroy (): void {
    this.#inflater?.destroy()
  }

  /** The next frame as received, compressed or not. */
  protected parse (): Frame | null {
    const frame = this.#parser === null ? null : this.#parser.next()
    if (frame !== null) this.#effort++
    return frame
  }
}
