// Frames written and read by hand, as plainly as RFC 6455 §5.2 can be said and without lib, so that no test checks the
// library against itself.

export interface FrameFields {
  opcode: number
  /** Default: empty. */
  payload?: string | Uint8Array
  /** Default: true. */
  fin?: boolean
  /** RSV1, RSV2 and RSV3 as one number of three bits, so 4 is RSV1. Default: 0. */
  rsv?: number
  /** The masking key, four bytes; null: not masked. Default: KEY from a client, null from a server. */
  mask?: Uint8Array | null
  /** The form that the length is written in. Default: the shortest that holds it. */
  lengthBits?: 7 | 16 | 64
  /** What the header announces. Default: the payload's length. */
  length?: number | bigint
}

/** A frame as readFrames() found it. */
export interface WireFrame {
  fin: boolean
  rsv: number
  opcode: number
  /** null: not masked. */
  mask: Buffer | null
  lengthBits: 7 | 16 | 64
  /** Unmasked. */
  payload: Buffer
}

/** The masking key of the examples in RFC 6455 §5.7. */
export const KEY = hex('37 fa 21 3d')

/** The bytes that a text such as '81 85 37 fa 21 3d' shows. */
export function hex (text: string): Buffer {
  const digits = text.replaceAll(/\s/g, '')
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error(`not bytes in hexadecimal: ${text}`)
  return Buffer.from(digits, 'hex')
}

/** Bytes as a text such as '81 85 37 fa 21 3d'. */
export function show (bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join(' ')
}

/** A frame as a client writes it: masked. */
export function clientFrame (fields: FrameFields): Buffer {
  return frame({ mask: KEY, ...fields })
}

/** A frame as a server writes it: not masked. */
export function serverFrame (fields: FrameFields): Buffer {
  return frame({ mask: null, ...fields })
}

/** The payload of a Close frame; without a code it is empty. */
export function closePayload (code?: number, reason: string | Uint8Array = ''): Buffer {
  if (code === undefined) return Buffer.alloc(0)
  return Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)])
}

/** Reads the frames that `bytes` start with; `rest` is what is not a whole frame. Nothing is judged. */
export function readFrames (bytes: Buffer): { frames: WireFrame[], rest: Buffer } {
  const frames: WireFrame[] = []
  let rest = bytes
  while (rest.length >= 2) {
    const length7 = rest[1]! & 0x7f
    const lengthBits = length7 === 127 ? 64 : length7 === 126 ? 16 : 7
    const keyStart = lengthBits === 64 ? 10 : lengthBits === 16 ? 4 : 2
    const payloadStart = keyStart + (rest[1]! >= 0x80 ? 4 : 0)
    if (rest.length < payloadStart) break
    let length = length7
    if (lengthBits !== 7) {
      length = 0
      for (let i = 2; i < keyStart; i++) length = length * 256 + rest[i]!
    }
    const end = payloadStart + length
    if (rest.length < end) break
    const mask = payloadStart > keyStart ? Buffer.from(rest.subarray(keyStart, payloadStart)) : null
    frames.push({
      fin: rest[0]! >= 0x80,
      rsv: (rest[0]! >> 4) & 7,
      opcode: rest[0]! & 15,
      mask,
      lengthBits,
      payload: masked(rest.subarray(payloadStart, end), mask)
    })
    rest = rest.subarray(end)
  }
  return { frames, rest }
}

function frame ({ opcode, payload = '', fin = true, rsv = 0, mask = null, lengthBits, length }: FrameFields): Buffer {
  const data = Buffer.from(payload)
  const announced = BigInt(length ?? data.length)
  const bits = lengthBits ?? (announced < 126n ? 7 : announced < 65536n ? 16 : 64)
  const maskBit = mask === null ? 0 : 0x80
  const header = [(fin ? 0x80 : 0) + rsv * 16 + opcode]
  if (bits === 7) {
    header.push(maskBit + Number(announced))
  } else {
    header.push(maskBit + (bits === 16 ? 126 : 127))
    for (let shift = BigInt(bits) - 8n; shift >= 0n; shift -= 8n) header.push(Number((announced >> shift) & 255n))
  }
  return Buffer.concat([Buffer.from(header), mask ?? Buffer.alloc(0), masked(data, mask)])
}

/** §5.3: transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4). */
function masked (data: Buffer, mask: Uint8Array | null): Buffer {
  const result = Buffer.from(data)
  if (mask !== null) for (let i = 0; i < result.length; i++) result[i]! ^= mask[i % 4]!
  return result
}
