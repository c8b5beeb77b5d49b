// frames, or pieces of frames -> messages (RFC 6455 §5.4)
import { invalidText } from './errors.ts'
import type { Frame } from './frame.ts'
import { BINARY, TEXT } from './opcode.ts'
import { isUtf8 } from 'node:buffer'
import { Utf8Validator } from './utf8-validator.ts'

export interface Message {
  readonly data: Buffer
  readonly isBinary: boolean
}

const MIN_CAPACITY = 256
// A piece as large as this, and not much smaller than the chunk that it is a view into, waits as it is.
const LARGE_PIECE = 4 * 1024

/**
 * Joins the data frames of one connection to messages, in the order the FrameParser gives them. Small pieces are laid into
 * one growing buffer as they come, so that a message costs memory by its bytes (up to twice as many, while it grows) and not
 * by the number of its fragments, and nothing is allocated for a length that was only announced.
 */
export class MessageAssembler {
  #opcode: typeof TEXT | typeof BINARY | null = null // null: no message has begun
  #parts: Buffer[] = []
  // the end of what has come, behind the parts: small pieces, side by side
  #tail: Buffer | null = null
  #tailLength = 0
  #length = 0 // of all that
  #utf8: Utf8Validator | null = null // made for the first text message that comes in pieces

  /** What the message is that has begun; null when none has. */
  get isBinary (): boolean | null {
    return this.#opcode === null ? null : this.#opcode === BINARY
  }

  /** Bytes that wait for the message to be complete. */
  get length (): number {
    return this.#length
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
    this.#append(frame.payload)
    if (!complete) return null
    const isBinary = this.#opcode === BINARY
    this.#opcode = null
    return { data: this.take(), isBinary }
  }

  /** Takes out what has come of the message so far; add() then gives what comes behind. */
  take (): Buffer {
    this.#finishTail()
    const data = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
    this.#parts = []
    this.#length = 0
    return data
  }

  #checkText (piece: Buffer, complete: boolean): void {
    this.#utf8 ??= new Utf8Validator()
    if (!this.#utf8.write(piece)) throw invalidText()
    if (complete && !this.#utf8.end()) throw invalidText()
  }

  #append (piece: Buffer): void {
    this.#length += piece.length
    if (piece.length >= LARGE_PIECE && piece.length >= piece.buffer.byteLength / 2) {
      this.#finishTail()
      this.#parts.push(piece)
      return
    }
    const needed = this.#tailLength + piece.length
    if (this.#tail === null || this.#tail.length < needed) {
      const grown = Buffer.allocUnsafeSlow(Math.max(MIN_CAPACITY, needed, this.#tailLength * 2))
      this.#tail?.copy(grown, 0, 0, this.#tailLength)
      this.#tail = grown
    }
    piece.copy(this.#tail, this.#tailLength)
    this.#tailLength = needed
  }

  #finishTail (): void {
    if (this.#tail === null) return
    this.#parts.push(this.#tail.subarray(0, this.#tailLength))
    this.#tail = null
    this.#tailLength = 0
  }
}

function whole ({ opcode, payload }: Frame): Message {
  if (opcode === TEXT && !isUtf8(payload)) throw invalidText()
  return { data: payload, isBinary: opcode === BINARY }
}
