import { constants, deflateRawSync } from 'node:zlib'
import { clientFrame } from '../helpers/frames.ts'
import { integer, random } from '../helpers/random.ts'
import type { Echo } from './workloads.ts'

const TEXT = 1
const BINARY = 2
const RSV1 = 4

/**
 * Messages of a client that are sent over and over, as the bytes of their frames: built and masked in advance, so that sending
 * any number of them in a row is one write of one slice.
 */
export class MessageRing {
  readonly payloads: readonly Buffer[]
  // all messages twice, so that no slice goes round the end
  readonly #bytes: Buffer
  readonly #ends: number[] = [0]

  /** @param windowBits of permessage-deflate, as agreed for the client */
  constructor (workload: Echo, windowBits: number) {
    this.payloads = payloads(workload)
    const messages = this.payloads.map(payload => Buffer.concat(frames(payload, workload, windowBits)))
    const twice = [...messages, ...messages]
    for (const message of twice) this.#ends.push(this.#ends.at(-1)! + message.length)
    this.#bytes = Buffer.concat(twice)
  }

  get length (): number {
    return this.payloads.length
  }

  /** The bytes of `count` messages from the one at `start`, both at most `length`. */
  slice (start: number, count: number): Buffer {
    return this.#bytes.subarray(this.#ends[start], this.#ends[start + count])
  }
}

function payloads ({ content, size, inFlight }: Echo): Buffer[] {
  // §7.1.1 of RFC 7692: who keeps its window would find the last message again in a short ring, which no application is like
  if (content === 'json') return Array.from({ length: Math.max(inFlight, Math.ceil(64 * 1024 / size)) }, (_, i) => json(size, i))
  if (content === 'value') return Array.from({ length: 64 }, (_, i) => value(size, i))
  if (content === 'utf8') return repeat(inFlight, utf8(size, 'Grüße, καλημέρα, 你好 🌍 '))
  // of socket.io: the text of an event
  if (content === 'event') return repeat(inFlight, Buffer.from(`42["m","${'x'.repeat(size)}"]`))
  return repeat(inFlight, Buffer.alloc(size, 'the quick brown fox jumps over the lazy dog. '))
}

function frames (payload: Buffer, { content, deflate, fragments = 1 }: Echo, windowBits: number): Buffer[] {
  const opcode = content === 'binary' ? BINARY : TEXT
  if (deflate) return [clientFrame({ opcode, rsv: RSV1, payload: compress(payload, windowBits) })]
  const length = payload.length / fragments
  return Array.from({ length: fragments }, (_, i) => clientFrame({
    opcode: i === 0 ? opcode : 0,
    fin: i === fragments - 1,
    payload: payload.subarray(i * length, (i + 1) * length)
  }))
}

/** §7.2.1 of RFC 7692, with a window that is empty before each message: right whatever was agreed on context takeover. */
function compress (payload: Buffer, windowBits: number): Buffer {
  return deflateRawSync(payload, { windowBits, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
}

function repeat (count: number, payload: Buffer): Buffer[] {
  return Array.from({ length: count }, () => payload)
}

/** `text` again and again, in whole characters, then spaces. */
function utf8 (size: number, text: string): Buffer {
  const whole = Buffer.from(text)
  const payload = Buffer.alloc(size, ' ')
  for (let at = 0; at + whole.length <= size; at += whole.length) whole.copy(payload, at)
  return payload
}

/** One of the members of the union in servers/messages.ts, `size` bytes as JSON.stringify() writes it. */
function value (size: number, seed: number): Buffer {
  const { length } = JSON.stringify(message(seed, ''))
  return Buffer.from(JSON.stringify(message(seed, 'x'.repeat(size - length))))
}

function message (seed: number, text: string): object {
  return { type: `say${seed % 8}`, text, room: 100 + seed, isUrgent: seed % 2 === 0, at: '2026-11-28T12:00:00Z' }
}

/** `size` bytes of records as an API would send them: names repeat, values differ. */
function json (size: number, seed: number): Buffer {
  const numbers = random(seed)
  const digits = (count: number): string => integer(numbers, 0, 10 ** count - 1).toString().padStart(count, '0')
  let text = ''
  while (text.length < size) {
    text += `{"id":${digits(7)},"symbol":"${['EURUSD', 'GBPJPY', 'AUDCAD', 'USDCHF'][integer(numbers, 0, 3)]}",` +
      `"bid":1.${digits(5)},"ask":1.${digits(5)},"time":"2026-05-${digits(2)}T12:${digits(2)}:${digits(2)}Z"},`
  }
  return Buffer.from(text.slice(0, size))
}
