// The base framing protocol of RFC 6455 §5.2 as a pure codec of single frame headers, without state from earlier frames.
import {
  fragmentedControlFrame, negativeLength, oversizedControlFrame, paddedLength, reservedBit, unknownOpcode, unsafeLength
} from '../errors.ts'
import { isControlOpcode, isKnownOpcode, type Opcode } from './opcode.ts'

export const MAX_CONTROL_PAYLOAD = 125
export const MAX_HEADER_LENGTH = 14

/** A frame, or a piece of a data frame that has not arrived completely. Control frames are always whole. */
export class Frame {
  readonly opcode: Opcode
  /** The frame's FIN bit: it is the last of its message. */
  readonly fin: boolean
  readonly rsv1: boolean
  /** Unmasked. */
  readonly payload: Buffer
  /** This is the first piece of its frame. */
  readonly first: boolean
  /** This is the last piece of its frame. */
  readonly last: boolean

  constructor (opcode: Opcode, fin: boolean, rsv1: boolean, payload: Buffer, first: boolean, last: boolean) {
    this.opcode = opcode
    this.fin = fin
    this.rsv1 = rsv1
    this.payload = payload
    this.first = first
    this.last = last
  }
}

/** Filled in by decodeFrameHeader(); one per parser, reused for each frame. */
export class FrameHeader {
  fin = false
  rsv1 = false
  opcode: Opcode = 0
  masked = false
  /** 32 bits, with the first byte of the masking key as the most significant; 0 if the frame is not masked. */
  maskingKey = 0
  payloadLength = 0
}

/**
 * Reads the frame header in `source` between `start` and `end`. Errors in the first bytes are detected before the rest
 * arrives. `header` is modified only when it is complete. RFC 6455 §5.2.
 * @returns the header's length in bytes, or 0 if it extends beyond `end`
 * @throws ProtocolError for reserved bits and opcodes, invalid control frames and invalid lengths
 */
export function decodeFrameHeader (source: Buffer, start: number, end: number, header: FrameHeader): number {
  if (start >= end) return 0
  const byte0 = source[start]!
  if ((byte0 & 0x30) !== 0) throw reservedBit((byte0 & 0x20) !== 0 ? 2 : 3)
  const fin = (byte0 & 0x80) !== 0
  const opcode = byte0 & 0x0f
  if (!isKnownOpcode(opcode)) throw unknownOpcode(opcode)
  // §5.5: control frames are not fragmented
  if (!fin && isControlOpcode(opcode)) throw fragmentedControlFrame(opcode)

  if (start + 1 >= end) return 0
  const byte1 = source[start + 1]!
  const length7 = byte1 & 0x7f
  // §5.5: at most 125 bytes, checked before the payload is buffered
  if (length7 > MAX_CONTROL_PAYLOAD && isControlOpcode(opcode)) throw oversizedControlFrame()

  let position = start + 2
  let payloadLength = length7
  if (length7 === 126) {
    if (position + 2 > end) return 0
    payloadLength = source.readUInt16BE(position)
    // §5.2: the minimal number of bytes must be used
    if (payloadLength < 126) throw paddedLength(payloadLength, 16)
    position += 2
  } else if (length7 === 127) {
    if (position < end && source[position]! > 0x7f) throw negativeLength()
    if (position + 8 > end) return 0
    const high = source.readUInt32BE(position)
    if (high > 0x1fffff) throw unsafeLength()
    payloadLength = high * 0x100000000 + source.readUInt32BE(position + 4)
    if (payloadLength < 0x10000) throw paddedLength(payloadLength, 64)
    position += 8
  }

  const masked = (byte1 & 0x80) !== 0
  let maskingKey = 0
  if (masked) {
    if (position + 4 > end) return 0
    maskingKey = source.readInt32BE(position)
    position += 4
  }

  header.fin = fin
  header.rsv1 = (byte0 & 0x40) !== 0
  header.opcode = opcode
  header.masked = masked
  header.maskingKey = maskingKey
  header.payloadLength = payloadLength
  return position - start
}

export function frameHeaderLength (payloadLength: number, masked: boolean): number {
  return (payloadLength < 126 ? 2 : payloadLength < 0x10000 ? 4 : 10) + (masked ? 4 : 0)
}

/**
 * Writes a frame header to `target` at `position`, with the minimal encoding of the length.
 * @param maskingKey 32 bits, or null for a frame that is not masked
 * @returns the position after it
 */
export function encodeFrameHeader (
  target: Buffer, position: number, opcode: Opcode, fin: boolean, rsv1: boolean, payloadLength: number, maskingKey: number | null
): number {
  const maskBit = maskingKey === null ? 0 : 0x80
  target[position] = opcode | (fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0)
  let end = position + 2
  if (payloadLength < 126) {
    target[position + 1] = payloadLength | maskBit
  } else if (payloadLength < 0x10000) {
    target[position + 1] = 126 | maskBit
    end = target.writeUInt16BE(payloadLength, end)
  } else {
    target[position + 1] = 127 | maskBit
    end = target.writeUInt32BE(Math.floor(payloadLength / 0x100000000), end)
    end = target.writeUInt32BE(payloadLength % 0x100000000, end)
  }
  return maskingKey === null ? end : target.writeInt32BE(maskingKey, end)
}
