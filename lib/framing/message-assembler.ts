// frames, or pieces of frames -> messages (RFC 6455 §5.4)
import { invalidText } from '../errors.ts'
import type { Frame } from '../protocol/frame.ts'
import { BINARY, TEXT } from '../protocol/opcode.ts'
import { isUtf8 } from 'node:buffer'
import { ByteCollector } from './byte-collector.ts'
import { LonePiece } from './lone-piece.ts'
import { Utf8Validator } from '../protocol/utf8-validator.ts'

export interface Message {
  readonly data: Buffer
  readonly isBinary: boolean
}

/**
 * Joins the data frames of one connection into messages. Memory is allocated for bytes that have arrived, not for announced lengths.
 */
export class MessageAssembler {
  #opcode: typeof TEXT | typeof BINARY | null = null // null: between messages
  // created for the first message in pieces
  #pieces: ByteCollector | null = null
  #utf8: Utf8Validator | null = null

  /** Whether the message in progress is binary; null between messages. */
  get isBinary (): boolean | null {
    return this.#opcode === null ? null : this.#opcode === BINARY
  }

  /** Bytes of the message in progress. */
  get length (): number {
    return this.#pieces?.length ?? 0
  }

  /**
   * @returns the message completed by this piece, or null. Shares the piece's memory if the piece is the whole message
   * @throws ProtocolError 1007 at the first invalid byte of a text
   */
  add (frame: Frame): Message | null {
    const complete = frame.fin && frame.last
    if (this.#opcode === null) {
      if (complete) return whole(frame)
      this.#opcode = frame.opcode === TEXT ? TEXT : BINARY
    }
    if (this.#opcode === TEXT) this.#checkText(frame.payload, complete)
    this.#pieces ??= new ByteCollector()
    this.#pieces.append(frame.payload, frame instanceof LonePiece)
    if (!complete) return null
    const isBinary = this.#opcode === BINARY
    this.#opcode = null
    return { data: this.#pieces.take(), isBinary }
  }

  /** Removes and returns what has arrived of the message so far; add() then returns what follows. */
  take (): Buffer {
    return this.#pieces!.take()
  }

  /** Drops an incomplete message. */
  clear (): void {
    this.#opcode = this.#pieces = this.#utf8 = null
  }

  #checkText (piece: Buffer, complete: boolean): void {
    this.#utf8 ??= new Utf8Validator()
    if (!this.#utf8.write(piece)) throw invalidText()
    if (complete && !this.#utf8.end()) throw invalidText()
  }
}

function whole ({ opcode, payload }: Frame): Message {
  if (opcode === TEXT && !isUtf8(payload)) throw invalidText()
  return { data: payload, isBinary: opcode === BINARY }
}
