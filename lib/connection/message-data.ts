// What applications give to send() and get from 'message', and what lies between: bytes.
import { isAnyArrayBuffer, isUint8Array } from 'node:util/types'
import type { BinaryType, MessageData } from '../../types/connection.ts'
import { MAX_CONTROL_PAYLOAD } from '../protocol/frame.ts'

/**
 * @returns a string for text, a Buffer over the same memory for bytes, the Blob itself, whose bytes are read later
 * @throws TypeError for anything else
 */
export function toPayload (data: MessageData): string | Buffer | Blob {
  if (typeof data === 'string') return data
  if (Buffer.isBuffer(data)) return data
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  // of any realm: under Jest or node:vm there are others
  if (isAnyArrayBuffer(data)) return Buffer.from(data)
  if (data instanceof Blob) return data
  if (typeof data === 'number') return String(data)
  if (isListOfBytes(data)) return Buffer.concat(data)
  throw new TypeError(
    `a message must be a string, Buffer, TypedArray, DataView, ArrayBuffer, Blob, number or list of Buffers, not ${describe(data)}`)
}

/**
 * @param data what ping() or pong() was given; a function is its callback
 * @throws TypeError as toPayload() does, RangeError for more than 125 bytes
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

/** As what binaryType 'fragments' gives. An empty list is rather a mistake. */
function isListOfBytes (data: unknown): data is Uint8Array[] {
  return Array.isArray(data) && data.length > 0 && data.every(isUint8Array)
}

function describe (value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'another array' : typeof value
}
