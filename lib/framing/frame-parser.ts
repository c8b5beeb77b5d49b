// bytes -> frames (RFC 6455 §5)
// A header or control frame cut off by the end of a chunk ("cut" below) is kept until the rest arrives; data frames are output in the
// pieces in which they arrive.
import { CloseFrame } from '../protocol/close.ts'
import {
  expectedContinuation, maskedFrame, oversizedMessage, reservedBit, unexpectedContinuation, unexpectedEnd, unmaskedFrame
} from '../errors.ts'
import { decodeFrameHeader, Frame, FrameHeader, MAX_HEADER_LENGTH } from '../protocol/frame.ts'
import { mask } from '../protocol/mask.ts'
import { CLOSE, CONTINUATION, isControlOpcode } from '../protocol/opcode.ts'
import type { Role } from '../protocol/role.ts'
import { LonePiece } from './lone-piece.ts'
import { PullTransform } from './pull-transform.ts'
import type { TransformCallback } from 'node:stream'

export interface FrameParserOptions {
  /** The reading side: a server requires masked frames, a client rejects them. RFC 6455 §5.1. */
  role: Role
  /** Maximum payload bytes that the frames of one message may announce together; more fails with 1009. Default: no limit. */
  maxPayload?: number
  /** An extension that uses RSV1 was negotiated, such as permessage-deflate. Default: false. RFC 7692 §6. */
  allowsRsv1?: boolean
  /**
   * Chunks may be modified: payloads are unmasked in place. Only for memory that no other code uses, such as data read by your own
   * socket. Default: false.
   */
  ownsChunks?: boolean
}

// Incompressible data grows: zlib adds 5 bytes per 16 KiB or less.
const DEFLATE_OVERHEAD = 1.01
const MIN_DEFLATE_OVERHEAD = 64

const EMPTY: Buffer = Buffer.alloc(0)

/**
 * A Transform from bytes to {@link Frame}s, for one direction of one connection. It fails with a ProtocolError if a frame header or the
 * payload of a Close frame breaks RFC 6455 §5, after all frames before it were read. It does not check that text is UTF-8. Input after
 * a Close frame or an error is ignored.
 */
export class FrameParser extends PullTransform<Buffer, Frame> {
  /**
   * Maximum payload bytes that the frames of one message may announce together. next() throws while a message exceeds it; it may be
   * changed at any time.
   */
  maxPayload: number
  readonly #role: Role
  readonly #allowsRsv1: boolean
  readonly #ownsChunks: boolean

  #chunk: Buffer = EMPTY
  #position = 0
  // nobody else has the chunk, and no frame has a part of it
  #isFresh = false
  // the start of an incomplete header
  #cutHeader: Buffer | null = null
  #cutHeaderLength = 0
  // the payload of an incomplete control frame
  #cutControl: Buffer | null = null

  readonly #header = new FrameHeader()
  #inFrame = false
  // payload bytes of the frame already output
  #taken = 0

  // of the fragmented message in progress; CONTINUATION for none
  #messageOpcode: number = CONTINUATION
  #messageLength = 0
  #isCompressed = false
  // after a Close frame or an error input is ignored
  #ended = false

  constructor ({ role, maxPayload = Infinity, allowsRsv1 = false, ownsChunks = false }: FrameParserOptions) {
    // 1: the reader controls buffering, and an error never overtakes a frame (see PullTransform)
    super({ readableObjectMode: true, readableHighWaterMark: 1 })
    this.#role = role
    this.maxPayload = maxPayload
    this.#allowsRsv1 = allowsRsv1
    this.#ownsChunks = ownsChunks
  }

