// Streams number, store and republish messages; plain subscriptions deliver them. The client reconnects by itself: that is reported to the host as
// interrupted(), and as restored() once its subscriptions are acknowledged and the streams are there.
import type { Msg, NatsConnection, Status } from '@nats-io/transport-node'
import type { Broker, BrokerHost, Entry, Head, Rule } from '../../../types/topics.ts'
import { brokerDown, brokerLost, brokerRefused, brokerTooOld, brokerUncertain, topicsClosed, TopicsError } from '../../errors.ts'
import { randomTag, type Environment } from '../../topics/environment.ts'
import { readHistory, type Shelf } from './history.ts'
import { InFlight } from './in-flight.ts'
import { fieldOf, HEAD_FIELD, headersOf, Layout, readMessage, TAG_FIELD, tokenOf, type Place } from './layout.ts'
import { isFinal, Refusal, Session, Unanswered, Unavailable } from './session.ts'
import { Stream } from './stream.ts'
import { Subscriptions, type SubscriptionsOwner, type Topic } from './subscriptions.ts'
import { tryAll } from './trial.ts'

export interface JetstreamBrokerOptions {
  readonly connection: NatsConnection
  readonly prefix: string
  readonly timeout: number
  readonly storage: 'file' | 'memory'
  readonly replicas: number
}

const OLDEST = [2, 9, 10] as const
const TICK = 10_000 // ms
const RETRY_DELAY = 25 // ms
const MAX_RETRY_DELAY = 500
/** More than the header fields of a message take. */
const FIELDS = 512
const WRONG_LAST_SEQUENCE = 10_071

export class JetstreamBroker implements Broker, SubscriptionsOwner {
  readonly numbered = true
  readonly connection: NatsConnection
  readonly #options: JetstreamBrokerOptions
  readonly #environment: Environment
  readonly #now: () => number
  readonly #layout: Layout
  readonly #subscriptions: Subscriptions
  // by how many messages they keep
  readonly #streams = new Map<number, Stream>()
  readonly #opening = new Map<number, Promise<Stream>>()
  #host: BrokerHost | null = null
  #status: AsyncIterable<Status> | null = null
  // what is open, or being opened
  #session: Session | null = null
  #isUp = false
  #isConnected = true
  #hasStarted = false
  #attempts = 0
  #cancelAttempt: (() => void) | null = null
  #cancelTick: (() => void) | null = null
  readonly #inFlight: InFlight

