// chunks -> FrameParser -> [Inflater] -> frames whose payloads are what was sent
import type { Frame } from '../protocol/frame.ts'
import { FrameParser, type FrameParserOptions } from './frame-parser.ts'
import { isControlOpcode } from '../protocol/opcode.ts'
import type { Role } from '../protocol/role.ts'
import { Pool } from './pool.ts'

/** What makes of the frames of a compressed message what was sent. */
export interface FrameInflater {
  /** Bytes of one message, inflated; next() throws for as long as it is over that. */
  maxPayload: number
  /** Pieces of a message are wanted as they come. */
  isStreaming: boolean
  readonly inMessage: boolean
  readonly isBusy: boolean
  readonly isOversized: boolean
  feed (frame: Frame): void
  next (): Frame | null
  destroy (): void
}

// A compressed message takes about as long as so many frames.
const FRAMES_OF_INFLATING = 8

// by what parsersFor() makes of the options
const PARSERS: Array<Pool<FrameParser> | undefined> = []

/** Parsers for all connections that agreed on the same. */
function parsersFor (options: Required<Pick<FrameParserOptions, 'role' | 'allowsRsv1' | 'ownsChunks'>>): Pool<FrameParser> {
  const index = Number(options.role === 'client') | Number(options.allowsRsv1) << 1 | Number(options.ownsChunks) << 2
  PARSERS[index] ??= new Pool(() => new FrameParser(options))
  return PARSERS[index]
}

export class FrameReader {
  readonly #parsers: Pool<FrameParser>
  // For as long as something is in it: a stream of Node takes 0.7 KiB, and most connections receive nothing most of the time.
  #parser: FrameParser | null = null
  readonly #inflater: FrameInflater | null
  #maxPayload = Infinity
  #effort = 0

  /** @param inflater for messages that are compressed; null: none may be */
  constructor (role: Role, ownsChunks: boolean, inflater: FrameInflater | null) {
    this.#parsers = parsersFor({ role, allowsRsv1: inflater !== null, ownsChunks })
    this.#inflater = inflater
  }

  /** A message is being inflated: there is no frame until that is done. */
  get isBusy (): boolean { return this.#inflater?.isBusy === true }

  /** The message in progress is over the limit: next() throws until the limit is another. */
  get isOversized (): boolean { return this.#parser?.isOversized === true || this.#inflater?.isOversized === true }

  /** What the frames so far have cost, in frames that are not compressed. */
  get effort (): number { return this.#effort }

  /** @param maxPayload bytes of a message @param isStreaming pieces of a compressed message are wanted as they come */
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
   * @returns null when more has to come, or it is busy
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

  /** Until more comes: lets others have the parser, if nothing is in it. */
  releaseParser (): void {
    if (this.#parser?.isIdle !== true) return
    this.#parsers.giveBack(this.#parser)
    this.#parser = null
  }

  /** Drops what is being inflated: nothing is read any more. */
  destroy (): void {
    this.#inflater?.destroy()
  }

  /** The next as it came, compressed or not. */
  protected parse (): Frame | null {
    const frame = this.#parser === null ? null : this.#parser.next()
    if (frame !== null) this.#effort++
    return frame
  }
}
