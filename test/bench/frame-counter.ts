/** Counts the messages in what a server sends, by the headers of its frames alone. Masked ones too: `net` echoes those. */
export class FrameCounter {
  readonly #header = new Uint8Array(14)
  #headerLength = 0
  // of the frame whose header is complete
  #payloadLeft = 0
  readonly #pingLength: number
  /** Messages that asked for an answer, and were not counted. */
  pings = 0

  /** @param pingLength of messages that ask whether anybody is there, as engine.io's do. Default: there are none */
  constructor (pingLength = -1) {
    this.#pingLength = pingLength
  }

  /** How many messages end in these bytes. @throws Error for a Close frame */
  push (bytes: Uint8Array): number {
    let messages = 0
    let at = 0
    while (at < bytes.length) {
      if (this.#payloadLeft === 0 && !this.#takeHeaderByte(bytes[at++]!)) continue
      const taken = Math.min(this.#payloadLeft, bytes.length - at)
      at += taken
      this.#payloadLeft -= taken
      if (this.#payloadLeft > 0) break
      this.#headerLength = 0
      if (!this.#endsMessage()) continue
      if ((this.#header[1]! & 0x7f) === this.#pingLength) this.pings++
      else messages++
    }
    return messages
  }

  /** Whether the header is complete with this byte. */
  #takeHeaderByte (byte: number): boolean {
    const header = this.#header
    header[this.#headerLength++] = byte
    if (this.#headerLength < 2) return false
    const length7 = header[1]! & 0x7f
    const keyStart = length7 === 127 ? 10 : length7 === 126 ? 4 : 2
    if (this.#headerLength < keyStart + (header[1]! >= 0x80 ? 4 : 0)) return false
    let length = length7
    if (keyStart > 2) {
      length = 0
      for (let i = 2; i < keyStart; i++) length = length * 256 + header[i]!
    }
    this.#payloadLeft = length
    return true
  }

  #endsMessage (): boolean {
    const opcode = this.#header[0]! & 15
    if (opcode === 8) throw new Error('the server closed a connection')
    return this.#header[0]! >= 0x80 && opcode < 8
  }
}