  constructor (options: JetstreamBrokerOptions, environment: Environment, now: () => number) {
    this.#options = options
    this.connection = options.connection
    this.#environment = environment
    this.#now = now
    this.#layout = new Layout(options.prefix)
    this.#subscriptions = new Subscriptions(this)
    this.#inFlight = new InFlight({
      environment,
      timeout: options.timeout,
      fail: (session, error) => { this.#fail(session, error) },
      isOver: () => this.#host === null
    })
  }

  // Start and end

  async start (host: BrokerHost, node: string, rules: readonly Rule[] = []): Promise<void> {
    this.#host = host
    this.#inFlight.node = node
    this.#hasStarted = false
    this.#isConnected = true
    this.#streams.clear()
    this.#opening.clear()
    for (const rule of rules) if (!rule.plain) this.#streams.set(rule.size, this.#newStream(rule))
    void this.#watch(this.#status = this.connection.status())
    const session = this.#session = this.#newSession()
    try {
      await session.flush()
      this.#checkVersion()
      await this.#openStreams(session)
      await tryAll(session, {
        connection: this.connection,
        layout: this.#layout,
        streams: [...this.#streams.values()],
        hasPlain: rules.some(({ plain }) => plain),
        timeout: this.#options.timeout,
        environment: this.#environment
      })
      if (session !== this.#session) throw topicsClosed() // meanwhile
    } catch (error) {
      this.#leave()
      if (error instanceof Unavailable) throw brokerRefused('JetStream, which must be enabled', error)
      throw error instanceof TopicsError ? error : brokerLost(error as Error)
    }
    this.#hasStarted = this.#isUp = true
    this.#tick()
  }

  async stop (): Promise<void> {
    this.#leave()
    this.#subscriptions.clear(topicsClosed())
    this.#inFlight.giveUp(topicsClosed())
  }

  #leave (): void {
    this.#host = null
    this.#isUp = false
    this.#cancelAttempt?.()
    this.#cancelTick?.()
    this.#session?.end(topicsClosed())
    this.#session = null
    ;(this.#status as { stop?: () => void } | null)?.stop?.()
    this.#status = null
  }

  #newStream ({ size, headTtl }: Rule): Stream {
    const { storage, replicas } = this.#options
    return new Stream({ layout: this.#layout, size, headTtl, storage, replicas })
  }

  #newSession (): Session {
    return new Session({ connection: this.connection, timeout: this.#options.timeout, environment: this.#environment })
  }

  #checkVersion (): void {
    const { version = '' } = this.connection.info ?? {}
    const parts = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number)
    const difference = parts?.map((part, i) => part - OLDEST[i]!).find(difference => difference !== 0) ?? 0
    if (difference < 0) throw brokerTooOld(`NATS ${version}`, OLDEST.join('.'))
  }

  async #openStreams (session: Session): Promise<void> {
    for (const stream of this.#streams.values()) {
      try {
        await stream.open(session)
      } catch (error) {
        throw isFinal(error) ? brokerRefused(`the stream ${stream.name}`, error) : error
      }
    }
  }

  /** Of a rule that start() was not told of. */
  async #addStream (session: Session, rule: Rule): Promise<Stream> {
    const stream = this.#newStream(rule)
    await stream.open(session)
    this.#streams.set(rule.size, stream)
    return stream
  }

  async #streamOf (session: Session, rule: Rule): Promise<Stream> {
    const { size } = rule
    if (!this.#opening.has(size)) this.#opening.set(size, this.#addStream(session, rule).finally(() => { this.#opening.delete(size) }))
    return await this.#opening.get(size)!
  }

  // The connection

  async #watch (status: AsyncIterable<Status>): Promise<void> {
    for await (const { type } of status) {
      if (status !== this.#status) return
      if (type === 'disconnect') {
        this.#isConnected = false
        this.#fail(this.#session, new Error('it was disconnected'))
      } else if (type === 'reconnect') {
        this.#isConnected = true
        this.#openLater(0)
      } else if (type === 'close') {
        this.#isConnected = false
        this.#fail(this.#session, new Error('it was closed, and does not reconnect'))
      }
    }
  }

  #fail (session: Session | null, error: Error): void {
    if (session === null || session !== this.#session) return
    this.#session = null
    session.end(error)
    if (!this.#hasStarted) return // start() rejects
    if (this.#isUp) {
      this.#isUp = false
      this.#host?.interrupted()
    }
    this.#host?.error(brokerLost(error))
    if (this.#isConnected) this.#openLater()
  }

  /** @param delay default: the longer, the more often it has failed, with jitter, so that many processes do not ask at the same time */
  #openLater (delay = Math.min(RETRY_DELAY * 2 ** this.#attempts++, MAX_RETRY_DELAY) * (0.5 + this.#environment.random() / 2)): void {
    if (!this.#hasStarted) return
    this.#cancelAttempt?.()
    this.#cancelAttempt = this.#environment.schedule(() => { if (this.#isConnected) void this.#open() }, delay, true)
  }

  async #open (): Promise<void> {
    this.#session?.end(new Error('it has reconnected'))
    const session = this.#session = this.#newSession()
    this.#subscriptions.forget()
    try {
      await this.#subscriptions.acknowledge(() => this.#flush(session))
      await this.#openStreams(session)
      await this.#inFlight.lookFor(session)
    } catch (error) {
      this.#fail(session, error as Error)
      return
    }
    if (session !== this.#session) return
    this.#isUp = true
    this.#inFlight.repeat(session)
    this.#host?.restored()
    this.#acknowledge(session) // what came while the streams were opened
  }

  #acknowledge (session: Session): void {
    this.#subscriptions.acknowledge(() => this.#flush(session)).catch((error: unknown) => { this.#fail(session, error as Error) })
  }

  /** A connection on which nothing is answered is left; the client finds that out only after minutes. */
  async #flush (session: Session): Promise<void> {
    try {
      await session.flush()
    } catch (error) {
      if (error instanceof Unanswered) this.connection.reconnect().catch(() => {})
      throw error
    }
  }

  #tick (): void {
    this.#cancelTick = this.#environment.schedule(() => {
      this.#tick()
      const session = this.#session
      if (!this.#isUp || session === null) return
      this.#attempts = 0
      this.#subscriptions.renew()
      this.#check(session).catch((error: unknown) => { this.#fail(session, error as Error) })
    }, TICK)
  }

  async #check (session: Session): Promise<void> {
    await this.#flush(session)
    for (const stream of this.#streams.values()) {
      if (!await stream.isSame(session)) throw new Error(`the stream ${stream.name} is another, or has lost messages`)
    }
  }

  // Messages

  subjectOf ({ token }: Topic): string { return this.#layout.live('*', token) }

  refused ({ name }: Topic, error: Error): void {
    this.#host?.error(brokerRefused(`the topic ${JSON.stringify(name)}`, error))
  }

  message (topic: Topic, message: Msg): void {
    try {
      this.#deliver(topic, message)
    } catch (error) { // must not reach the client, which would read nothing any more
      this.#host?.error(error as Error)
    }
  }

  #deliver (topic: Topic, message: Msg): void {
    const body = Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength)
    const size = this.#layout.sizeIn(message.subject)
    if (size === 'plain') {
      this.#host?.deliver(topic.name, { head: null, body })
      return
    }
    const entry = readMessage(Number(fieldOf(message, 'Nats-Sequence')), name => fieldOf(message, name), body)
    if (entry === null) return // none of ours
    const { rule } = topic
    const stream = rule === null || (!rule.plain && String(rule.size) === size) ? this.#streams.get(Number(size)) : undefined
    if (stream === undefined) { // its number is one of another stream
      if (entry.isMarker) return
      this.#host?.error(new Error(`${JSON.stringify(topic.name)} is published by another rule elsewhere, with the size ${size}: nobody finds out if some are missing`))
      this.#host?.deliver(topic.name, { head: null, body })
      return
    }
    const { number, tag, head } = entry
    if (!stream.take(entry)) this.#fail(this.#session, new Error(`the stream ${stream.name} is another, or has lost messages`))
    const last = Number(fieldOf(message, 'Nats-Last-Sequence'))
    const previous = topic.marker?.number === last ? topic.marker.head : { number: last, tag: null }
    if (entry.isMarker) { // behind another message it hides nothing
      topic.marker = { number, head: last === 0 || head.number !== number ? head : previous }
      return
    }
    this.#host?.deliver(topic.name, { head: { epoch: stream.epoch, number, tag }, previous: previous.number, previousTag: previous.tag, body })
  }

  async publish (topic: string, body: Buffer, rule: Rule): Promise<Head | null> {
    const session = this.#session
    if (!this.#isUp || session === null) throw brokerDown(topic, 'it is away')
    const { max_payload: most } = this.connection.info ?? {}
    if (most !== undefined && body.length + FIELDS > most) throw new Error(`it takes ${body.length} bytes, and the server's max_payload is ${most}, header fields included`)
    if (rule.plain) {
      await this.#sendPlain(session, topic, body)
      return null
    }
    return await this.#inFlight.send(session, topic, body, this.#streams.get(rule.size) ?? await this.#streamOf(session, rule))
  }

  async #sendPlain (session: Session, topic: string, body: Buffer): Promise<void> {
    try {
      this.connection.publish(this.#layout.live('plain', tokenOf(topic)), body)
    } catch (error) { // it is being closed
      this.#fail(session, error as Error)
      throw brokerDown(topic, (error as Error).message)
    }
    try {
      await session.flushed()
    } catch (error) {
      throw brokerUncertain(topic, { cause: error })
    }
  }

  async subscribe (topics: string[], rules: readonly Rule[] = []): Promise<void> {
    const acknowledged = this.#subscriptions.add(topics.map((name, i) => ({ name, token: tokenOf(name), rule: rules[i] ?? null })))
    const session = this.#session
    if (this.#isUp && session !== null) this.#acknowledge(session)
    await acknowledged
  }

  unsubscribe (topics: string[]): void {
    this.#subscriptions.remove(topics)
  }

  async read (topic: string, since: Head | null, rule: Rule): Promise<{ head: Head, entries: Entry[] }> {
    const session = this.#session
    if (!this.#isUp || session === null) throw brokerLost(new Error('it is away'))
    try {
      const stream = this.#streams.get(rule.size) ?? await this.#streamOf(session, rule)
      return await readHistory(this.#shelfOf(session, topic, stream), since, rule, this.#now())
    } catch (error) {
      if (error instanceof Unavailable || error instanceof Unanswered) this.#fail(session, error)
      throw isFinal(error) || error instanceof TopicsError ? error : brokerLost(error as Error)
    }
  }

  #shelfOf (session: Session, topic: string, stream: Stream): Shelf {
    const token = tokenOf(topic)
    const mark = async (newest: number, head: Place | null): Promise<void> => {
      const tag = randomTag(this.#environment.random)
      const fields = headersOf({
        [TAG_FIELD]: tag, [HEAD_FIELD]: head === null ? '-' : `${head.number}.${head.tag}`, 'Nats-Expected-Last-Subject-Sequence': String(newest)
      })
      try {
        await stream.publish(session, token, Buffer.alloc(0), fields)
      } catch (error) { // another was published meanwhile
        if (!(error instanceof Refusal && error.code === WRONG_LAST_SEQUENCE)) throw error
      }
    }
    return {
      epoch: stream.epoch,
      last: () => stream.last(session, token),
      next: from => stream.next(session, token, from),
      mark,
      renew: async newest => {
        await mark(newest.number, newest.head).catch((error: Error) => { this.#host?.error(brokerRefused(`to keep the topic ${JSON.stringify(topic)}`, error)) })
      }
    }
  }
}
