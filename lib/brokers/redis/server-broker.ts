// Topics across processes over a Redis or Valkey server. Scripts number and store messages atomically; channels deliver them. A lost connection is
// reported to the host as interrupted(); restored() follows once all subscriptions are acknowledged on new connections.
import type { Broker, BrokerHost, Entry, Head, Rule } from '../../../types/topics.ts'
import { brokerAnswer, brokerDown, brokerLost, brokerRefused, brokerTooOld, brokerUncertain, topicsClosed, TopicsError } from '../../errors.ts'
import { randomTag, type Environment } from '../../topics/environment.ts'
import { readTopic } from '../../topics/envelope.ts'
import { isMoved, isReply, isWrongServer, type Dial } from './connection.ts'
import { parseEntry, parseHead, partitionOf, plainEntry, type Layout } from './layout.ts'
import { publishCommand, readAnswer, readCommand, type Keys } from './scripts.ts'
import { Session } from './session.ts'
import { Subscriptions } from './subscriptions.ts'

export interface ServerBrokerOptions {
  readonly dial: Dial
  readonly layout: Layout
  /** Milliseconds. */
  readonly timeout: number
  readonly environment: Environment
  /** Of a cluster: a partition that lies there. Default: all do. */
  readonly trialPartition?: (() => number) | undefined
}

const OLDEST = { server: [6, 2], cluster: [7, 0] } as const
const TICK = 10_000 // ms
const RETRY_DELAY = 25 // ms
const MAX_RETRY_DELAY = 500
/** Of the trial: no topic has this name. */
const NO_TOPIC = ''
const TRIAL: Rule = { size: 1, ttl: 1000, headTtl: 1000, plain: false }

export class ServerBroker implements Broker {
  readonly numbered = true
  readonly timeout: number
  readonly environment: Environment
  readonly #dial: Dial
  readonly #layout: Layout
  readonly #trialPartition: () => number
  readonly #isOfCluster: boolean
  readonly #subscriptions: Subscriptions
  #host: BrokerHost | null = null
  // what is open, or being opened
  #session: Session | null = null
  // it is subscribed to all that is wanted
  #isUp = false
  #hasStarted = false
  #attempts = 0
  #cancelAttempt: (() => void) | null = null
  #cancelTick: (() => void) | null = null

  constructor ({ dial, layout, timeout, environment, trialPartition }: ServerBrokerOptions) {
    this.#dial = dial
    this.#layout = layout
    this.#trialPartition = trialPartition ?? (() => partitionOf(NO_TOPIC))
    this.#isOfCluster = trialPartition !== undefined
    this.#subscriptions = new Subscriptions(layout)
    this.timeout = timeout
    this.environment = environment
  }

  // Start and end

  async start (host: BrokerHost): Promise<void> {
    this.#host = host
    this.#hasStarted = false
    try {
      await this.#open(session => this.#try(session))
    } catch (error) {
      this.#session = this.#host = null
      throw error instanceof TopicsError ? error : brokerLost(error as Error)
    }
    this.#hasStarted = true
    this.#tick()
  }

  async stop (): Promise<void> {
    this.#host = null
    this.#isUp = false
    this.#cancelAttempt?.()
    this.#cancelTick?.()
    this.#session?.close()
    this.#session = null
    this.#subscriptions.clear(topicsClosed())
  }

