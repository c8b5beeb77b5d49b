import { isUtf8 } from 'node:buffer'

/**
 * Validates text that arrives in pieces cut anywhere, even inside a character, and detects the first invalid byte when it
 * arrives rather than at the end of the message. RFC 6455 §8.1, RFC 3629.
 */
export class Utf8Validator {
  // the bytes of an unfinished character at the end of the last piece: at most 3
  #open: number[] = []

  /** @returns false if the text so far cannot be the start of valid UTF-8; then nothing more may be written */
  write (piece: Buffer): boolean {
    let start = 0
    while (this.#open.length > 0 && start < piece.length) {
      this.#open.push(piece[start]!)
      start++
      if (!isCharacterPrefix(this.#open)) return false
      if (this.#open.length === characterLength(this.#open[0]!)) this.#open = []
    }
    const end = openCharacterStart(piece)
    if (!isUtf8(start === 0 && end === piece.length ? piece : piece.subarray(start, end))) return false
    for (let i = end; i < piece.length; i++) this.#open.push(piece[i]!)
    return this.#open.length === 0 || isCharacterPrefix(this.#open)
  }

  /** @returns whether the text ends with a complete character; the validator is then ready for the next text */
  end (): boolean {
    const complete = this.#open.length === 0
    this.#open = []
    return complete
  }
}

/** The start of a character cut off by the end of `piece`; the end if there is none. */
function openCharacterStart (piece: Buffer): number {
  const from = Math.max(0, piece.length - 3)
  for (let i = piece.length - 1; i >= from; i--) {
    const byte = piece[i]!
    if ((byte & 0xc0) === 0x80) continue
    return i + characterLength(byte) > piece.length ? i : piece.length
  }
  return piece.length
}

/** The length by first byte; 1 for a byte that cannot start a character, which isUtf8() or isCharacterPrefix() then rejects. */
function characterLength (first: number): number {
  if (first < 0xc0) return 1
  if (first < 0xe0) return 2
  return first < 0xf0 ? 3 : 4
}

// RFC 3629 §4: the range of the second byte excludes overlong forms, surrogates and code points beyond U+10FFFF
function isCharacterPrefix (bytes: number[]): boolean {
  const first = bytes[0]!
  if (first < 0xc2 || first > 0xf4) return false
  for (let i = 1; i < bytes.length; i++) {
    const byte = bytes[i]!
    const low = i > 1 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
    const high = i > 1 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
    if (byte < low || byte > high) return false
  }
  return true
}
