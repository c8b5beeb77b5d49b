// What this process publishes, on its way to the broker and back: in order, each with a deadline.
import type { Broker, Head, PublishResult, Rule } from '../../types/topics.ts'
import type { Subscriber } from '../connection/subscriber.ts'
import { brokerDown, brokerRefused, brokerUncertain, TopicsError, topicsClosed } from '../errors.ts'
import { Fifo } from '../framing/fifo.ts'
import type { Environment } from './environment.ts'
import { formatPosition } from './position.ts'

export interface OutboxSettings {
  /** Milliseconds. */
  readonly publishTimeout: number
  /** Bytes. */
  readonly maxPending: number
}

export interface OutboxOwner extends Pick<Environment, 'clock' | 'schedule'> {
  readonly broker: Broker
  /** The broker takes messages. */
  readonly isUp: boolean
  onError (error: unknown): void
  onAccepted (topic: string, head: Head | null): void
  /** Something is settled, or has come back. */
  onProgress (): void
}

interface Item {
  readonly topic: string
  readonly body: Buffer
  readonly rule: Rule
  readonly deadline: number
  /** 0: it is not expected back. */
  readonly counter: number
  readonly resolve: (result: PublishResult) => void
  readonly reject: (error: Error) => void
  state: 'waiting' | 'sent' | 'settled'
}

export class Outbox {
  readonly #owner: OutboxOwner
  readonly #settings: OutboxSettings
  readonly #items = new Fifo<Item>()
  // of those, what has not been handed to the broker
  readonly #waiting = new Fifo<Item>()
  #pending = 0
  #bytes = 0
  // what is known again when it comes back, and who is not to get it
  readonly #expected = new Map<number, Subscriber | null>()
  #counter = 0
  #cancel: (() => void) | null = null
  #isClosed = false

  constructor (settings: OutboxSettings, owner: OutboxOwner) {
    this.#settings = settings
    this.#owner = owner
  }

  /** Messages that are not settled, and their bytes. */
  get pending (): number { return this.#pending }
  get pendingBytes (): number { return this.#bytes }
  /** All is settled, and what is expected has come back. */
  get isEmpty (): boolean { return this.#pending === 0 && this.#expected.size === 0 }

  /** Something that is published, and that is to be known again. @returns by which number */
  expect (except: Subscriber | null): number {
    this.#expected.set(++this.#counter, except)
    return this.#counter
  }

  /** It has come back. @returns who is not to get it */
  returned (counter: number): Subscriber | null {
    const except = this.#expected.get(counter) ?? null
    if (this.#expected.delete(counter)) this.#owner.onProgress()
    return except
  }

  /** @param counter what expect() has returned; 0: it need not come back */
  publish (topic: string, body: Buffer, rule: Rule, counter: number): Promise<PublishResult> {
    const promise = new Promise<PublishResult>((resolve, reject) => {
      const deadline = this.#owner.clock() + this.#settings.publishTimeout
      const item: Item = { topic, body, rule, deadline, counter, resolve, reject, state: 'waiting' }
      this.#pending++
      this.#bytes += body.length
      if (this.#isClosed) this.#settle(item, topicsClosed())
      else if (this.#bytes > this.#settings.maxPending) this.#settle(item, brokerDown(topic, `${this.#settings.maxPending} bytes wait for it (maxPending)`))
      else this.#add(item)
    })
    promise.catch(() => {}) // nobody has to wait for it
    return promise
  }

  /** The broker takes messages again. */
  flush (): void {
    for (let item = this.#waiting.shift(); item !== undefined; item = this.#waiting.shift()) {
      if (item.state === 'waiting') this.#send(item)
    }
  }

  close (): void {
    this.#isClosed = true
    this.#cancel?.()
    for (const item of this.#items.cut()) this.#settle(item, topicsClosed())
    this.#waiting.cut()
    this.#expected.clear()
    this.#owner.onProgress()
  }

  #add (item: Item): void {
    this.#items.push(item)
    if (this.#owner.isUp && this.#waiting.isEmpty) this.#send(item)
    else this.#waiting.push(item)
    this.#watch()
  }

  #send (item: Item): void {
    item.state = 'sent'
    const { topic, body, rule } = item
    // what is not async may throw
    new Promise<Head | null>(resolve => { resolve(this.#owner.broker.publish(topic, body, rule)) }).then(head => { this.#settle(item, head) }, (error: unknown) => {
      const isKnown = error instanceof TopicsError || isOurs(error)
      this.#settle(item, isKnown ? error : brokerRefused(`a message on ${JSON.stringify(topic)}`, error))
    })
  }

  #settle (item: Item, outcome: Head | null | Error): void {
    if (item.state === 'settled') return
    item.state = 'settled'
    this.#pending--
    this.#bytes -= item.body.length
    if (outcome instanceof Error) {
      // what may be published all the same is still not for who has published it
      if ((outcome as { code?: string }).code !== 'FST_WS_TOPICS_UNCERTAIN') this.#expected.delete(item.counter)
      item.reject(outcome)
      this.#owner.onError(outcome)
    } else {
      this.#owner.onAccepted(item.topic, outcome)
      item.resolve({ position: outcome === null ? null : formatPosition(outcome) })
    }
    this.#owner.onProgress()
  }

  /** One timer, for the first: the others are due later. */
  #watch (): void {
    if (this.#cancel !== null) return
    while (this.#items.peek() !== undefined && this.#isDone(this.#items.peek()!)) this.#items.shift()
    const first = this.#items.peek()
    if (first === undefined) return
    this.#cancel = this.#owner.schedule(() => {
      this.#cancel = null
      this.#expire()
    }, Math.max(0, first.deadline - this.#owner.clock()))
  }

  #isDone ({ state, counter }: Item): boolean {
    return state === 'settled' && !this.#expected.has(counter)
  }

  #expire (): void {
    const now = this.#owner.clock()
    for (let item = this.#items.peek(); item !== undefined && (item.deadline <= now || this.#isDone(item)); item = this.#items.peek()) {
      this.#items.shift()
      if (item.state === 'waiting') this.#settle(item, brokerDown(item.topic, `it was away for ${this.#settings.publishTimeout} ms (publishTimeout)`))
      else this.#settle(item, brokerUncertain(item.topic))
      this.#expected.delete(item.counter)
    }
    this.#owner.onProgress()
    this.#watch()
  }
}

/** Of another copy of this package. */
function isOurs (error: unknown): error is Error {
  return error instanceof Error && String((error as { code?: unknown }).code).startsWith('FST_WS_TOPICS_')
}