  /** @param check rejects if the server cannot be used */
  async #open (check: (session: Session) => Promise<unknown>): Promise<void> {
    const session = new Session(this.#dial, this)
    this.#session = session
    this.#subscriptions.forget()
    try {
      await session.connect()
      await check(session)
      await this.#subscriptions.update(session)
    } catch (error) {
      session.fail(error as Error)
      throw error
    }
    if (session !== this.#session) throw topicsClosed() // while it was opened
    this.#isUp = true
  }

  failed (session: Session, error: Error): void {
    if (session !== this.#session || this.#host === null) return
    this.#session = null
    if (!this.#hasStarted) return // start() rejects
    if (this.#isUp) {
      this.#isUp = false
      this.#host.interrupted()
    }
    this.#host.error(brokerLost(error))
    this.#openLater()
  }

  #openLater (): void {
    // jitter, so that many processes do not reconnect at the same time
    const { random, schedule } = this.environment
    const delay = Math.min(RETRY_DELAY * 2 ** this.#attempts++, MAX_RETRY_DELAY) * (0.5 + random() / 2)
    this.#cancelAttempt = schedule(() => {
      this.#open(session => this.#check(session)).then(() => { this.#host?.restored() }, () => {}) // told by failed()
    }, delay, true)
  }

  /** Rejects for a server that is read-only or still loading its data. */
  async #check (session: Session): Promise<void> {
    try {
      await this.#readAt(this.#trialKeys, session, null, TRIAL)
    } catch (error) {
      if (!isReply(error) || isWrongServer(error) || isMoved(error)) throw error
      this.#host?.error(brokerRefused('a trial', error))
    }
  }

  /** Tries all commands that are needed later, so that missing permissions are known before messages are lost. */
  async #try (session: Session): Promise<void> {
    await this.#checkVersion(session)
    const keys = this.#trialKeys
    const channel = this.#layout.channel(this.#trialPartition())
    const { subscribe, unsubscribe, publish } = this.#layout.commands
    const trial = async (): Promise<void> => {
      const reply = await session.call(this.#publishCommand(keys, channel, Buffer.alloc(0), TRIAL))
      if (parseHead(reply) === null) throw brokerAnswer('a message')
    }
    const trials: Array<[string, () => Promise<unknown>]> = [
      ['PING', () => session.ping()],
      [subscribe, () => session.subscribe([channel])],
      [unsubscribe, () => session.unsubscribe([channel])],
      [publish, () => session.call([publish, channel, ''])],
      ['MGET', () => session.call(['MGET', keys.head])],
      ['EVAL', () => this.#readAt(keys, session, null, TRIAL)],
      ['EVAL', trial],
      ['EVAL', trial],
      ['EVAL', async () => {
        const { head } = await this.#readAt(keys, session, null, TRIAL)
        await this.#readAt(keys, session, { ...head, number: head.number - 1 }, TRIAL)
      }]
    ]
    for (const [command, run] of trials) {
      try {
        await run()
      } catch (error) {
        throw isReply(error) ? brokerRefused(command, error) : error
      }
    }
  }

  async #checkVersion (session: Session): Promise<void> {
    let info: string
    try {
      info = String(await session.call(['INFO', 'server']))
    } catch (error) {
      if (isReply(error)) return // need not be permitted
      throw error
    }
    const [, major, minor] = /^redis_version:(\d+)\.(\d+)/m.exec(info) ?? []
    if (major === undefined) return
    const oldest = this.#isOfCluster ? OLDEST.cluster : OLDEST.server
    if (Number(major) < oldest[0] || (Number(major) === oldest[0] && Number(minor) < oldest[1])) throw brokerTooOld(`Redis ${major}.${minor}`, oldest.join('.'))
  }

  #tick (): void {
    this.#cancelTick = this.environment.schedule(() => {
      this.#tick()
      const session = this.#session
      if (!this.#isUp || session === null) return
      this.#attempts = 0
      session.ping().catch((error: unknown) => { if (isReply(error)) this.#host?.error(brokerRefused('PING', error)) })
      this.#subscriptions.leave(session).catch(() => {}) // it is sent what it does not want
    }, TICK)
  }

  // Messages

