// The format of messages in a broker: a line of JSON, then the unchanged payload.
//   {"t":"room:1","b":1,"z":0,"n":"k3v9x0ab","i":12}\n<payload>
// t: topic. b 1: binary, otherwise text. z 0: do not compress. n, i: publishing process and its counter, if it wants to recognize the message.
// Publishers in other languages may write this too, without n and i.
import { isUtf8 } from 'node:buffer'
import { PreparedMessage } from '../connection/prepared-message.ts'
import { BINARY, TEXT } from '../protocol/opcode.ts'

const NEWLINE = 0x0a
// room for a name of 1,024 escaped characters, and the other fields
const MAX_HEADER = 8 * 1024

export interface Envelope {
  readonly message: PreparedMessage
  readonly node: string | null
  readonly counter: number
}

/** @param origin set if the publisher wants to recognize the message */
export function writeEnvelope (topic: string, { isBinary, mayCompress, payload }: PreparedMessage, origin: { node: string, counter: number } | null): Buffer {
  const header = `${JSON.stringify({
    t: topic,
    b: isBinary ? 1 : undefined,
    z: mayCompress ? undefined : 0,
    n: origin?.node,
    i: origin?.counter
  })}\n`
  const length = Buffer.byteLength(header)
  const body = Buffer.allocUnsafeSlow(length + payload.length) // not from the pool: it is kept
  body.write(header)
  payload.copy(body, length)
  return body
}

/** Null for an invalid envelope, or text that is not valid UTF-8, which must not be sent. */
export function readEnvelope (body: Buffer): Envelope | null {
  const header = readHeader(body)
  if (header === null) return null
  const { b, z, n, i } = header.fields
  const payload = body.subarray(header.end)
  const isBinary = b === 1
  if (!isBinary && !isUtf8(payload)) return null
  return {
    message: new PreparedMessage(isBinary ? BINARY : TEXT, payload, z !== 0),
    node: typeof n === 'string' ? n : null,
    counter: typeof i === 'number' ? i : 0
  }
}

/** The topic of a message from a broker; null if it is not in this format. */
export function readTopic (body: Buffer): string | null {
  const t = readHeader(body)?.fields.t
  return typeof t === 'string' ? t : null
}

function readHeader (body: Buffer): { fields: Record<string, unknown>, end: number } | null {
  const end = body.subarray(0, MAX_HEADER).indexOf(NEWLINE)
  if (end < 0) return null
  try {
    const fields: unknown = JSON.parse(body.toString('utf8', 0, end))
    return typeof fields === 'object' && fields !== null ? { fields: fields as Record<string, unknown>, end: end + 1 } : null
  } catch {
    return null
  }
}
