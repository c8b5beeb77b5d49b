// Connects the topics of this process with the broker: joining and leaving, publishing, receiving, and outages of the broker.
import type { Broker, BrokerHost, Entry, GapReason, Head, PublishResult, Rule } from '../../types/topics.ts'
import type { PreparedMessage } from '../connection/prepared-message.ts'
import type { Subscriber } from '../connection/subscriber.ts'
import { brokerDown, brokerRefused, topicsClosed } from '../errors.ts'
import { TOPIC_CHANNELS } from './channels.ts'
import { readEnvelope, writeEnvelope } from './envelope.ts'
import { randomTag, type Environment } from './environment.ts'
import { MemoryBroker } from './memory-broker.ts'
import { Outbox, type OutboxOwner } from './outbox.ts'
import { formatPosition } from './position.ts'
import { Publication } from './publication.ts'
import type { Rules } from './rules.ts'
import type { TopicsSettings } from './settings.ts'
import { Source, type SourceOwner } from './source.ts'
import type { Table, Upstream } from './table.ts'
import type { Topic } from './topic.ts'

export interface LinkOwner {
  readonly table: Table
  onError (error: unknown): void
  /** The Topics, for messages of the `state` channel. */
  readonly topics: unknown
}

const MAX_WAITING = 16 * 1024 * 1024
/** Topic names per call of the broker. */
const BATCH = 256
const MAX_UNANSWERED = 1024

type Answer = { head: Head, entries: Entry[] }

export class Link implements Upstream, BrokerHost, SourceOwner, OutboxOwner {
  readonly broker: Broker
  readonly #owner: LinkOwner
  readonly #settings: TopicsSettings
  readonly #rules: Rules
  readonly #environment: Environment
  readonly #node: string
  readonly #outbox: Outbox
  // a broker that answers synchronously
  readonly #immediate: MemoryBroker | null
  #state: 'new' | 'up' | 'down' | 'closed' = 'new'
  #started: Promise<void> | null = null
  readonly #joining = new Set<Source>()
  readonly #leaving = new Set<string>()
  #isBatchDue = false
  #waitingBytes = 0
  #flushers: Array<() => void> = []
  #cancelCheck: (() => void) | null = null
  malformed = 0

  constructor (broker: Broker, settings: TopicsSettings, rules: Rules, environment: Environment, owner: LinkOwner) {
    this.broker = broker
    this.#owner = owner
    this.#settings = settings
    this.#rules = rules
    this.#environment = environment
    this.#node = randomTag(environment.random)
    this.#outbox = new Outbox(settings, this)
    this.#immediate = broker instanceof MemoryBroker && broker.isImmediate ? broker : null
    if (this.#immediate !== null) {
      this.#immediate.startNow(this)
      this.#state = 'up'
    }
  }

