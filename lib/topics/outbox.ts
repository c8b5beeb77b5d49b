// Messages published by this process on their way to the broker and back: in order, each with a deadline.
import type { Broker, Head, PublishResult, Rule } from '../../types/topics.ts'
import type { Subscriber } from '../connection/subscriber.ts'
import { brokerDown, brokerRefused, brokerUncertain, TopicsError, topicsClosed } from '../errors.ts'
import { Fifo } from '../framing/fifo.ts'
import type { Environment } from './environment.ts'
import { formatPosition } from './position.ts'

export interface OutboxSettings {
  /** Milliseconds that a publish() may wait for the broker. */
  readonly publishTimeout: number
  /** Maximum bytes that may wait for the broker. */
  readonly maxPending: number
}

export interface OutboxOwner extends Pick<Environment, 'clock' | 'schedule'> {
  readonly broker: Broker
  /** Messages that the broker may have without having answered. More wait here, where each takes a fraction of the memory. */
  readonly maxUnanswered: number
  /** The broker accepts messages on a topic. */
  isUp (topic: string): boolean
  onError (error: unknown): void
  onAccepted (topic: string, head: Head | null): void
  /** A publish() has settled, or its message has come back. */
  onProgress (): void
}

interface Item {
  readonly order: number
  readonly topic: string
  readonly body: Buffer
  readonly rule: Rule
  readonly deadline: number
  /** From expect(); 0: it is not expected back. */
  readonly counter: number
  readonly resolve: (result: PublishResult) => void
  readonly reject: (error: Error) => void
  state: 'waiting' | 'sent' | 'settled'
}

export class Outbox {
  readonly #owner: OutboxOwner
  readonly #settings: OutboxSettings
  readonly #items = new Fifo<Item>()
  // the items not yet handed to the broker, in order
  #waiting: Item[] = []
  #isFlushing = false
  #unanswered = 0
  // some of the waiting items wait for answers to others, and all after them with them
  #isFull = false
  #published = 0
  #pending = 0
  #bytes = 0
  // messages expected back, by counter, with the subscriber that must not get each
  readonly #expected = new Map<number, Subscriber | null>()
  #counter = 0
  #cancel: (() => void) | null = null
  #isClosed = false

  constructor (settings: OutboxSettings, owner: OutboxOwner) {
    this.#settings = settings
    this.#owner = owner
  }

