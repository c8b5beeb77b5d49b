// Several nodes with one server like Redis, where everything goes wrong that may: what happens next is drawn by lot, from a seed. What each
// subscriber sees is compared with the truth.
import { setImmediate } from 'node:timers/promises'
import type { Subscriber } from '../../lib/connection/subscriber.ts'
import type { Topics as RealTopics } from '../../lib/topics/topics.ts'
import type { ReadyState } from '../../types/connection.ts'
import type { SlowPolicy, TopicGap } from '../../types/topics.ts'
import { integer, random as seeded } from './random.ts'
import { positionOf, VirtualBroker, VirtualServer, type Faults } from './virtual-broker.ts'

export interface Course {
  /** `storm`: all that may go wrong. `cuts`: connections are cut, and nothing is lost at the server. `calm`: nothing goes wrong at all. */
  readonly weather: 'storm' | 'cuts' | 'calm'
  readonly steps: number
  /** What is mutated. Default: the real one. */
  readonly Topics: typeof RealTopics
  readonly faults?: Faults
}

export interface Result {
  /** What must not be; null: nothing. */
  readonly wrong: string | null
  readonly delivered: number
  readonly gaps: number
  readonly recovered: number
}

const OPEN = 1
const PUBLISH_TIMEOUT = 5000
// what a call that gets no answer, and its repetition, may take
const LONGEST = 20_000
const MOST_MOVES = 5_000
const NODES = 3
// the first keeps enough, the second a little, the third nothing; the fourth has no numbers
const TOPICS = ['kept:1', 'some:1', 'none:1', 'plain:1']

class Wrong extends Error {}

interface Seen {
  readonly text: string
  readonly position: string | null
}

/** What one subscription has seen since it began. */
class Watch {
  readonly topic: string
  readonly slow: SlowPolicy
  isEnded = false
  /** The position that it is after; null: unknown, after a gap. */
  last: string | null = null
  /** Messages since the last gap. */
  seen = new Set<string>()
  isDecided = false
  /** What came before it was known from where on. */
  early: Seen[] = []
  /** What was published by its connection since it was decided, and when. */
  readonly own = new Map<string, number>()

  constructor (topic: string, slow: SlowPolicy) {
    this.topic = topic
    this.slow = slow
  }
}

class Simulation {
  readonly #random: () => number
  readonly #server: VirtualServer
  readonly #course: Course
  readonly #nodes: Node[] = []
  now = 0
  readonly timers: Array<{ readonly at: number, readonly callback: () => void }> = []
  readonly unsettled = new Set<string>()
  #messages = 0
  #promises = 0
  delivered = 0
  gaps = 0
  recovered = 0

  constructor (seed: number, course: Course) {
    this.#random = seeded(seed)
    this.#course = course
    this.#server = new VirtualServer(this.#random, course.faults)
  }

