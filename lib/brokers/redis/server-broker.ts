// Topics of many processes by Redis or Valkey. Numbers and history are made by scripts, in one step; what is published comes by channels. A cut is told
// to the host, and all that is wanted is subscribed to again on new connections before the host is told that they are there.
import type { Broker, BrokerHost, Entry, Head, Rule } from '../../../types/topics.ts'
import { brokerAnswer, brokerDown, brokerLost, brokerRefused, brokerTooOld, brokerUncertain, topicsClosed, TopicsError, wrongBrokerOption } from '../../errors.ts'
import { NODE, randomTag, type Environment } from '../../topics/environment.ts'
import { readTopic } from '../../topics/envelope.ts'
import { isReply, isWrongServer, type Dial } from './connection.ts'
import { dialOf, type RedisClient } from './dial.ts'
import { Layout, parseEntry, parseHead, partitionOf, plainEntry } from './layout.ts'
import { publishCommand, readAnswer, readCommand } from './scripts.ts'
import { Session } from './session.ts'
import { Subscriptions } from './subscriptions.ts'

export interface RedisBrokerOptions {
  /** Yours, of node-redis, ioredis or iovalkey: its options are used, for two connections of its kind. It need not be connected. */
  readonly client: RedisClient
  /** What all keys and channels begin with. Not the client's keyPrefix, which does not count here. Default: 'ws1'. */
  readonly prefix?: string | undefined
  /** Milliseconds in which the server has to answer; else its connections are given up and made anew. Default: 5,000. */
  readonly timeout?: number | undefined
}

const OLDEST: readonly [number, number] = [6, 2]
const TICK = 10_000 // ms
const RETRY_DELAY = 25 // ms
const MAX_RETRY_DELAY = 500
/** Of the trial: no topic has this name. */
const NO_TOPIC = ''
const TRIAL: Rule = { size: 1, ttl: 1000, headTtl: 1000, plain: false }

/**
 * A broker for the option `broker` of topics: Redis or Valkey from 6.2, one server or what its sentinels name.
 * @throws TypeError with the code FST_WS_TOPICS_OPTION for an option that is wrong, or a client that is not known
 */
export function redisBroker (options: RedisBrokerOptions): Broker {
  return new RedisBroker(options)
}

export class RedisBroker implements Broker {
  readonly numbered = true
  readonly timeout: number
  readonly environment: Environment
  readonly #dial: Dial
  readonly #layout: Layout
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

  constructor (options: RedisBrokerOptions, environment: Environment = NODE) {
    const { client, prefix = 'ws1', timeout = 5_000 } = checked(options)
    this.#dial = dialOf(client)
    this.#layout = new Layout(prefix)
    this.#subscriptions = new Subscriptions(this.#layout)
    this.timeout = timeout
    this.environment = environment
  }

  // From its start to its end

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