  /** Messages not settled, and their bytes. */
  get pending (): number { return this.#pending }
  get pendingBytes (): number { return this.#bytes }
  /** Everything is settled, and all expected messages have come back. */
  get isEmpty (): boolean { return this.#pending === 0 && this.#expected.size === 0 }

  /** Expects the next message back. @returns the counter by which returned() recognizes it */
  expect (except: Subscriber | null): number {
    this.#expected.set(++this.#counter, except)
    return this.#counter
  }

  /** A message has come back. @returns the subscriber that must not get it */
  returned (counter: number): Subscriber | null {
    const except = this.#expected.get(counter) ?? null
    if (this.#expected.delete(counter)) {
      this.#shiftDone()
      this.#owner.onProgress()
    }
    return except
  }

  /** @param counter from expect(); 0: it is not expected back */
  publish (topic: string, body: Buffer, rule: Rule, counter: number): Promise<PublishResult> {
    const promise = new Promise<PublishResult>((resolve, reject) => {
      const deadline = this.#owner.clock() + this.#settings.publishTimeout
      const item: Item = { order: this.#published++, topic, body, rule, deadline, counter, resolve, reject, state: 'waiting' }
      this.#pending++
      this.#bytes += body.length
      if (this.#isClosed) this.#settle(item, topicsClosed())
      else if (this.#bytes > this.#settings.maxPending) this.#settle(item, brokerDown(topic, `${this.#settings.maxPending} bytes wait for it (maxPending)`))
      else this.#add(item)
    })
    promise.catch(() => {}) // may be left unhandled
    return promise
  }

  /** Sends waiting messages: the broker accepts them again, if not on all topics. */
  flush (): void {
    this.#isFlushing = true
    this.#isFull = false
    const away: Item[] = []
    for (let i = 0; i < this.#waiting.length; i++) { // to which may be added
      const item = this.#waiting[i]!
      if (item.state !== 'waiting') continue
      if (this.#maySend(item)) this.#send(item)
      else away.push(item)
    }
    this.#waiting = away
    this.#isFlushing = false
  }

  close (): void {
    this.#isClosed = true
    this.#cancel?.()
    for (const item of this.#items.cut()) this.#settle(item, topicsClosed())
    this.#waiting = []
    this.#expected.clear()
    this.#owner.onProgress()
  }

  #add (item: Item): void {
    this.#items.push(item)
    if (!this.#isFlushing && this.#maySend(item)) this.#send(item)
    else this.#waiting.push(item)
    this.#watch()
  }

  #maySend ({ topic }: Item): boolean {
    if (this.#isFull || !this.#owner.isUp(topic)) return false
    this.#isFull = this.#unanswered >= this.#owner.maxUnanswered
    return !this.#isFull
  }

  /** Sends what waits for answers, many at a time. */
  #goOn (): void {
    if (this.#isFull && this.#unanswered <= this.#owner.maxUnanswered / 2) this.flush()
  }

  /** It was not sent after all. What was published after it may wait already. */
  #putBack (item: Item): void {
    item.state = 'waiting'
    this.#unanswered--
    let place = this.#waiting.length
    while (place > 0 && this.#waiting[place - 1]!.order > item.order) place--
    this.#waiting.splice(place, 0, item)
  }

  #send (item: Item): void {
    item.state = 'sent'
    this.#unanswered++
    const { topic, body, rule } = item
    let answer: Promise<Head | null>
    try {
      answer = Promise.resolve(this.#owner.broker.publish(topic, body, rule)) // a broker may be of others
    } catch (error) {
      answer = Promise.reject(error)
    }
    answer.then(head => {
      this.#settle(item, head)
      this.#goOn()
    }, (error: unknown) => {
      this.#fail(item, error)
      this.#goOn()
    })
  }

  #fail (item: Item, error: unknown): void {
    const isKnown = error instanceof TopicsError || isOurs(error)
    if (isKnown && error.code === 'FST_WS_TOPICS_BROKER_DOWN' && item.state === 'sent' && !this.#owner.isUp(item.topic)) this.#putBack(item)
    else this.#settle(item, isKnown ? error : brokerRefused(`a message on ${JSON.stringify(item.topic)}`, error))
  }

  #settle (item: Item, outcome: Head | null | Error): void {
    if (item.state === 'settled') return
    if (item.state === 'sent') this.#unanswered--
    item.state = 'settled'
    this.#pending--
    this.#bytes -= item.body.length
    if (outcome instanceof Error) {
      // if uncertain, the message may still come back, and must then not go to its publisher
      if ((outcome as { code?: string }).code !== 'FST_WS_TOPICS_UNCERTAIN') this.#expected.delete(item.counter)
      item.reject(outcome)
      this.#owner.onError(outcome)
    } else {
      this.#owner.onAccepted(item.topic, outcome)
      item.resolve({ position: outcome === null ? null : formatPosition(outcome) })
    }
    this.#shiftDone()
    this.#owner.onProgress()
  }

  /** Sets the one timer, for the first item: the others are due later. */
  #watch (): void {
    if (this.#cancel !== null) return
    const first = this.#items.peek()
    if (first === undefined) return
    this.#cancel = this.#owner.schedule(() => {
      this.#cancel = null
      this.#expire()
    }, Math.max(0, first.deadline - this.#owner.clock()))
  }

  /** Lets go of what has come back: until the timer is due there may be many. */
  #shiftDone (): void {
    for (let first = this.#items.peek(); first?.state === 'settled' && !this.#expected.has(first.counter); first = this.#items.peek()) this.#items.shift()
  }

  #expire (): void {
    const now = this.#owner.clock()
    for (let item = this.#items.peek(); item !== undefined && item.deadline <= now; item = this.#items.peek()) {
      this.#items.shift()
      if (item.state === 'waiting') this.#settle(item, brokerDown(item.topic, `it has not taken it for ${this.#settings.publishTimeout} ms (publishTimeout)`))
      else if (item.state === 'sent') this.#settle(item, brokerUncertain(item.topic))
      this.#expected.delete(item.counter)
    }
    this.#shiftDone()
    this.#goOn()
    this.#owner.onProgress()
    this.#watch()
  }
}

/** An error of another copy of this package. */
function isOurs (error: unknown): error is Error & { code: string } {
  return error instanceof Error && String((error as { code?: unknown }).code).startsWith('FST_WS_TOPICS_')
}