  /** @param isLone nobody else has or had the chunk, so that it may be freed. Default: false */
  override feed (chunk: Buffer, isLone = false): void {
    this.#chunk = this.#position < this.#chunk.length
      ? Buffer.concat([this.#chunk.subarray(this.#position), chunk])
      : chunk
    this.#position = 0
    this.#isFresh = isLone
  }

  override next (): Frame | null {
    if (this.#ended) {
      this.#releaseChunk()
      return null
    }
    try {
      if (this.#inFrame || this.#readHeader()) {
        if (isControlOpcode(this.#header.opcode)) return this.#takeControlFrame()
        if (!this.isOversized) return this.#takePiece()
      }
    } catch (error) {
      this.#ended = true
      throw error
    }
    // checks the announced length, before anything is allocated or awaited
    if (this.isOversized) throw oversizedMessage(this.#messageLength, this.maxPayload)
    this.#releaseChunk()
    return null
  }

  /** The message in progress has announced more than maxPayload. */
  get isOversized (): boolean {
    return this.#messageLength > (this.#isCompressed ? this.maxPayload * DEFLATE_OVERHEAD + MIN_DEFLATE_OVERHEAD : this.maxPayload)
  }

  /** It holds no part of a frame or message, and may be reused for another connection. @internal */
  get isIdle (): boolean {
    return this.#chunk === EMPTY && this.#messageOpcode === CONTINUATION && !this.#inFrame && this.#cutHeader === null && !this.#ended
  }

  override _flush (callback: TransformCallback): void {
    const isUnfinished = this.#inFrame || this.#cutHeader !== null || this.#messageOpcode !== CONTINUATION
    process.nextTick(callback, isUnfinished && !this.#ended ? unexpectedEnd() : null)
  }

  /** @returns false while the header is incomplete */
  #readHeader (): boolean {
    const header = this.#header
    if (this.#cutHeader === null) {
      const length = decodeFrameHeader(this.#chunk, this.#position, this.#chunk.length, header)
      if (length === 0) {
        this.#keepHeader()
        return false
      }
      this.#position += length
    } else if (!this.#completeHeader(this.#cutHeader)) {
      return false
    }
    this.#beginFrame(header)
    return true
  }

  #keepHeader (): void {
    const rest = this.#chunk.length - this.#position
    if (rest === 0) return
    this.#cutHeader = Buffer.allocUnsafe(MAX_HEADER_LENGTH)
    this.#cutHeaderLength = this.#chunk.copy(this.#cutHeader, 0, this.#position)
    this.#position = this.#chunk.length
  }

  #completeHeader (cut: Buffer): boolean {
    while (this.#position < this.#chunk.length) {
      cut[this.#cutHeaderLength++] = this.#chunk[this.#position++]!
      if (decodeFrameHeader(cut, 0, this.#cutHeaderLength, this.#header) > 0) {
        this.#cutHeader = null
        return true
      }
    }
    return false
  }

  /** Checks the rules that need more than the header itself. */
  #beginFrame ({ opcode, masked, rsv1, payloadLength }: FrameHeader): void {
    // §5.1
    if (masked !== (this.#role === 'server')) throw masked ? maskedFrame() : unmaskedFrame()
    // §5.2; RFC 7692 §6.1: only the first frame of a message may have RSV1
    if (rsv1 && (!this.#allowsRsv1 || opcode === CONTINUATION || isControlOpcode(opcode))) throw reservedBit(1)
    if (!isControlOpcode(opcode)) {
      // §5.4: fragments of different messages must not be interleaved
      const inMessage = this.#messageOpcode !== CONTINUATION
      if (opcode === CONTINUATION && !inMessage) throw unexpectedContinuation()
      if (opcode !== CONTINUATION && inMessage) throw expectedContinuation(opcode)
      this.#messageLength += payloadLength
      if (!inMessage) {
        this.#messageOpcode = opcode
        this.#isCompressed = rsv1
      }
    }
    this.#inFrame = true
    this.#taken = 0
  }

  #takePiece (): Frame | null {
    const { opcode, fin, rsv1, payloadLength } = this.#header
    const remaining = payloadLength - this.#taken
    const length = Math.min(remaining, this.#chunk.length - this.#position)
    if (length === 0 && remaining > 0) {
      this.#releaseChunk()
      return null
    }
    const first = this.#taken === 0
    const last = length === remaining
    // a whole message is handed on as it is, and whole fragments seldom fill a chunk
    const mayBeLone = this.#isFresh && !(first && last)
    const payload = this.#takePayload(length)
    if (last) {
      this.#inFrame = false
      if (fin) {
        this.#messageOpcode = CONTINUATION
        this.#messageLength = 0
      }
    }
    if (mayBeLone && this.#isWholeChunkRead()) {
      this.#releaseChunk()
      return new LonePiece(opcode, fin, rsv1, payload, first, last)
    }
    return new Frame(opcode, fin, rsv1, payload, first, last)
  }

  /** And there is nothing but the chunk in its memory. */
  #isWholeChunkRead (): boolean {
    const { length, buffer } = this.#chunk
    return this.#position === length && length === buffer.byteLength
  }

  #takeControlFrame (): Frame | null {
    const { opcode, payloadLength } = this.#header
    const here = Math.min(payloadLength - this.#taken, this.#chunk.length - this.#position)
    let payload: Buffer
    if (this.#cutControl === null && here === payloadLength) {
      payload = this.#takePayload(payloadLength)
    } else {
      this.#cutControl ??= Buffer.allocUnsafe(payloadLength)
      const start = this.#taken
      this.#takePayload(here).copy(this.#cutControl, start)
      if (this.#taken < payloadLength) {
        this.#releaseChunk()
        return null
      }
      payload = this.#cutControl
      this.#cutControl = null
    }
    this.#inFrame = false
    if (opcode === CLOSE) {
      this.#ended = true // §5.5.1: nothing follows
      return new CloseFrame(payload)
    }
    return new Frame(opcode, true, false, payload, true, true)
  }

  /** The next `length` bytes of the chunk, unmasked. */
  #takePayload (length: number): Buffer {
    const start = this.#position
    const { masked, maskingKey } = this.#header
    const position = this.#taken
    this.#position = start + length
    this.#isFresh = false
    this.#taken += length
    if (masked && !this.#ownsChunks) {
      const payload = Buffer.allocUnsafe(length)
      mask(this.#chunk, start, payload, 0, length, maskingKey, position)
      return payload
    }
    const payload = this.#chunk.subarray(start, start + length)
    if (masked) mask(payload, 0, payload, 0, length, maskingKey, position)
    return payload
  }

  /** An idle connection must not keep its last chunk in memory. */
  #releaseChunk (): void {
    this.#chunk = EMPTY
    this.#position = 0
  }
}
