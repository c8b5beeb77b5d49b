// The payload of a Close frame: empty, or a close code and a reason. RFC 6455 §5.5.1.
import { isUtf8 } from 'node:buffer'
import { isWireCloseCode, NO_STATUS_RECEIVED } from './close-code.ts'
import { invalidCloseCode, invalidCloseReason, shortClosePayload } from '../errors.ts'
import { Frame, MAX_CONTROL_PAYLOAD } from './frame.ts'
import { CLOSE } from './opcode.ts'

/** The content of a Close frame. `code` is 1005 if its payload was empty. */
export interface Close {
  readonly code: number
  readonly reason: Buffer
}

/** A received Close frame, whose payload has been checked. */
export class CloseFrame extends Frame {
  readonly close: Close

  /** @throws ProtocolError like parseClosePayload() */
  constructor (payload: Buffer) {
    super(CLOSE, true, false, payload, true, true)
    this.close = parseClosePayload(payload)
  }
}

const EMPTY: Buffer = Buffer.alloc(0)
const MAX_REASON = MAX_CONTROL_PAYLOAD - 2

/** @throws ProtocolError 1002 for a payload of one byte or a code that must not be sent, 1007 for a reason that is not UTF-8 */
export function parseClosePayload (payload: Buffer): Close {
  if (payload.length === 0) return { code: NO_STATUS_RECEIVED, reason: EMPTY }
  if (payload.length === 1) throw shortClosePayload()
  const code = payload.readUInt16BE(0)
  if (!isWireCloseCode(code)) throw invalidCloseCode(code)
  const reason = payload.subarray(2)
  if (!isUtf8(reason)) throw invalidCloseReason()
  return { code, reason }
}

/** @returns the payload of a Close frame; empty for code 1005, which means none */
export function serializeClosePayload ({ code, reason }: Close): Buffer {
  if (code === NO_STATUS_RECEIVED) return EMPTY
  const payload = Buffer.allocUnsafe(2 + reason.length)
  payload.writeUInt16BE(code, 0)
  reason.copy(payload, 2)
  return payload
}

/** As much of a text as fits into a close reason, cut between characters. */
export function cutReason (text: string): Buffer {
  const reason = Buffer.alloc(MAX_REASON)
  return reason.subarray(0, new TextEncoder().encodeInto(text, reason).written)
}

/**
 * Checks the arguments of an application's close(). Without a code the frame is empty and the reason is dropped, as it needs a
 * code before it.
 * @throws TypeError or RangeError for a code that cannot be sent, a reason that is not UTF-8 or longer than 123 bytes
 */
export function createClose (code?: number, reason?: string | Uint8Array): Close {
  if (code === undefined) return { code: NO_STATUS_RECEIVED, reason: EMPTY }
  if (typeof code !== 'number') throw new TypeError(`a close code must be a number, not ${typeof code}`)
  if (!isWireCloseCode(code)) throw new RangeError(`close code ${code} cannot be sent`)
  if (reason === undefined) return { code, reason: EMPTY }
  if (typeof reason !== 'string' && !(reason instanceof Uint8Array)) {
    throw new TypeError(`a close reason must be a string or a Buffer, not ${typeof reason}`)
  }
  const bytes = Buffer.from(reason)
  if (bytes.length > MAX_REASON) throw new RangeError(`a close reason of ${bytes.length} bytes cannot be sent, ${MAX_REASON} is the limit`)
  if (!isUtf8(bytes)) throw new TypeError('a close reason must be valid UTF-8')
  return { code, reason: bytes }
}
