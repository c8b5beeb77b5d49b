// Converts what applications pass to send() and get from 'message' to and from bytes.
import { isAnyArrayBuffer, isUint8Array } from 'node:util/types'
import type { BinaryType, MessageData } from '../../types/connection.ts'
import { MAX_CONTROL_PAYLOAD } from '../protocol/frame.ts'

/**
 * @returns a string for text, a Buffer for bytes (sharing memory where possible), or the Blob itself, whose bytes are read later
 * @throws TypeError for anything else
 */
export function toPayload (data: MessageData): string | Buffer | Blob {
  if (typeof data === 'string') return data
  if (Buffer.isBuffer(data)) return data
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  // works across realms, as under Jest or node:vm
  if (isAnyArrayBuffer(data)) return Buffer.from(data)
  if (data instanceof Blob) return data
  if (typeof data === 'number') return String(data)
  if (isListOfBytes(data)) return Buffer.concat(data)
  throw new TypeError(
    `a message must be a string, Buffer, TypedArray, DataView, ArrayBuffer, Blob, number or list of Buffers, not ${describe(data)}`)
}

/**
 * @param data the argument of ping() or pong(); a function is its callback, so there is no data
 * @throws TypeError like toPayload(), RangeError for more than 125 bytes
 */
export function toControlPayload (data: unknown): Buffer {
  const payload = data === undefined || data === null || typeof data === 'function' ? '' : toPayload(data as MessageData)
  if (payload instanceof Blob) throw new TypeError('a Blob cannot be sent in a Ping or Pong')
  const bytes = Buffer.from(payload)
  if (bytes.length <= MAX_CONTROL_PAYLOAD) return bytes
  throw new RangeError(`${bytes.length} bytes cannot be sent in a Ping or Pong, ${MAX_CONTROL_PAYLOAD} is the limit`)
}

export const BINARY_TYPES: ReadonlySet<unknown> = new Set<BinaryType>(['nodebuffer', 'arraybuffer', 'fragments', 'blob'])

export function convertBinary (data: Buffer, binaryType: BinaryType): Buffer | ArrayBuffer | Buffer[] | Blob {
  switch (binaryType) {
    case 'arraybuffer': return new Uint8Array(data).buffer
    case 'fragments': return [data]
    case 'blob': return new Blob([data])
    case 'nodebuffer': return data
  }
}

/** The form of binaryType 'fragments'. An empty list is more likely a mistake. */
function isListOfBytes (data: unknown): data is Uint8Array[] {
  return Array.isArray(data) && data.length > 0 && data.every(isUint8Array)
}

function describe (value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'another array' : typeof value
}
