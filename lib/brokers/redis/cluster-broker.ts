// Topics across processes over a Redis or Valkey cluster. Each node with slots is used like a single server, for the partitions whose channel and keys
// are in its slots. If a partition's node is unreachable, or its slot is migrating, it is reported to the host as interrupted: publishing on its topics
// waits, and all others go on. The slots are then looked up, round by round, until the partition's node has acknowledged its subscriptions and redirects
// no key.
import type { Broker, BrokerHost, Entry, Head, Rule } from '../../../types/topics.ts'
import { brokerAnswer, brokerDown, brokerLost, brokerRefused, topicsClosed, TopicsError } from '../../errors.ts'
import { randomTag, type Environment } from '../../topics/environment.ts'
import { ClusterNode, type ClusterNodeOwner } from './cluster-node.ts'
import { ClusterPart } from './cluster-part.ts'
import { isMoved, isReply, isWrongServer, type Address, type Cluster, type ClusterNodes } from './connection.ts'
import { PARTITIONS, partitionOf, type Layout } from './layout.ts'
import { ServerBroker } from './server-broker.ts'
import { Session } from './session.ts'
import { nameOf, parseSlots, slotOf, type Topology } from './topology.ts'

export interface ClusterBrokerOptions {
  readonly cluster: Cluster
  readonly layout: Layout
  /** Milliseconds within which a node must answer. */
  readonly timeout: number
  readonly environment: Environment
}

const TICK = 10_000 // ms
const RETRY_DELAY = 25 // ms
const MAX_RETRY_DELAY = 500
const SLOTS = ['CLUSTER', 'SLOTS']

export class ClusterBroker implements Broker, ClusterNodeOwner {
  readonly numbered = true
  readonly #options: ClusterBrokerOptions
  readonly #parts: readonly ClusterPart[]
  readonly #nodes = new Map<string, ClusterNode>()
  readonly #leaving = new Set<ClusterNode>()
  #known: ClusterNodes | null = null
  // known nodes, to ask for the topology
  #addresses: readonly Address[] = []
  #host: BrokerHost | null = null
  #hasStarted = false
  #isLooking = false
  #mustLook = false
  #attempts = 0
  #cancelLook: (() => void) | null = null
  #cancelTick: (() => void) | null = null

  constructor (options: ClusterBrokerOptions) {
    this.#options = options
    this.#parts = Array.from({ length: PARTITIONS }, (_, partition) => new ClusterPart(partition, slotOf(options.layout.channel(partition))))
  }

  // Start and end

  async start (host: BrokerHost): Promise<void> {
    this.#host = host
    try {
      await this.#round(host)
      if (this.#host !== host) throw topicsClosed()
      const missing = this.#parts.find(({ isUp }) => !isUp)
      if (missing !== undefined) throw new Error(`slot ${missing.slot} of the cluster cannot be used`)
    } catch (error) {
      await this.stop()
      throw error instanceof TopicsError ? error : isReply(error) ? brokerRefused('CLUSTER SLOTS', error) : brokerLost(error as Error)
    }
    this.#hasStarted = true
    this.#tick()
  }

  async stop (): Promise<void> {
    this.#host = null
    this.#hasStarted = this.#mustLook = false
    this.#cancelLook?.()
    this.#cancelTick?.()
    const nodes = [...this.#nodes.values(), ...this.#leaving]
    this.#nodes.clear()
    for (const part of this.#parts) part.end(topicsClosed())
    await Promise.all(nodes.map(node => node.stop()))
  }

  /** Looks periodically: a process without messages or subscriptions in a slot is not told when it moves. */
  #tick (): void {
    this.#cancelTick = this.#options.environment.schedule(() => {
      this.#tick()
      if (this.#parts.every(({ isUp }) => isUp)) this.#attempts = 0
      this.#look()
    }, TICK)
  }

  // Topology

  /** Looks up the topology now or, if a lookup is running, once more after it. */
  #look (): void {
    const host = this.#host
    if (!this.#hasStarted || host === null) return
    if (this.#isLooking) {
      this.#mustLook = true
      return
    }
    this.#cancelLook?.()
    this.#isLooking = true
    this.#mustLook = false
    this.#round(host).catch((error: unknown) => { this.#host?.error(error instanceof TopicsError ? error : brokerLost(error as Error)) }).finally(() => {
      this.#isLooking = false
      if (this.#mustLook || this.#parts.some(({ isUp }) => !isUp)) this.#lookLater()
    })
  }