  get server (): VirtualServer { return this.#server }
  get weather (): Course['weather'] { return this.#course.weather }

  pick<Item> (items: readonly Item[]): Item {
    return items[integer(this.#random, 0, items.length - 1)]!
  }

  chance (probability: number): boolean {
    return this.#random() < probability
  }

  int (low: number, high: number): number {
    return integer(this.#random, low, high)
  }

  watch (promise: Promise<unknown>, what: string): void {
    const name = `${what} ${++this.#promises}`
    this.unsettled.add(name)
    const settled = (): void => { this.unsettled.delete(name) }
    promise.then(settled, settled)
  }

  nextText (topic: string): string {
    return `${topic} ${++this.#messages}`
  }

  async run (): Promise<void> {
    const { Topics, steps } = this.#course
    const environment = {
      clock: () => this.now,
      random: this.#random,
      schedule: (callback: () => void, delay: number) => {
        const timer = { at: this.now + delay, callback }
        this.timers.push(timer)
        return () => {
          const index = this.timers.indexOf(timer)
          if (index >= 0) this.timers.splice(index, 1)
        }
      }
    }
    for (let i = 0; i < NODES; i++) {
      const broker = new VirtualBroker(this.#server)
      const topics = new Topics({
        broker,
        rules: [{ topic: 'kept:*', size: 1000 }, { topic: 'some:*', size: 6 }, { topic: 'plain:*', plain: true }],
        slow: 'close',
        maxBehind: 1000
      }, environment)
      this.#nodes.push(new Node(this, topics, broker))
      await topics.start()
    }
    for (let i = 0; i < steps; i++) {
      this.#step()
      await setImmediate()
    }
    await this.#settle()
    await this.#end()
  }

  #step (): void {
    const lot = this.#random()
    const node = this.pick(this.#nodes)
    if (lot < 0.2) node.publish(this.pick(TOPICS))
    else if (lot < 0.27) node.subscribe(this.pick(TOPICS))
    else if (lot < 0.29) node.leave()
    else if (lot < 0.31) node.slowDown()
    else if (lot < 0.34) node.drain()
    else if (lot < 0.38 && this.weather !== 'calm') this.#fail(node)
    else if (lot < 0.42) node.broker.reconnect()
    else if (lot < 0.44) this.#wait()
    else if (lot < 0.46) node.check()
    else node.move()
  }

  #fail (node: Node): void {
    const topic = this.pick(TOPICS)
    const lot = this.#random()
    if (lot < 0.4) node.broker.cut()
    else if (lot < 0.5) node.broker.dropPush()
    else if (this.weather === 'storm') this.#failAtServer(node, topic)
  }

  #failAtServer (node: Node, topic: string): void {
    const server = this.#server
    const lot = this.#random() / 2 + 0.5
    if (lot < 0.55) node.broker.dropAnswer()
    else if (lot < 0.65) server.save()
    else if (lot < 0.75) server.restart(this.pick(['none', 'saved', 'all']))
    else if (lot < 0.8) server.evict(topic)
    else if (lot < 0.85) server.evictEntries(topic)
    else if (lot < 0.95) server.rollBack(topic, this.int(1, 3))
  }

  /** In calm weather nothing is on its way for so long that it is taken for lost. */
  #wait (): void {
    if (this.weather !== 'calm' || this.#nodes.every(({ broker }) => broker.isIdle)) this.#pass()
  }

  /** Time passes, up to what is due next. @param latest when that is due, at most @returns whether anything was */
  #pass (latest = Infinity): boolean {
    const next = this.timers.reduce<(typeof this.timers)[number] | null>((first, timer) => first === null || timer.at < first.at ? timer : first, null)
    if (next === null || next.at > latest) return false
    this.now = Math.max(this.now, next.at)
    this.timers.splice(this.timers.indexOf(next), 1)
    next.callback()
    return true
  }

  /** Nothing goes wrong any more, and all that is on its way arrives. */
  async #settle (): Promise<void> {
    // twice it is compared: what was on its way at the first may be missed at the second
    for (let round = 0; round < 4; round++) {
      for (const { broker } of this.#nodes) broker.reconnect()
      const latest = this.now + LONGEST
      for (let [isBusy, moves] = [true, 0]; isBusy; moves++) {
        if (moves > MOST_MOVES) throw new Wrong('it does not come to rest')
        await setImmediate()
        const busy = this.#nodes.filter(({ broker }) => !broker.isIdle)
        if (busy.length > 0) this.pick(busy).move()
        else isBusy = this.#pass(latest)
      }
      for (const node of this.#nodes) {
        node.drainAll()
        if (round < 3) node.check()
      }
    }
    if (this.unsettled.size > 0) throw new Wrong(`never settled: ${[...this.unsettled].join(', ')}`)
    for (const node of this.#nodes) node.mustHaveAll()
  }

  async #end (): Promise<void> {
    for (const node of this.#nodes) {
      const { delivered, skipped } = node.topics.stats()
      node.leaveAll()
      await setImmediate()
      const { isBrokerUp, ...stats } = node.topics.stats()
      if (!isBrokerUp) throw new Wrong('the broker is away at the end')
      for (const [name, count] of Object.entries({ ...stats, delivered: 0, skipped: 0, published: 0, gaps: 0, gapReasons: 0, errors: 0 })) {
        if (count !== 0) throw new Wrong(`${name} is ${count} at the end`)
      }
      if (stats.delivered < delivered || stats.skipped < skipped) throw new Wrong('counts go back')
      await node.topics.close()
    }
    if (this.timers.length > 0) throw new Wrong(`${this.timers.length} timers are left`)
  }
}

/** A process. */
class Node {
  readonly simulation: Simulation
  readonly topics: RealTopics
  readonly broker: VirtualBroker
  members: Member[] = []

  constructor (simulation: Simulation, topics: RealTopics, broker: VirtualBroker) {
    this.simulation = simulation
    this.topics = topics
    this.broker = broker
  }

  publish (topic: string): void {
    const except = this.members.length > 0 && this.simulation.chance(0.3) ? this.simulation.pick(this.members) : null
    const text = this.simulation.nextText(topic)
    except?.publishes(topic, text)
    this.simulation.watch(this.topics.table.publish(topic, text, {}, except), 'publish')
  }

  subscribe (topic: string): void {
    const isNew = this.members.length < 2 || this.simulation.chance(0.3)
    const member = isNew ? new Member(this) : this.simulation.pick(this.members)
    if (isNew) this.members.push(member)
    member.subscribe(topic)
  }

  leave (): void {
    if (this.members.length === 0) return
    const member = this.simulation.pick(this.members)
    if (this.simulation.chance(0.5)) member.unsubscribe()
    else member.close()
  }

  leaveAll (): void {
    for (const member of this.members) member.close() // which leaves another list
  }

  slowDown (): void {
    if (this.members.length > 0) this.simulation.pick(this.members).mustWait = true
  }

  drain (): void {
    if (this.members.length > 0) this.simulation.pick(this.members).drain()
  }

  drainAll (): void {
    for (const member of this.members) member.drain()
  }

  check (): void {
    const { link } = this.topics
    if (this.simulation.weather === 'calm' && !this.broker.isIdle) return
    if (this.broker.isUp) this.simulation.watch(link.check(), 'check')
  }

  /** Something that is on its way gets a step further. */
  move (): void {
    const { broker } = this
    if (!broker.isUp) return
    const ways = [
      ...(broker.requests.length > 0 ? [() => { broker.serve() }] : []),
      ...(broker.answers.length > 0 ? [() => { broker.answer() }] : []),
      ...(broker.pushes.length > 0 ? [() => { broker.tell() }] : [])
    ]
    if (ways.length > 0) this.simulation.pick(ways)()
  }

  mustHaveAll (): void {
    for (const member of this.members) member.mustHaveAll()
  }
}

/** A connection. */
class Member implements Subscriber {
  readonly connection = this
  subscriptions: Subscriber['subscriptions'] = null
  readyState: ReadyState = OPEN
  bufferedAmount = 0
  mustWait = false
  readonly node: Node
  readonly #watches = new Map<string, Watch>()
  /** What it has published: if it is not subscribed yet, it may get that or not. */
  readonly own = new Set<string>()

  constructor (node: Node) {
    this.node = node
  }

  get #simulation (): Simulation { return this.node.simulation }

  subscribe (topic: string): void {
    if (this.#watches.has(topic)) return
    const simulation = this.#simulation
    const slow = simulation.pick(['close', 'close', 'close', 'skip', 'latest'] as const)
    const watch = new Watch(topic, slow)
    this.#watches.set(topic, watch)
    // from somewhere in the past, or from nowhere
    const positions = [...simulation.server.texts].filter(([, text]) => text.startsWith(topic) || simulation.chance(0.1)).map(([position]) => position)
    const since = positions.length > 0 && simulation.chance(0.6) ? positions[Math.max(0, positions.length - simulation.int(1, 12))]! : undefined
    const snapshot = simulation.chance(0.3) ? (): string => 'snapshot' : undefined
    const promise = this.node.topics.table.subscribe(this, topic, { since, slow, encode, snapshot })
    simulation.watch(promise, 'subscribe')
    promise.then(({ recovered, position }) => {
      if (recovered) simulation.recovered++
      watch.isDecided = true
      watch.last = recovered ? since! : position
      if (recovered && watch.seen.size > 0) throw new Wrong('something came before it was recovered')
      for (const seen of watch.early.splice(0)) this.#see(watch, seen)
    }, () => { watch.isEnded = true }).catch(fail)
  }

  publishes (topic: string, text: string): void {
    this.own.add(text)
    const watch = this.#watches.get(topic)
    if (watch?.isDecided === true) watch.own.set(text, this.#simulation.now)
  }

  unsubscribe (): void {
    const topics = [...this.#watches.keys()]
    if (topics.length === 0) return
    const topic = this.#simulation.pick(topics)
    this.#watches.delete(topic)
    this.node.topics.table.unsubscribe(this, topic)
  }

  close (): void {
    if (this.readyState !== OPEN) return
    this.readyState = 2
    this.subscriptions?.leave(this.node.topics.table)
    this.#watches.clear()
    this.node.members = this.node.members.filter(member => member !== this)
  }

  drain (): void {
    if (!this.mustWait || this.readyState !== OPEN) return
    this.mustWait = false
    this.subscriptions?.onDrain(this.node.topics.table)
  }

  sendPublished (message: Parameters<Subscriber['sendPublished']>[0]): boolean {
    if (this.readyState !== OPEN) fail(new Wrong('delivered to a closed connection'))
    const text = message.payload.toString()
    if (text !== 'snapshot') {
      const [, topic, position] = /^(.*) \d+ (.*)$/.exec(text) ?? []
      const watch = this.#watches.get(topic!)
      if (watch === undefined) fail(new Wrong(`${text} was delivered after unsubscribe()`))
      else this.#see(watch, { text, position: position === 'null' ? null : position! })
    }
    return !this.mustWait
  }

  #see (watch: Watch, seen: Seen): void {
    if (!watch.isDecided) {
      watch.early.push(seen)
      return
    }
    const { text, position } = seen
    this.#simulation.delivered++
    const name = text.replace(/ \S+$/, '') // what is sent once more has another position
    if (watch.seen.has(name)) fail(new Wrong(`${text} was delivered twice`))
    watch.seen.add(name)
    if (position === null) return
    const publishedAt = watch.own.get(name) ?? -Infinity
    if (this.#simulation.now - publishedAt < PUBLISH_TIMEOUT) fail(new Wrong(`${text} was delivered to who published it`))
    const before = this.#simulation.server.parents.get(position)!
    if (watch.last !== null && watch.slow === 'close' && this.#foreign(before) !== this.#foreign(watch.last)) {
      fail(new Wrong(`${position} after ${watch.last} without a word`))
    }
    watch.last = position
  }

  /** A position, or that of the last before it that is not its own. */
  #foreign (position: string): string {
    const { texts, parents } = this.#simulation.server
    while (this.own.has(texts.get(position) ?? '')) position = parents.get(position)!
    return position
  }

  tellGap ({ topic, to }: TopicGap): void {
    const watch = this.#watches.get(topic)
    if (watch === undefined) return
    this.#simulation.gaps++
    if (this.#simulation.weather !== 'storm' && !topic.startsWith('plain') && (topic.startsWith('kept') || this.#simulation.weather === 'calm')) {
      fail(new Wrong(`a gap of ${topic} that is none`))
    }
    watch.seen.clear()
    watch.last = to
    // who is told of something publishes
    if (this.#simulation.chance(0.1)) queueMicrotask(() => { this.node.publish(topic) })
  }

  giveUpSlowPeer (): void { this.close() }

  mustHaveAll (): void {
    for (const [topic, watch] of this.#watches) {
      if (watch.isEnded || watch.slow !== 'close') continue
      if (!watch.isDecided) fail(new Wrong(`${topic} is not decided`))
      const head = this.#simulation.server.headOf(topic)
      if (head !== null && this.#foreign(watch.last!) !== this.#foreign(positionOf(head))) fail(new Wrong(`${topic} ends at ${watch.last}, and not at ${positionOf(head)}`))
    }
  }
}

function encode (payload: Buffer, { position }: { position: string | null }): string {
  return `${payload} ${position}`
}

let failure: unknown = null

/** What is thrown inside of what is tested may be caught there. */
function fail (error: unknown): void {
  failure ??= error
}

export async function simulate (seed: number, course: Course): Promise<Result> {
  failure = null
  const simulation = new Simulation(seed, course)
  try {
    await simulation.run()
  } catch (error) {
    fail(error)
  }
  const { delivered, gaps, recovered } = simulation
  const wrong = failure === null ? null : failure instanceof Wrong ? failure.message : String((failure as Error).stack)
  return { wrong, delivered, gaps, recovered }
}

/** @returns the fewest steps after which a seed fails, for whoever has to find out why */
export async function shorten (seed: number, course: Course): Promise<number> {
  for (let steps = 1; steps < course.steps; steps++) {
    if ((await simulate(seed, { ...course, steps })).wrong !== null) return steps
  }
  return course.steps
}
