// Memory that may be kept beside the bytes that are wanted.
const ALLOWANCE = 256

/**
 * Bytes that are a small part of the memory they lie in, such as a message in the chunk that it came with, keep all of that alive.
 * @returns them, as a copy where that is so
 */
export function ownMemory (bytes: Buffer): Buffer {
  return bytes.buffer.byteLength > 2 * bytes.length + ALLOWANCE ? Buffer.from(bytes) : bytes
}
