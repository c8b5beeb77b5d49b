// One stream of JetStream: of all topics whose rules keep as many messages.
import type { MsgHdrs } from '@nats-io/transport-node'
import { brokerAnswer, brokerMisconfigured } from '../../errors.ts'
import { parseTime } from '../../topics/environment.ts'
import { epochOf, readMessage, type Layout, type Message, type Place } from './layout.ts'
import { NO_STREAM, Refusal, Unavailable, type Session } from './session.ts'

export interface StreamOptions {
  readonly layout: Layout
  /** Messages kept of each topic. */
  readonly size: number
  /** Milliseconds. */
  readonly headTtl: number
  readonly storage: 'file' | 'memory'
  readonly replicas: number
}

interface Info {
  readonly created?: unknown
  readonly config?: Record<string, unknown>
  readonly state?: { readonly last_seq?: unknown }
}

export interface Stored extends Message {
  /** Milliseconds since 1970, by the server's clock. */
  readonly time: number
}

const NANOSECONDS = 1e6 // in a millisecond
/** Ten years: more does not fit into what JetStream counts in. */
const MAX_AGE = 10 * 365 * 86_400_000
/** Milliseconds in which a message that is published again is recognized. */
const DUPLICATE_WINDOW = 120_000
const MAX_ATTEMPTS = 100
const NONE_FOUND = 10_037
const NO_ROOM = 10_058 // its name is in use

export class Stream {
  readonly name: string
  readonly size: number
  readonly #layout: Layout
  readonly #config: Record<string, unknown>
  #epoch = ''
  #known = 0
  /** The newest that came live since open(). */
  newest: Place | null = null

