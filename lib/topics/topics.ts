// Topics of one process, or across processes with a broker.
import type { MessageData, PreparedMessage as Prepared } from '../../types/connection.ts'
import type { Broker, PublishOptions, PublishResult, TopicsOptions, TopicsStats, TopicsTable } from '../../types/topics.ts'
import { coreIn } from '../connection/connection.ts'
import { brokerInUse, topicsClosed } from '../errors.ts'
import { NODE, type Environment } from './environment.ts'
import { Link } from './link.ts'
import { MemoryBroker } from './memory-broker.ts'
import { Reporter, type Log } from './reporter.ts'
import { Rules } from './rules.ts'
import { checkName, topicsSettings } from './settings.ts'
import { Table } from './table.ts'

const inUse = new WeakSet<Broker>()

/**
 * The topics that connections subscribe to and publish on. The plugin creates one, unless its option `topics` passes one, as that of upgrade() does.
 */
export class Topics implements TopicsTable {
  readonly #table: Table<Link>
  readonly #link: Link
  readonly #broker: Broker | null
  readonly #reporter: Reporter
  #closed: Promise<void> | null = null

  /**
   * @throws TypeError with the code FST_WS_TOPICS_OPTION for an invalid option, Error with FST_WS_TOPICS_BROKER_IN_USE for a broker that another
   * Topics uses
   */
  constructor (options?: TopicsOptions)
  /** @param environment clock and random, for tests @internal */
  constructor (options: TopicsOptions, environment: Environment)
  constructor (options: TopicsOptions = {}, environment: Environment = NODE) {
    const settings = topicsSettings(options)
    const { broker, rules, headTtl, memory } = settings
    if (broker !== null) {
      if (inUse.has(broker)) throw brokerInUse()
      inUse.add(broker)
    }
    this.#broker = broker
    this.#reporter = new Reporter(this, environment.clock)
    const onError = (error: unknown): void => { this.#reporter.report(error) }
    this.#table = new Table(settings, table => new Link(
      broker ?? new MemoryBroker({ memory }, environment), settings, new Rules(rules, headTtl, broker === null), environment, { table, topics: this, onError }))
    this.#link = this.#table.upstream
  }

  /** The table that connections use. @internal */
  get table (): Table<Link> { return this.#table }

  /** The link to the broker. @internal */
  get link (): Link { return this.#link }

  /** Sets the log for errors that may otherwise go unnoticed; only the first counts. @internal */
  logTo (log: Log): void { this.#reporter.log ??= log }

  get size (): number { return this.#table.topics.size }

  names (): IterableIterator<string> { return this.#table.topics.keys() }

  subscribers (topic: string): number { return this.#table.topics.get(topic)?.size ?? 0 }

  stats (): TopicsStats {
    const { pending, pendingBytes, lag, isBrokerUp, malformed } = this.#link
    const { counts, gaps: gapReasons } = this.#table
    const gaps = Object.values(gapReasons).reduce((sum, count) => sum + count)
    return { topics: this.size, ...counts, gaps, gapReasons: { ...gapReasons }, malformed, pending, pendingBytes, lag, isBrokerUp, errors: this.#reporter.errors }
  }

  publish (topic: string, data: Exclude<MessageData, Blob> | Prepared, options?: PublishOptions): Promise<PublishResult> {
    return this.#table.publish(topic, data, options, coreIn(options?.except))
  }

  async position (topic: string): Promise<string> {
    checkName(topic)
    return await this.#link.position(topic)
  }

  async flush (): Promise<void> {
    await this.#link.flush()
  }

  async start (): Promise<void> {
    if (this.#closed !== null) throw topicsClosed()
    await this.#link.start()
  }

  async close (): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  async #close (): Promise<void> {
    this.#table.close()
    try {
      await this.#link.close()
    } finally {
      if (this.#broker !== null) inUse.delete(this.#broker)
    }
  }
}