  message (message: unknown): void {
    try {
      const entry = parseEntry(message)
      if (entry === null || entry.body.length === 0) return // a trial, or none of ours
      const topic = readTopic(entry.body)
      if (topic !== null && this.#subscriptions.has(topic)) this.#host?.deliver(topic, entry)
    } catch (error) { // must not reach the client
      this.#host?.error(error as Error)
    }
  }

  // no async functions in between: many messages may be on their way, each with all promises that wait for it
  publish (topic: string, body: Buffer, rule: Rule): Promise<Head | null> {
    const session = this.#session
    if (!this.#isUp || session === null) return Promise.reject(brokerDown(topic, 'it is away'))
    const partition = partitionOf(topic)
    const channel = this.#layout.channel(partition)
    const command = rule.plain
      ? [this.#layout.commands.publish, channel, plainEntry(body)]
      : this.#publishCommand(this.#keysOf(topic, partition), channel, body, rule)
    return session.call(command).then(reply => {
      if (rule.plain) return null
      return parseHead(reply) ?? Promise.reject(brokerUncertain(topic, { cause: brokerAnswer('a message') }))
    }, (error: unknown) => {
      throw this.#refusal(session, error) ?? brokerUncertain(topic, { cause: error })
    })
  }

  #publishCommand (keys: Keys, channel: string, body: Buffer, rule: Rule): Array<string | Buffer> {
    return publishCommand(keys, { channel, command: this.#layout.commands.publish }, { epoch: this.#newTag(), tag: this.#newTag() }, body, rule)
  }

  async subscribe (topics: string[]): Promise<void> {
    const acknowledged = this.#subscriptions.add(topics)
    if (this.#isUp && this.#session !== null) this.#subscriptions.update(this.#session).catch(() => {}) // what waits for it is told
    await acknowledged
  }

  unsubscribe (topics: string[]): void {
    this.#subscriptions.remove(topics)
  }

  async read (topic: string, since: Head | null, rule: Rule): Promise<{ head: Head, entries: Entry[] }> {
    return await this.#within(session => this.#readAt(this.#keysOf(topic), session, since, rule))
  }

  async #readAt (keys: Keys, session: Session, since: Head | null, rule: Rule): Promise<{ head: Head, entries: Entry[] }> {
    const answer = readAnswer(await session.call(readCommand(keys, this.#newTag(), since, rule)))
    if (answer === null) throw brokerAnswer('what has been published')
    // without what is none, nothing before it can be proven
    const entries = answer.entries.map(parseEntry).filter((entry): entry is Entry => entry !== null && entry.head !== null)
    return { head: answer.head, entries }
  }

  async heads (topics: string[]): Promise<Array<Head | null>> {
    const heads = await this.call(['MGET', ...topics.map(topic => this.#layout.headKey(topic))])
    if (!Array.isArray(heads)) throw brokerAnswer('MGET')
    return heads.map(parseHead)
  }

  /** Anything else that may be asked more than once. */
  async call (command: string[]): Promise<unknown> {
    return await this.#within(session => session.call(command))
  }

  async #within<Result> (ask: (session: Session) => Promise<Result>): Promise<Result> {
    const session = this.#session
    if (!this.#isUp || session === null) throw brokerLost(new Error('it is away'))
    try {
      return await ask(session)
    } catch (error) {
      throw this.#refusal(session, error) ?? (error instanceof TopicsError ? error : brokerLost(error as Error))
    }
  }

  /** Null where the server has not said no. */
  #refusal (session: Session, error: unknown): Error | null {
    if (!isReply(error)) return null
    if (isWrongServer(error)) session.fail(error) // others may lead to the right one
    return error
  }

  #newTag (): string {
    return randomTag(this.environment.random)
  }

  get #trialKeys (): Keys {
    const partition = this.#trialPartition()
    return { head: this.#layout.headKey(NO_TOPIC, partition), list: this.#layout.listKey(NO_TOPIC, partition) }
  }

  #keysOf (topic: string, partition = partitionOf(topic)): Keys {
    return { head: this.#layout.headKey(topic, partition), list: this.#layout.listKey(topic, partition) }
  }
}
