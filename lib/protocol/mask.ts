import { http } from '../builtins.ts'

// Length from which the native function is worth its call, a view of the bytes and its checks.
const NATIVE_FROM = 48
// Length from which the word loop is worth finding an aligned start (measured: below it the byte loop wins).
const WORDS_FROM = 48
const WORD = 8

// the masking key twice, as bytes in memory order and as a word
const keyBytes = new DataView(new ArrayBuffer(WORD))
const keyWord = new BigUint64Array(keyBytes.buffer)

/**
 * Masks or unmasks (the same operation, RFC 6455 §5.3) `length` bytes of `source` from `sourceStart` into `target` from
 * `targetStart`. The two ranges must be identical or not overlap.
 * @param key the masking key as a 32-bit integer, its first byte the most significant
 * @param position how many payload bytes of the frame came before, so that a payload can be masked in pieces
 */
export type Mask = (
  source: Buffer, sourceStart: number, target: Buffer, targetStart: number, length: number, key: number, position: number
) => void

/** Masks `length` bytes of `source` into `target` from `offset`. */
type NativeMask = (source: Buffer, key: Buffer, target: Buffer, offset: number, length: number) => void

/** @param native `websocketMask` of node:http, in Node from 26.12 on: faster than any loop from 64 bytes on, four times at 64 KiB */
export function createMask (native: NativeMask | undefined): Mask {
  if (native === undefined) return maskByLoops
  const rotatedKey = Buffer.alloc(4)
  return (source, sourceStart, target, targetStart, length, key, position) => {
    if (length < NATIVE_FROM) {
      maskBytes(source, sourceStart, target, targetStart, length, rotate(key, position))
      return
    }
    rotatedKey.writeInt32BE(rotate(key, position))
    const isWhole = sourceStart === 0 && length === source.length
    native(isWhole ? source : source.subarray(sourceStart, sourceStart + length), rotatedKey, target, targetStart, length)
  }
}

export const mask: Mask = createMask((http as { websocketMask?: NativeMask }).websocketMask)

function maskByLoops (
  source: Buffer, sourceStart: number, target: Buffer, targetStart: number, length: number, key: number, position: number
): void {
  const rotated = rotate(key, position)
  if (length < WORDS_FROM) {
    maskBytes(source, sourceStart, target, targetStart, length, rotated)
    return
  }
  // a native copy and the word loop in place are faster than a byte loop between two buffers
  if (source !== target || sourceStart !== targetStart) source.copy(target, targetStart, sourceStart, sourceStart + length)
  maskWords(target, targetStart, length, rotated)
}

/** The key as it applies from payload byte `position` on. */
function rotate (key: number, position: number): number {
  const bits = (position & 3) << 3
  return (key << bits) | (key >>> (32 - bits))
}

function maskBytes (source: Buffer, sourceStart: number, target: Buffer, targetStart: number, length: number, key: number): void {
  const k0 = key >>> 24
  const k1 = (key >>> 16) & 0xff
  const k2 = (key >>> 8) & 0xff
  const k3 = key & 0xff
  let from = sourceStart
  let to = targetStart
  for (const end = sourceStart + (length & ~3); from < end; from += 4, to += 4) {
    target[to] = source[from]! ^ k0
    target[to + 1] = source[from + 1]! ^ k1
    target[to + 2] = source[from + 2]! ^ k2
    target[to + 3] = source[from + 3]! ^ k3
  }
  const rest = length & 3
  if (rest > 0) target[to] = source[from]! ^ k0
  if (rest > 1) target[to + 1] = source[from + 1]! ^ k1
  if (rest > 2) target[to + 2] = source[from + 2]! ^ k2
}

/**
 * Masks in place, by words from the first aligned address. Words of 64 bits take half as long as of 32: the compiler keeps a BigInt
 * that comes from a typed array and goes back into one in a register.
 */
function maskWords (buffer: Buffer, start: number, length: number, key: number): void {
  const lead = -(buffer.byteOffset + start) & (WORD - 1)
  maskBytes(buffer, start, buffer, start, lead, key)
  const aligned = rotate(key, lead)
  keyBytes.setInt32(0, aligned)
  keyBytes.setInt32(4, aligned)
  const word = keyWord[0]!
  const count = Math.floor((length - lead) / WORD) // no shift: a length may take more than 31 bits
  const words = new BigUint64Array(buffer.buffer, buffer.byteOffset + start + lead, count)
  const fours = count - count % 4
  let i = 0
  for (; i < fours; i += 4) {
    words[i]! ^= word
    words[i + 1]! ^= word
    words[i + 2]! ^= word
    words[i + 3]! ^= word
  }
  for (; i < count; i++) words[i]! ^= word
  const done = lead + count * WORD
  maskBytes(buffer, start + done, buffer, start + done, length - done, aligned)
}
