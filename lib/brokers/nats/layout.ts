// The layout of streams, subjects and headers in NATS. Publishers in other languages rely on it, so it never changes for a prefix.
//   <prefix>-<size>               stream of the topics of which that many messages are kept; with 0 they are numbered only
//   <prefix>.<size>.<token>       subject of a topic in it, to which messages are published
//   <prefix>.live.<size>.<token>  to which the stream republishes each message, with its number
//   <prefix>.live.plain.<token>   messages without a number
// The token is the topic in base64url. A message is a line of JSON and the payload, see lib/topics/envelope.ts. Its header fields:
//   Ws-Tag   8 random letters and digits. Without it, a checksum of the message takes its place
//   Ws-Head  of a marker, which keeps the head of a quiet topic, and is not delivered: `<number>.<tag>` of the message it stands for, or `-`
import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { headers, type Msg, type MsgHdrs } from '@nats-io/transport-node'

export const TAG_FIELD = 'Ws-Tag'
export const HEAD_FIELD = 'Ws-Head'

/** The part of a head that a stream does not have in common. */
export interface Place {
  readonly number: number
  readonly tag: string
}

export interface Message extends Place {
  /** It stands for this: for itself, or, as a marker, for an older one. */
  readonly head: Place
  readonly isMarker: boolean
  readonly body: Buffer
}

/** Of no topic, as none has a token of one character. */
export const TRIAL_TOKEN = '-'

/** A server ends a connection that sends it a line, with all its subjects, of more than 4 KiB. */
const MAX_ENCODED = 255

export class Layout {
  readonly #prefix: string

  constructor (prefix: string) {
    this.#prefix = prefix
  }

  stream (size: number): string { return `${this.#prefix}-${size}` }
  subject (size: number, token: string): string { return `${this.#prefix}.${size}.${token}` }
  live (size: number | 'plain' | '*', token: string): string { return `${this.#prefix}.live.${size}.${token}` }
  /** The size in a live subject, as it is written there. */
  sizeIn (subject: string): string { return subject.slice(this.#prefix.length + 6, subject.lastIndexOf('.')) }
}

export function tokenOf (topic: string): string {
  const bytes = Buffer.from(topic)
  return bytes.length <= MAX_ENCODED ? bytes.toString('base64url') : `~${hash('sha256', bytes, 'base64url')}`
}

const TAG = /^[A-Za-z0-9]{1,32}$/
const HEAD = /^(\d{1,16})\.([A-Za-z0-9]{1,32})$/

/** Null if the number is none. @param field of its header; '' for none */
export function readMessage (number: number, field: (name: string) => string, body: Buffer): Message | null {
  if (!Number.isSafeInteger(number) || number < 1) return null
  const given = field(TAG_FIELD)
  const tag = TAG.test(given) ? given : crc32(body).toString(36)
  const marked = field(HEAD_FIELD)
  const head = HEAD.exec(marked)
  return { number, tag, head: head === null ? { number, tag } : { number: Number(head[1]), tag: head[2]! }, isMarker: marked !== '', body }
}

/** What a stream that was made then is told from by others of its name. @param created as in RFC 3339, in UTC */
export function epochOf (created: string): string | null {
  const parts = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z$/.exec(created)
  if (parts === null) return null
  return BigInt(`${parts.slice(1, 7).join('')}${(parts[7] ?? '').padEnd(9, '0')}`).toString(36)
}

export function headersOf (fields: Readonly<Record<string, string>>): MsgHdrs {
  const made = headers()
  for (const [name, value] of Object.entries(fields)) made.set(name, value)
  return made
}

export const fieldOf = (message: Msg, name: string): string => message.headers?.get(name) ?? ''
