// Valid streams of frames, made at random from a seed, each with what a reader must find in it.
import { createHash } from 'node:crypto'
import { clientFrame, closePayload, serverFrame, show } from './frames.ts'
import { integer, random } from './random.ts'

export interface Specimen {
  seed: number
  /** Who reads: for a server the frames are masked. */
  role: 'client' | 'server'
  bytes: Buffer
  /** Every frame in order, as describe() shows it. */
  frames: string[]
  /** Every message and control frame in the order in which they are complete, as describe() shows them. */
  received: string[]
}

/** Where the forms of a length meet (RFC 6455 §5.2). */
const EDGES = [0, 1, 125, 126, 127]
const LARGE_EDGES = [65535, 65536]
/** Of 1, 2, 3 and 4 bytes, a byte order mark and the first and last of their kind among them. */
const CHARACTERS = ['a', '~', '\0', '\u0080', 'é', '\u07ff', '\u0800', '€', '\ud7ff', '\uffff', '\ufeff', '\u{10000}', '😀', '\u{10ffff}']

/** A short name for a frame, a message or any other bytes with a label: short bytes are shown, long ones hashed. */
export function describe (label: string, bytes: Uint8Array): string {
  const content = bytes.length <= 32 ? show(bytes) : createHash('sha1').update(bytes).digest('hex')
  return `${label}, ${bytes.length} bytes: ${content}`
}

/** How describe() calls a frame. */
export function frameLabel ({ opcode, fin }: { opcode: number, fin: boolean }): string {
  return `0x${opcode.toString(16)}${fin ? '' : ' without FIN'}`
}

/** `count` streams, for a server and for a client in turn. Every 30th holds a message of 65,535 or 65,536 bytes. */
export function corpus (count: number, firstSeed: number): Specimen[] {
  return Array.from({ length: count }, (_, i) => specimen(firstSeed + i, i))
}

function specimen (seed: number, index: number): Specimen {
  const next = random(seed)
  const role = index % 2 === 0 ? 'server' : 'client'
  const parts: Buffer[] = []
  const frames: string[] = []
  const received: string[] = []

  function put (opcode: number, fin: boolean, payload: Buffer): void {
    const key = Buffer.from([integer(next, 0, 255), integer(next, 0, 255), integer(next, 0, 255), integer(next, 0, 255)])
    parts.push(role === 'server' ? clientFrame({ opcode, fin, payload, mask: key }) : serverFrame({ opcode, fin, payload }))
    frames.push(describe(frameLabel({ opcode, fin }), payload))
  }

  function putControlFrames (): void {
    while (next() < 0.25) {
      const opcode = next() < 0.5 ? 0x9 : 0xa
      const payload = randomBytes(next, pick(next, [0, 1, 125, integer(next, 2, 124)]))
      put(opcode, true, payload)
      received.push(describe(opcode === 0x9 ? 'ping' : 'pong', payload))
    }
  }

  for (let messages = integer(next, 1, 6); messages > 0; messages--) {
    const length = index % 30 === 29 && messages === 1 ? LARGE_EDGES[(index - 29) / 30 % 2]! : randomLength(next)
    const isText = next() < 0.5
    const data = isText ? randomText(next, length) : randomBytes(next, length)
    const ends = Array.from({ length: next() < 0.5 ? 0 : integer(next, 1, 5) }, () => integer(next, 0, length)).sort((a, b) => a - b)
    let start = 0
    for (const [i, end] of [...ends, length].entries()) {
      putControlFrames()
      put(i > 0 ? 0x0 : isText ? 0x1 : 0x2, i === ends.length, data.subarray(start, end))
      start = end
    }
    received.push(describe(isText ? 'text' : 'binary', data))
  }

  putControlFrames()
  if (next() < 0.5) {
    const payload = next() < 0.3 ? closePayload() : closePayload(pick(next, [1000, 1001, 3000, 4999]), randomText(next, integer(next, 0, 123)))
    put(0x8, true, payload)
    received.push(describe('close', payload))
    if (next() < 0.5) parts.push(randomBytes(next, integer(next, 1, 20))) // §5.5.1: to be ignored
  }
  return { seed, role, bytes: Buffer.concat(parts), frames, received }
}

function pick<T> (next: () => number, values: T[]): T {
  return values[integer(next, 0, values.length - 1)]!
}

function randomLength (next: () => number): number {
  const kind = next()
  if (kind < 0.4) return pick(next, EDGES)
  return kind < 0.9 ? integer(next, 2, 300) : integer(next, 301, 3000)
}

function randomBytes (next: () => number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => integer(next, 0, 255)))
}

/** Text of exactly `length` bytes in UTF-8. */
function randomText (next: () => number, length: number): Buffer {
  let text = ''
  for (let left = length; left > 0;) {
    const character = pick(next, CHARACTERS)
    const size = Buffer.byteLength(character)
    if (size > left) continue
    text += character
    left -= size
  }
  return Buffer.from(text)
}