  constructor ({ layout, size, headTtl, storage, replicas }: StreamOptions) {
    const maxAge = Math.min(headTtl, MAX_AGE)
    this.#layout = layout
    this.size = size
    this.name = layout.stream(size)
    this.#config = {
      name: this.name,
      description: 'topics of fastify-websocket-stream',
      subjects: [layout.subject(size, '*')],
      retention: 'limits',
      discard: 'old',
      storage,
      num_replicas: replicas,
      // besides those that are asked for the one before, which proves that none is missing, and a marker
      max_msgs_per_subject: size + 2,
      max_msgs: -1,
      max_bytes: -1,
      max_age: maxAge * NANOSECONDS,
      duplicate_window: Math.min(maxAge, DUPLICATE_WINDOW) * NANOSECONDS,
      republish: { src: layout.subject(size, '>'), dest: layout.live(size, '>') }
    }
  }

  /** What is stored from now on has a larger number. */
  get known (): number { return this.#known }

  /** Since the stream was made, as of open(). */
  get epoch (): string { return this.#epoch }

  /** Makes the stream if it is not there. @returns rejects with FST_WS_TOPICS_BROKER_CONFIG if it is another */
  async open (session: Session): Promise<void> {
    const { created, config, state } = await this.#made(session)
    const epoch = epochOf(String(created))
    if (epoch === null || config === undefined) throw brokerAnswer(`what the stream ${this.name} is`)
    const differences = differencesOf(config, this.#config)
    if (differences.length > 0) throw brokerMisconfigured(this.name, differences)
    this.#epoch = epoch
    this.newest = null
    this.#known = Number(state?.last_seq) || 0
  }

  /** @returns whether it is that of open(), with all that has come since */
  async isSame (session: Session): Promise<boolean> {
    const least = this.newest?.number ?? 0
    const info = await this.#info(session)
    return info !== null && epochOf(String(info.created)) === this.#epoch && Number(info.state?.last_seq) >= least
  }

  /** While another makes it, the server says that it was made in the year 1. */
  async #made (session: Session): Promise<Info> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const info = await this.#info(session) ?? await this.#create(session)
      if (!String(info.created).startsWith('0001-')) return info
    }
    throw new Unavailable(`the stream ${this.name} is being made`, 0)
  }

  async #info (session: Session): Promise<Info | null> {
    try {
      return await session.ask(`$JS.API.STREAM.INFO.${this.name}`, {})
    } catch (error) {
      if (error instanceof Refusal && error.code === NO_STREAM) return null
      throw error
    }
  }

  async #create (session: Session): Promise<Info> {
    try {
      return await session.ask(`$JS.API.STREAM.CREATE.${this.name}`, this.#config)
    } catch (error) {
      const info = error instanceof Refusal && error.code === NO_ROOM ? await this.#info(session) : null // made by another, meanwhile
      if (info === null) throw error
      return info
    }
  }

  /** A message has come live. @returns whether it can be one of this stream, in which numbers do not go back */
  take ({ number, tag }: Place): boolean {
    const { newest } = this
    if (newest !== null && (number < newest.number || (number === newest.number && tag !== newest.tag))) return false
    this.newest = { number, tag }
    this.#known = Math.max(this.#known, number)
    return true
  }

  /** @returns its number, or rejects as Session.send() does */
  async publish (session: Session, token: string, body: Uint8Array, headers: MsgHdrs): Promise<number> {
    headers.set('Nats-Expected-Stream', this.name)
    const { seq } = await session.send(this.#layout.subject(this.size, token), body, headers)
    if (!Number.isSafeInteger(seq) || Number(seq) < 1) throw brokerAnswer('a message')
    this.#known = Math.max(this.#known, Number(seq))
    return Number(seq)
  }

  /** The newest message of a topic. */
  async last (session: Session, token: string): Promise<Stored | null> {
    return await this.#get(session, { last_by_subj: this.#layout.subject(this.size, token) })
  }

  /** The oldest message of a topic from a number on. */
  async next (session: Session, token: string, from: number): Promise<Stored | null> {
    return await this.#get(session, { next_by_subj: this.#layout.subject(this.size, token), seq: from })
  }

  /** Of the leader alone: replicas may lack the newest, or have what has been dropped. */
  async #get (session: Session, question: object): Promise<Stored | null> {
    let answer: Record<string, unknown>
    try {
      answer = await session.ask(`$JS.API.STREAM.MSG.GET.${this.name}`, question)
    } catch (error) {
      if (error instanceof Refusal && error.code === NONE_FOUND) return null
      throw error
    }
    const { seq, hdrs, data, time } = (answer['message'] ?? {}) as { seq?: unknown, hdrs?: unknown, data?: unknown, time?: unknown }
    const fields = typeof hdrs === 'string' ? Buffer.from(hdrs, 'base64').toString('latin1') : ''
    const message = readMessage(Number(seq), name => fieldOf(fields, name), typeof data === 'string' ? Buffer.from(data, 'base64') : Buffer.alloc(0))
    if (message === null) throw brokerAnswer('what has been published')
    return { ...message, time: parseTime(String(time)) }
  }
}

function fieldOf (fields: string, name: string): string {
  const at = fields.indexOf(`\r\n${name}:`)
  return at < 0 ? '' : fields.slice(at + name.length + 3, fields.indexOf('\r\n', at + 2)).trim()
}

/** What an existing stream must have, in words; it may keep more, and longer, and as its operator likes. */
function differencesOf (given: Record<string, unknown>, wanted: Record<string, unknown>): string[] {
  const differences: string[] = []
  const compare = (name: string, isEnough: (value: unknown, least: unknown) => boolean, least = ''): void => {
    if (!isEnough(given[name], wanted[name])) differences.push(`${name} must be ${least}${JSON.stringify(wanted[name])}, and is ${JSON.stringify(given[name])}`)
  }
  const isEqual = (value: unknown, wanted: unknown): boolean => JSON.stringify(value) === JSON.stringify(wanted)
  const isNoLess = (value: unknown, least: unknown): boolean => Number(value) >= Number(least)
  const isNoLessOrNone = (value: unknown, least: unknown): boolean => Number(value) <= 0 || isNoLess(value, least)
  compare('subjects', isEqual)
  compare('retention', isEqual)
  compare('discard', isEqual)
  compare('republish', (value, wanted) => {
    const { src, dest, headers_only: isBare } = (value ?? {}) as Record<string, unknown>
    return isBare !== true && isEqual({ src, dest }, wanted)
  })
  compare('max_msgs_per_subject', isNoLessOrNone, 'at least ')
  compare('max_age', isNoLessOrNone, 'at least ')
  compare('duplicate_window', isNoLess, 'at least ')
  return differences
}
