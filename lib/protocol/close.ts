// What a Close frame says: nothing, or a close code and a reason. RFC 6455 §5.5.1.
import { isUtf8 } from 'node:buffer'
import { isWireCloseCode, NO_STATUS_RECEIVED } from './close-code.ts'
import { invalidCloseCode, invalidCloseReason, shortClosePayload } from '../errors.ts'
import { Frame, MAX_CONTROL_PAYLOAD } from './frame.ts'
import { CLOSE } from './opcode.ts'

/** What a Close frame said. `code` is 1005 when its payload was empty. */
export interface Close {
  readonly code: number
  readonly reason: Buffer
}

/** A Close frame that came in: its payload is read once, when it is checked. */
export class CloseFrame extends Frame {
  readonly close: Close

  /** @throws ProtocolError as parseClosePayload() does */
  constructor (payload: Buffer) {
    super(CLOSE, true, false, payload, true, true)
    this.close = parseClosePayload(payload)
  }
}

const EMPTY: Buffer = Buffer.alloc(0)
const MAX_REASON = MAX_CONTROL_PAYLOAD - 2

/** @throws ProtocolError 1002 for a payload of one byte or a code that must not be on the wire, 1007 for a reason that is not UTF-8 */
export function parseClosePayload (payload: Buffer): Close {
  if (payload.length === 0) return { code: NO_STATUS_RECEIVED, reason: EMPTY }
  if (payload.length === 1) throw shortClosePayload()
  const code = payload.readUInt16BE(0)
  if (!isWireCloseCode(code)) throw invalidCloseCode(code)
  const reason = payload.subarray(2)
  if (!isUtf8(reason)) throw invalidCloseReason()
  return { code, reason }
}

/** @returns the payload for a Close frame; empty for code 1005, which stands for no code at all */
export function serializeClosePayload ({ code, reason }: Close): Buffer {
  if (code === NO_STATUS_RECEIVED) return EMPTY
  const payload = Buffer.allocUnsafe(2 + reason.length)
  payload.writeUInt16BE(code, 0)
  reason.copy(payload, 2)
  return payload
}

/** As much of a text as fits into a reason, cut between characters. */
export function cutReason (text: string): Buffer {
  const reason = Buffer.alloc(MAX_REASON)
  return reason.subarray(0, new TextEncoder().encodeInto(text, reason).written)
}

/**
 * Checks what an application wants a Close frame to say. Without a code the frame is empty and the reason is dropped:
 * a reason needs a code before it.
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