  #lookLater (): void {
    if (!this.#hasStarted) return
    const { random, schedule } = this.#options.environment
    const delay = Math.min(RETRY_DELAY * 2 ** this.#attempts++, MAX_RETRY_DELAY) * (0.5 + random() / 2)
    this.#cancelLook = schedule(() => { this.#look() }, delay, true)
  }

  async #round (host: BrokerHost): Promise<void> {
    const topology = await this.#ask()
    if (this.#host !== host) return
    this.#assign(topology)
    const outcomes = await Promise.allSettled([...this.#nodes.values()].map(node => this.#restore(node, host)))
    const failed = outcomes.find(outcome => outcome.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  /** Asks nodes that are up, then all known addresses, then those that the user's client discovers. */
  async #ask (): Promise<Topology> {
    const up = [...this.#nodes.values()].filter(({ isUp }) => isUp)
    const topology = await this.#firstOf(up, async ({ broker, address }) => this.#read(await broker.call(SLOTS), address)) ??
      await this.#firstOf(this.#addresses, address => this.#askAt(address))
    if (topology !== null) return topology
    this.#known = await this.#discover()
    let failure: Error | undefined
    const found = await this.#firstOf(this.#known.seeds, address => this.#askAt(address), error => { failure = error })
    if (found === null) throw failure ?? new Error('no node of the cluster is known')
    return found
  }

  async #firstOf<Item, Result> (items: readonly Item[], ask: (item: Item) => Promise<Result>, onFailure?: (error: Error) => void): Promise<Result | null> {
    try {
      return await Promise.any(items.map(ask))
    } catch (error) {
      onFailure?.((error as AggregateError).errors[0])
      return null
    }
  }

  async #askAt (address: Address): Promise<Topology> {
    const { timeout, environment } = this.#options
    const session = new Session(this.#known!.dial(address), { timeout, environment, message: () => {}, failed: () => {} })
    try {
      await session.connect()
      return this.#read(await session.call(SLOTS), address)
    } finally {
      session.close()
    }
  }

  #read (reply: unknown, asked: Address): Topology {
    const topology = parseSlots(reply, asked, address => this.#options.cluster.map(address))
    if (topology === null) throw brokerAnswer('CLUSTER SLOTS')
    return topology
  }

  async #discover (): Promise<ClusterNodes> {
    const { cluster, timeout, environment } = this.#options
    const { nodes, close } = cluster.discover()
    return await new Promise<ClusterNodes>((resolve, reject) => {
      const cancel = environment.schedule(() => {
        close()
        reject(new Error(`the cluster has not answered for ${timeout} ms`))
      }, timeout)
      nodes.finally(cancel).then(resolve, reject)
    })
  }

  /** Assigns each partition to the node that has its slot, and leaves nodes without any. */
  #assign (topology: Topology): void {
    this.#addresses = topology.nodes
    const moved = this.#parts.filter(part => {
      const owner = topology.ownerOf(part.slot)
      return (owner === null ? null : nameOf(owner)) !== (part.node === null ? null : nameOf(part.node.address))
    })
    this.#lose(moved)
    for (const part of moved) {
      part.node?.broker.unsubscribe([...part.topics])
      const owner = topology.ownerOf(part.slot)
      part.node = owner === null ? null : this.#nodeAt(owner)
    }
    for (const [name, node] of this.#nodes) {
      if (this.#parts.some(part => part.node === node)) continue
      this.#nodes.delete(name)
      void this.#leave(node, moved)
    }
  }

  /** Stops a node once it has answered pending commands, possibly with redirections. */
  async #leave (node: ClusterNode, parts: readonly ClusterPart[]): Promise<void> {
    this.#leaving.add(node)
    await Promise.all(parts.map(part => part.drained()))
    this.#leaving.delete(node)
    await node.stop()
  }

