// The layout of keys and channels in Redis. Publishers in other languages rely on it, so it never changes for a prefix.
//   <prefix>:{p}            channel, to which an entry is published
//   <prefix>:{p}:n:<topic>  string, the head: `epoch number tag`; expires after headTtl
//   <prefix>:{p}:h:<topic>  list of entries, the newest last; expires after ttl
// p is the partition of a topic, in braces (a hash tag), so that all of these are on the same node of a cluster. A process with a subscriber in a
// partition gets everything published in it. With a channel per topic, each would have to be subscribed to again after a reconnect; with a single
// channel, every process would get everything.
import { crc32 } from 'node:zlib'
import type { Entry, Head } from '../../../types/topics.ts'

export const PARTITIONS = 256

interface ChannelCommands {
  readonly publish: string
  readonly subscribe: string
  readonly unsubscribe: string
}

const COMMANDS: ChannelCommands = { publish: 'PUBLISH', subscribe: 'SUBSCRIBE', unsubscribe: 'UNSUBSCRIBE' }
const SHARDED_COMMANDS: ChannelCommands = { publish: 'SPUBLISH', subscribe: 'SSUBSCRIBE', unsubscribe: 'SUNSUBSCRIBE' }

export class Layout {
  readonly commands: ChannelCommands
  readonly #channels: readonly string[]

  /** @param isSharded for a cluster: messages of a channel stay on the node that has its slot */
  constructor (prefix: string, isSharded = false) {
    this.commands = isSharded ? SHARDED_COMMANDS : COMMANDS
    this.#channels = Array.from({ length: PARTITIONS }, (_, partition) => `${prefix}:{${partition}}`)
  }

  channel (partition: number): string { return this.#channels[partition]! }
  headKey (topic: string, partition = partitionOf(topic)): string { return `${this.channel(partition)}:n:${topic}` }
  listKey (topic: string, partition = partitionOf(topic)): string { return `${this.channel(partition)}:h:${topic}` }
}

export function partitionOf (topic: string): number {
  return crc32(topic) % PARTITIONS
}

const HEAD = /^([A-Za-z0-9]{1,32}) (\d{1,16}) ([A-Za-z0-9]{1,32}|-)$/

/** Null for anything invalid: other programs may use the same Redis. */
export function parseHead (value: unknown): Head | null {
  const parts = Buffer.isBuffer(value) && value.length <= 84 ? HEAD.exec(value.toString('latin1')) : null
  return parts === null ? null : { epoch: parts[1]!, number: Number(parts[2]), tag: parts[3]! }
}

const NEWLINE = 0x0a
/** An epoch, a number and two tags, and what is between them. */
const MAX_LINE = 32 + 16 + 32 + 32 + 3
const LINE = /^([A-Za-z0-9]{1,32}) ([1-9]\d{0,15}) ([A-Za-z0-9]{1,32}) ([A-Za-z0-9]{1,32}|-)$/

/** Parses `<epoch> <number> <tag> <previous tag>\n<body>`, or `-\n<body>` without a number. Null for anything else. */
export function parseEntry (value: unknown): Entry | { readonly head: null, readonly body: Buffer } | null {
  if (!Buffer.isBuffer(value)) return null
  const end = value.subarray(0, MAX_LINE + 1).indexOf(NEWLINE)
  if (end < 1) return null
  const body = value.subarray(end + 1)
  const line = value.toString('latin1', 0, end)
  if (line === '-') return { head: null, body }
  const parts = LINE.exec(line)
  if (parts === null) return null
  const number = Number(parts[2])
  return { head: { epoch: parts[1]!, number, tag: parts[3]! }, previous: number - 1, previousTag: parts[4]!, body }
}

const PLAIN = Buffer.from('-\n')

/** The entry of a message without a number. */
export function plainEntry (body: Buffer): Buffer {
  return Buffer.concat([PLAIN, body])
}
