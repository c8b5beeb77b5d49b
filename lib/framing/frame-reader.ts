// chunks -> FrameParser -> [Inflater] -> frames whose payloads are what was sent
import type { Frame } from '../protocol/frame.ts'
import { FrameParser, type FrameParserOptions } from './frame-parser.ts'
import { isControlOpcode } from '../protocol/opcode.ts'
import type { Role } from '../protocol/role.ts'
import { Pool } from './pool.ts'

/** Turns the frames of a compressed message into those of the original. */
export interface FrameInflater {
  /** The limit of one message, inflated, in bytes; while a message is over it, next() throws. */
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

// A compressed message takes about as long as this many frames.
const FRAMES_OF_INFLATING = 8

// by the key that parsersFor() makes of the options
const PARSERS: Array<Pool<FrameParser> | undefined> = []

/** Parsers for all connections with the same agreement. */
function parsersFor (options: Required<Pick<FrameParserOptions, 'role' | 'allowsRsv1' | 'ownsChunks'>>): Pool<FrameParser> {
  const index = Number(options.role === 'client') | Number(options.allowsRsv1) << 1 | Number(options.ownsChunks) << 2
  PARSERS[index] ??= new Pool(() => new FrameParser(options))
  return PARSERS[index]
}

export class FrameReader {
  readonly #parsers: Pool<FrameParser>
  // Only while there is something in it: a stream of Node takes 0.7 KiB, and most connections receive nothing most of the time.
  #parser: FrameParser | null = null
  readonly #inflater: FrameInflater | null
  #maxPayload = Infinity
  #effort = 0

  /** @param inflater for compressed messages; null: none are allowed */
  constructor (role: Role, ownsChunks: boolean, inflater: FrameInflater | null) {
    this.#parsers = parsersFor({ role, allowsRsv1: inflater !== null, ownsChunks })
    this.#inflater = inflater
  }

  /** A message is being inflated: no frame comes until that is done. */
  get isBusy (): boolean { return this.#inflater?.isBusy === true }

  /** The message in progress is over the limit: next() throws until the limit is changed. */
  get isOversized (): boolean { return this.#parser?.isOversized === true || this.#inflater?.isOversized === true }

  /** What the frames so far have cost, counted in uncompressed frames. */
  get effort (): number { return this.#effort }

  /** @param maxPayload bytes of a message @param isStreaming compressed messages are read piece by piece, as they arrive */
  limit (maxPayload: number, isStreaming: boolean): void {
    this.#maxPayload = maxPayload
    if (this.#parser !== null) this.#parser.maxPayload = maxPayload
    if (this.#inflater === null) return
    this.#inflater.maxPayload = maxPayload
    this.#inflater.isStreaming = isStreaming
  }

  feed (chunk: Buffer): void {
    if (this.#parser === null) {
      this.#parser = this.#parsers.take()
      this.#parser.maxPayload = this.#maxPayload
    }
    this.#parser.feed(chunk)
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

  /** Until more comes: returns the parser to the others, if it is empty. */
  releaseParser (): void {
    if (this.#parser?.isIdle !== true) return
    this.#parsers.giveBack(this.#parser)
    this.#parser = null
  }

  /** Drops what is being inflated, as nothing will be read any more. */
  destroy (): void {
    this.#inflater?.destroy()
  }

  /** The next frame as it came, compressed or not. */
  protected parse (): Frame | null {
    const frame = this.#parser === null ? null : this.#parser.next()
    if (frame !== null) this.#effort++
    return frame
  }
}