  #nodeAt (address: Address): ClusterNode {
    const name = nameOf(address)
    let node = this.#nodes.get(name)
    if (node === undefined) {
      const { layout, timeout, environment } = this.#options
      const trialPartition = (): number => this.#parts.find(part => part.node === node)?.partition ?? 0
      node = new ClusterNode(address, new ServerBroker({ dial: this.#known!.dial(address), layout, timeout, environment, trialPartition }))
      this.#nodes.set(name, node)
    }
    return node
  }

  /** Brings up the partitions of a node that are not up. */
  async #restore (node: ClusterNode, host: BrokerHost): Promise<void> {
    if (!node.hasStarted) await node.start(this)
    if (!node.isUp || this.#host !== host) return
    const parts = this.#parts.filter(part => part.node === node && !part.isUp)
    const outcomes = await Promise.allSettled(parts.map(part => node.whileUp(this.#prepare(part, node))))
    if (!node.isUp || this.#host !== host) return
    const ready = parts.filter((part, i) => outcomes[i]!.status === 'fulfilled' && part.node === node)
    for (const part of ready) part.setUp()
    if (this.#hasStarted && ready.length > 0) host.restored(topicsOf(ready))
    const failed = outcomes.find(outcome => outcome.status === 'rejected')
    if (failed !== undefined && !isMoved(failed.reason)) throw failed.reason
  }

  /** Subscribes for a partition on its node. @returns rejects if the node does not have its slot, or not alone */
  async #prepare (part: ClusterPart, { broker }: ClusterNode): Promise<void> {
    const { layout, environment } = this.#options
    // keeps order: redirected messages are sent again before later ones
    await part.drained()
    const topics = [...part.topics]
    try {
      if (topics.length > 0) await broker.subscribe(topics)
      // in a migrating slot, a missing key is redirected
      await broker.call(['MGET', layout.headKey(randomTag(environment.random), part.partition)])
    } catch (error) {
      if (isMoved(error)) broker.unsubscribe(topics)
      throw error
    }
  }

  #lose (parts: readonly ClusterPart[]): void {
    const lost = parts.filter(part => part.setDown())
    if (this.#hasStarted && lost.length > 0) this.#host?.interrupted(topicsOf(lost))
  }

  // Nodes

  deliver (topic: string, entry: Entry | { readonly head: null, readonly body: Buffer }): void {
    this.#host?.deliver(topic, entry)
  }

  error (error: Error): void {
    this.#host?.error(error)
  }

  wentDown (node: ClusterNode): void {
    this.#lose(this.#parts.filter(part => part.node === node))
    this.#look()
  }

  cameUp (): void {
    this.#look()
  }

  // Messages

  isAway (topic: string): boolean {
    return !this.#partOf(topic).isUp
  }

  async publish (topic: string, body: Buffer, rule: Rule): Promise<Head | null> {
    const part = this.#partOf(topic)
    const { node } = part
    if (!part.isUp || node === null) throw brokerDown(topic, 'its node of the cluster is away')
    try {
      return await part.send(() => node.broker.publish(topic, body, rule))
    } catch (error) {
      if (!this.#hasMoved(part, error)) throw error
      throw brokerDown(topic, error.message)
    }
  }

  async subscribe (topics: string[]): Promise<void> {
    const groups = this.#grouped(topics)
    for (const [part, names] of groups) for (const name of names) part.topics.add(name)
    await Promise.all([...groups].map(([part, names]) => this.#subscribe(part, names)))
  }

  async #subscribe (part: ClusterPart, topics: string[]): Promise<void> {
    for (;;) {
      const { node } = part
      if (!part.isUp || node === null) {
        if (this.#host === null) throw topicsClosed()
        await part.back()
        continue
      }
      try {
        await node.broker.subscribe(topics)
        return
      } catch (error) {
        if (part.node === node && !this.#hasMoved(part, error)) throw error
        node.broker.unsubscribe(topics)
      }
    }
  }

  unsubscribe (topics: string[]): void {
    for (const [part, names] of this.#grouped(topics)) {
      for (const name of names) part.topics.delete(name)
      part.node?.broker.unsubscribe(names)
    }
  }

  async read (topic: string, since: Head | null, rule: Rule): Promise<{ head: Head, entries: Entry[] }> {
    return await this.#at(this.#partOf(topic), broker => broker.read(topic, since, rule))
  }

  async heads (topics: string[]): Promise<Array<Head | null>> {
    const heads = new Map<string, Head | null>()
    // one command cannot read keys of several slots
    await Promise.all([...this.#grouped(topics)].map(async ([part, names]) => {
      const found = await this.#at(part, broker => broker.heads(names))
      names.forEach((name, i) => { heads.set(name, found[i] ?? null) })
    }))
    return topics.map(topic => heads.get(topic) ?? null)
  }

  async #at<Result> (part: ClusterPart, ask: (broker: ServerBroker) => Promise<Result>): Promise<Result> {
    const { node } = part
    if (!part.isUp || node === null) throw brokerLost(new Error('its node of the cluster is away'))
    try {
      return await ask(node.broker)
    } catch (error) {
      if (!this.#hasMoved(part, error)) throw error
      throw brokerLost(error)
    }
  }

  /** Whether a command was not executed because its node does not have the slot. */
  #hasMoved (part: ClusterPart, error: unknown): error is Error {
    if (!isMoved(error)) return isWrongServer(error) // the node has already been given up for this
    this.#lose([part])
    this.#look()
    return true
  }

  #partOf (topic: string): ClusterPart {
    return this.#parts[partitionOf(topic)]!
  }

  #grouped (topics: readonly string[]): Map<ClusterPart, string[]> {
    const groups = new Map<ClusterPart, string[]>()
    for (const topic of topics) {
      const part = this.#partOf(topic)
      const group = groups.get(part)
      if (group === undefined) groups.set(part, [topic])
      else group.push(topic)
    }
    return groups
  }
}

function topicsOf (parts: readonly ClusterPart[]): (topic: string) => boolean {
  const partitions = new Set(parts.map(({ partition }) => partition))
  return topic => partitions.has(partitionOf(topic))
}