  /** @param check whether it is a server that can be used */
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
    // not all of a hundred processes at the same time
    const { random, schedule } = this.environment
    const delay = Math.min(RETRY_DELAY * 2 ** this.#attempts++, MAX_RETRY_DELAY) * (0.5 + random() / 2)
    this.#cancelAttempt = schedule(() => {
      this.#open(session => this.#check(session)).then(() => { this.#host?.restored() }, () => {}) // told by failed()
    }, delay, true)
  }

  /** A server that may be read alone, or that has not loaded its data yet, says so. */
  async #check (session: Session): Promise<void> {
    try {
      await session.call(readCommand(this.#keysOf(NO_TOPIC), this.#newTag(), null, TRIAL))
    } catch (error) {
      if (!isReply(error) || isWrongServer(error)) throw error
      this.#host?.error(brokerRefused('a trial', error))
    }
  }

  /** All that is asked of it later, so that what is not permitted is known before anything is lost by it. */
  async #try (session: Session): Promise<void> {
    await this.#checkVersion(session)
    const keys = this.#keysOf(NO_TOPIC)
    const channel = this.#layout.channel(0)
    const trials: Array<[string, () => Promise<unknown>]> = [
      ['PING', () => session.ping()],
      ['SUBSCRIBE', () => session.subscribe([channel])],
      ['UNSUBSCRIBE', () => session.unsubscribe([channel])],
      ['PUBLISH', () => session.call(['PUBLISH', channel, ''])],
      ['MGET', () => session.call(['MGET', keys.head])],
      ['EVAL', () => this.#read(session, NO_TOPIC, null, TRIAL)],
      ['EVAL', () => this.#publish(session, NO_TOPIC, Buffer.alloc(0), TRIAL)],
      ['EVAL', () => this.#publish(session, NO_TOPIC, Buffer.alloc(0), TRIAL)],
      ['EVAL', async () => {
        const { head } = await this.#read(session, NO_TOPIC, null, TRIAL)
        await this.#read(session, NO_TOPIC, { ...head, number: head.number - 1 }, TRIAL)
      }]
    ]
    for (const [command, trial] of trials) {
      try {
        await trial()
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
      if (isReply(error)) return // it need not be permitted
      throw error
    }
    const [, major, minor] = /^redis_version:(\d+)\.(\d+)/m.exec(info) ?? []
    if (major === undefined) return
    if (Number(major) < OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) < OLDEST[1])) throw brokerTooOld(`Redis ${major}.${minor}`, OLDEST.join('.'))
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
    } catch (error) { // nothing may reach the client
      this.#host?.error(error as Error)
    }
  }

  async publish (topic: string, body: Buffer, rule: Rule): Promise<Head | null> {
    const session = this.#session
    if (!this.#isUp || session === null) throw brokerDown(topic, 'it is away')
    try {
      return await this.#publish(session, topic, body, rule)
    } catch (error) {
      throw this.#refusal(session, error) ?? brokerUncertain(topic, { cause: error })
    }
  }

  async #publish (session: Session, topic: string, body: Buffer, rule: Rule): Promise<Head | null> {
    const channel = this.#layout.channel(partitionOf(topic))
    if (rule.plain) {
      await session.call(['PUBLISH', channel, plainEntry(body)])
      return null
    }
    const head = parseHead(await session.call(publishCommand(this.#keysOf(topic), channel, { epoch: this.#newTag(), tag: this.#newTag() }, body, rule)))
    if (head === null) throw brokerAnswer('a message')
    return head
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
    return await this.#within(session => this.#read(session, topic, since, rule))
  }

  async #read (session: Session, topic: string, since: Head | null, rule: Rule): Promise<{ head: Head, entries: Entry[] }> {
    const answer = readAnswer(await session.call(readCommand(this.#keysOf(topic), this.#newTag(), since, rule)))
    if (answer === null) throw brokerAnswer('what has been published')
    // without what is none, nothing before it can be proven
    const entries = answer.entries.map(parseEntry).filter((entry): entry is Entry => entry !== null && entry.head !== null)
    return { head: answer.head, entries }
  }

  async heads (topics: string[]): Promise<Array<Head | null>> {
    const heads = await this.#within(session => session.call(['MGET', ...topics.map(topic => this.#layout.headKey(topic))]))
    if (!Array.isArray(heads)) throw brokerAnswer('MGET')
    return heads.map(parseHead)
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

  #keysOf (topic: string): { head: string, list: string } {
    return { head: this.#layout.headKey(topic), list: this.#layout.listKey(topic) }
  }
}

function checked (options: RedisBrokerOptions): RedisBrokerOptions {
  const { client, prefix, timeout } = (options ?? {}) as RedisBrokerOptions
  if (prefix !== undefined && (typeof prefix !== 'string' || !/^[^\s{}]{1,64}$/.test(prefix))) {
    throw wrongBrokerOption('redisBroker', 'prefix', '1 to 64 characters without spaces and braces', JSON.stringify(prefix))
  }
  if (timeout !== undefined && !(Number.isInteger(timeout) && timeout > 0 && timeout < 2 ** 31)) {
    throw wrongBrokerOption('redisBroker', 'timeout', 'a number of milliseconds', String(timeout))
  }
  return { client, prefix, timeout }
}