  get clock (): Environment['clock'] { return this.#environment.clock }
  get schedule (): Environment['schedule'] { return this.#environment.schedule }
  /** One that answers synchronously delivers inside publish(), however many there are. */
  get maxUnanswered (): number { return this.#immediate === null ? MAX_UNANSWERED : Infinity }
  get pending (): number { return this.#outbox.pending }
  get pendingBytes (): number { return this.#outbox.pendingBytes }
  get lag (): number { return this.#outbox.lag }
  get isBrokerUp (): boolean { return this.#state === 'up' }

  isUp (name: string): boolean {
    return this.#state === 'up' && this.broker.isAway?.(name) !== true
  }

  // Start and end

  start (): Promise<void> {
    this.#started ??= this.#start()
    return this.#started
  }

  async #start (): Promise<void> {
    if (this.#immediate === null) await this.broker.start(this, this.#node, this.#rules.all)
    if (this.#state === 'new') {
      this.#setUp()
      this.#joinAll()
    }
    this.#checkLater()
  }

  async close (): Promise<void> {
    if (this.#state === 'closed') return
    const wasNew = this.#started === null && this.#immediate === null
    this.#state = 'closed'
    this.#cancelCheck?.()
    this.#outbox.close()
    if (!wasNew) await this.broker.stop()
  }

  #setUp (): void {
    this.#state = 'up'
    this.#outbox.flush()
    this.#tell('up')
  }

  #tell (state: 'up' | 'down' | 'doubtful', topic?: string): void {
    if (TOPIC_CHANNELS.state.hasSubscribers) TOPIC_CHANNELS.state.publish({ topics: this.#owner.topics, state, ...(topic === undefined ? {} : { topic }) })
  }

  // The broker

  deliver (name: string, entry: Entry | { head: null, body: Buffer }): void {
    try {
      const source = this.#owner.table.topics.get(name)?.source ?? null
      if (source === null || this.#state === 'closed') return
      if (entry.head === null || source.rule.plain) {
        const publication = this.#open(name, entry.body, null)
        if (publication !== null) source.takePlain(publication)
      } else {
        source.take(entry)
      }
    } catch (error) { // must not reach the broker's client
      this.onError(error)
    }
    if (this.#flushers.length > 0) this.onProgress()
  }

  interrupted (affects?: (topic: string) => boolean): void {
    if (this.#state !== 'up') return
    if (affects === undefined) this.#state = 'down'
    this.#tell('down')
    for (const source of this.#sources(affects)) source.interrupted()
  }

  restored (affects?: (topic: string) => boolean): void {
    if (affects === undefined) {
      if (this.#state !== 'down') return
      this.#setUp()
    } else {
      if (this.#state !== 'up') return
      this.#outbox.flush()
      if ([...this.#owner.table.topics.keys()].every(name => this.isUp(name))) this.#tell('up')
    }
    for (const source of this.#sources(affects)) source.restored()
    this.#joinAll()
  }

  error (error: Error): void {
    this.onError(error)
  }

  * #sources (affects?: (topic: string) => boolean): Generator<Source> {
    for (const { name, source } of this.#owner.table.topics.values()) {
      if (source !== null && (affects === undefined || affects(name))) yield source
    }
  }

  // Joining and leaving, batched per turn

  join (topic: Topic): Source | null {
    const rule = this.#ruleOf(topic.name)
    if (this.#isLocal(rule)) return null
    const source = new Source(topic, rule, this)
    this.#leaving.delete(topic.name)
    if (this.#immediate !== null) {
      this.#immediate.subscribeNow(topic.name)
      source.joined(this.#immediate.readNow(topic.name, null, rule))
    } else {
      this.#joining.add(source)
      this.#batch()
    }
    return source
  }

  leave ({ name }: Topic, source: Source): void {
    source.end()
    this.#joining.delete(source)
    this.#leaving.add(name)
    this.#batch()
  }

  #batch (): void {
    if (this.#isBatchDue) return
    this.#isBatchDue = true
    queueMicrotask(() => {
      this.#isBatchDue = false
      this.#leaveAll()
      this.#joinAll()
    })
  }

  #leaveAll (): void {
    const leaving = [...this.#leaving].filter(name => !this.#owner.table.topics.has(name))
    this.#leaving.clear()
    if (leaving.length === 0 || this.#state === 'closed' || this.#state === 'new') return
    try {
      this.broker.unsubscribe(leaving)
    } catch (error) {
      this.onError(error)
    }
  }

  #joinAll (): void {
    if (this.#state !== 'up') return
    const joining = [...this.#joining].filter(({ topic }) => this.isUp(topic.name))
    for (const source of joining) this.#joining.delete(source)
    for (let i = 0; i < joining.length; i += BATCH) this.#subscribe(joining.slice(i, i + BATCH))
  }

  #subscribe (sources: Source[]): void {
    this.#ask(() => this.broker.subscribe(sources.map(({ topic }) => topic.name), sources.map(({ rule }) => rule))).then(() => {
      for (const source of sources) source.subscribed()
    }, error => {
      if (this.#state === 'closed') return
      if (sources.length > 1) { // find out which topic was refused
        for (const source of sources) this.#subscribe([source])
        return
      }
      const { topic } = sources[0]!
      const refused = brokerRefused(`the topic ${JSON.stringify(topic.name)}`, error)
      this.onError(refused)
      if (this.#owner.table.topics.get(topic.name) === topic) this.#owner.table.refuse(topic, refused)
    })
  }

  // Publishing

  publish (name: string, message: PreparedMessage, except: Subscriber | null): Promise<PublishResult> | null {
    const rule = this.#ruleOf(name)
    if (this.#isLocal(rule)) return null
    const isHere = this.#owner.table.topics.get(name)?.source !== undefined
    const counter = isHere && (except !== null || rule.plain) ? this.#outbox.expect(except) : 0
    const body = writeEnvelope(name, message, counter === 0 ? null : { node: this.#node, counter })
    return this.#outbox.publish(name, body, rule, counter)
  }

  onAccepted (name: string, head: Head | null): void {
    const source = this.#owner.table.topics.get(name)?.source
    if (head !== null && source !== null && source !== undefined) source.accepted = head
  }

  onProgress (): void {
    if (this.#flushers.length === 0 || !this.#isFlushed()) return
    const flushers = this.#flushers
    this.#flushers = []
    for (const resolve of flushers) resolve()
  }

  #isFlushed (): boolean {
    if (!this.#outbox.isEmpty) return false
    for (const source of this.#sources()) if (!source.isUpToDate) return false
    return true
  }

  async flush (): Promise<void> {
    if (this.#isFlushed()) return
    await new Promise<void>(resolve => {
      const cancel = this.schedule(resolve, this.#settings.publishTimeout)
      this.#flushers.push(() => {
        cancel()
        resolve()
      })
    })
  }

  // Positions

  async position (name: string): Promise<string> {
    const rule = this.#ruleOf(name)
    if (rule.plain) return ''
    const known = this.#owner.table.topics.get(name)?.source?.position
    if (known !== null && known !== undefined) return formatPosition(known)
    if (this.#state === 'closed') throw topicsClosed()
    if (!this.isUp(name)) throw brokerDown(name, 'it is away')
    return formatPosition((await this.read(name, null, rule)).head)
  }

  read (name: string, since: Head | null, rule: Rule): Promise<Answer> {
    return this.#within(() => this.broker.read!(name, since, rule), name)
  }

  /** Rejects if the broker does not answer within publishTimeout. */
  async #within<Result> (ask: () => Promise<Result>, name: string): Promise<Result> {
    return await new Promise<Result>((resolve, reject) => {
      const cancel = this.schedule(() => { reject(brokerDown(name, 'it has not answered')) }, this.#settings.publishTimeout)
      this.#ask(ask).finally(cancel).then(resolve, reject)
    })
  }

  /** Turns a synchronous throw of a broker into a rejection. */
  async #ask<Result> (ask: () => Promise<Result>): Promise<Result> {
    return await ask()
  }

  // Sources

  open (name: string, entry: Entry, isNew: boolean): Publication | null {
    return this.#open(name, entry.body, entry, isNew)
  }

  #open (name: string, body: Buffer, entry: Entry | null, isNew = true): Publication | null {
    const envelope = readEnvelope(body)
    if (envelope === null) {
      this.malformed++
      return null
    }
    const except = isNew && envelope.node === this.#node ? this.#outbox.returned(envelope.counter) : null
    return new Publication(name, entry, envelope.message, except)
  }

  pass (topic: Topic, publication: Publication): void {
    this.#owner.table.deliver(topic, publication)
  }

  gap (topic: Topic, reason: GapReason, from: Head | null, to: Head | null): void {
    this.#owner.table.gap(topic, reason, from, to)
  }

  onDoubt ({ name }: Topic): void {
    this.#tell('doubtful', name)
  }

  onError (error: unknown): void {
    this.#owner.onError(error)
  }

  reserve (bytes: number): boolean {
    if (this.#waitingBytes + bytes > MAX_WAITING) return false
    this.#waitingBytes += bytes
    return true
  }

  release (bytes: number): void {
    this.#waitingBytes -= bytes
  }

  #ruleOf (name: string): Rule {
    const rule = this.#rules.of(name)
    return rule.plain || this.broker.numbered ? rule : { ...rule, plain: true }
  }

  /** Within one process, messages that are not kept need no broker. */
  #isLocal (rule: Rule): boolean {
    return this.#immediate !== null && rule.plain
  }

  // Checking

  #checkLater (): void {
    if (this.#immediate !== null || !this.broker.numbered) return
    this.#cancelCheck = this.schedule(() => {
      this.check().catch((error: unknown) => { this.onError(error) }).finally(() => {
        if (this.#state !== 'closed') this.#checkLater()
      })
    }, this.#settings.checkInterval)
  }

  /** Looks for undelivered messages in the broker: if the last message of a topic is lost, no later one reveals it. */
  async check (): Promise<void> {
    if (this.#state !== 'up') return
    const sources = [...this.#sources()].filter(({ position }) => position !== null)
    for (let i = 0; i < sources.length; i += BATCH) {
      const some = sources.slice(i, i + BATCH)
      const heads = await this.#heads(some)
      some.forEach((source, index) => { source.check(heads[index] ?? null) })
    }
  }

  async #heads (sources: Source[]): Promise<Array<Head | null>> {
    const names = sources.map(({ topic }) => topic.name)
    if (this.broker.heads !== undefined) return await this.#within(() => this.broker.heads!(names), names[0]!)
    const answers = await Promise.all(sources.map(({ topic, position, rule }) => this.read(topic.name, position, rule)))
    return answers.map(({ head }) => head)
  }
}
