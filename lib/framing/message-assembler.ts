// frames, or pieces of frames -> messages (RFC 6455 §5.4)
import { invalidText } from '../errors.ts'
import type { Frame } from '../protocol/frame.ts'
import { BINARY, TEXT } from '../protocol/opcode.ts'
import { isUtf8 } from 'node:buffer'
import { ByteCollector } from './byte-collector.ts'
import { Utf8Validator } from '../protocol/utf8-validator.ts'

export interface Message {
  readonly data: Buffer
  readonly isBinary: boolean
}

/**
 * Joins the data frames of one connection to messages, in the order the FrameParser gives them. Nothing is allocated for a length
 * that was only announced.
 */
export class MessageAssembler {
  #opcode: typeof TEXT | typeof BINARY | null = null // null: no message has begun
  // made for the first message that comes in pieces
  #pieces: ByteCollector | null = null
  #utf8: Utf8Validator | null = null

  /** What the message is that has begun; null when none has. */
  get isBinary (): boolean | null {
    return this.#opcode === null ? null : this.#opcode === BINARY
  }

  /** Bytes that wait for the message to be complete. */
  get length (): number {
    return this.#pieces?.length ?? 0
  }

  /**
   * @returns the message that this piece completes, its data the piece's own memory if it is all of it; else null
   * @throws ProtocolError 1007 at the first byte that cannot belong to a text
   */
  add (frame: Frame): Message | null {
    const complete = frame.fin && frame.last
    if (this.#opcode === null) {
      if (complete) return whole(frame)
      this.#opcode = frame.opcode === TEXT ? TEXT : BINARY
    }
    if (this.#opcode === TEXT) this.#checkText(frame.payload, complete)
    this.#pieces ??= new ByteCollector()
    this.#pieces.append(frame.payload)
    if (!complete) return null
    const isBinary = this.#opcode === BINARY
    this.#opcode = null
    return { data: this.#pieces.take(), isBinary }
  }

  /** Takes out what has come of the message so far; add() then gives what comes behind. */
  take (): Buffer {
    return this.#pieces!.take()
  }

  /** Drops what has come of a message: its end will not come. */
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
