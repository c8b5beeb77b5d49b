// Topics of many processes by whatever mqemitter there is. It delivers at most once, and does not tell when it could not: nothing is numbered, nothing
// can be recovered, and no gap is noticed.
import type { Broker, BrokerHost } from '../../../types/topics.ts'
import { wrongBrokerOption } from '../../errors.ts'

/** What is needed of an mqemitter, mqemitter-redis, mqemitter-mongodb, ... */
export interface Emitter {
  on (...args: never[]): unknown
  removeListener (...args: never[]): unknown
  emit (...args: never[]): unknown
}

export interface MqemitterBrokerOptions {
  /** Yours: it is not closed. With the separator `/`, as it is by default. */
  readonly emitter: Emitter
  /** What its topics begin with, before `/` and the base64url of the name. Default: 'ws1'. */
  readonly prefix?: string | undefined
}

interface EmitterMessage {
  readonly topic: string
  readonly body?: unknown
}

type Listener = (message: EmitterMessage, done: () => void) => void
type Done = (error?: unknown) => void

/** As it is, whatever its types say. */
interface AnyEmitter {
  on (topic: string, listener: Listener, done: Done): unknown
  removeListener (topic: string, listener: Listener, done: Done): unknown
  emit (message: EmitterMessage, done: Done): unknown
}

/**
 * A broker for the option `broker` of topics that delivers at most once.
 * @throws TypeError with the code FST_WS_TOPICS_OPTION for an option that is wrong
 */
export function mqemitterBroker (options: MqemitterBrokerOptions): Broker {
  return new MqemitterBroker(options)
}

class MqemitterBroker implements Broker {
  readonly numbered = false
  readonly #emitter: AnyEmitter
  readonly #prefix: string
  #host: BrokerHost | null = null
  // an emitter may go on calling a listener for some time after it was removed: only that which is in here counts
  readonly #listeners = new Map<string, { readonly listener: Listener, readonly listening: Promise<void> }>()

  constructor (options: MqemitterBrokerOptions) {
    const { emitter, prefix = 'ws1' } = (options ?? {}) as MqemitterBrokerOptions
    const given = (emitter ?? {}) as unknown as Record<string, unknown>
    if (!['on', 'removeListener', 'emit'].every(name => typeof given[name] === 'function')) {
      throw wrongBrokerOption('mqemitterBroker', 'emitter', 'an mqemitter, with on(), removeListener() and emit()', typeof emitter)
    }
    if (typeof prefix !== 'string' || !/^[^\s/#+]{1,64}$/.test(prefix)) {
      throw wrongBrokerOption('mqemitterBroker', 'prefix', '1 to 64 characters without spaces, /, # and +', JSON.stringify(prefix))
    }
    this.#emitter = emitter as unknown as AnyEmitter
    this.#prefix = prefix
  }

  async start (host: BrokerHost): Promise<void> {
    this.#host = host
  }

  async stop (): Promise<void> {
    this.#host = null
    this.unsubscribe([...this.#listeners.keys()])
  }

  async publish (topic: string, body: Buffer): Promise<null> {
    await new Promise<void>((resolve, reject) => {
      this.#emitter.emit({ topic: this.#nameOf(topic), body }, settling(resolve, reject))
    })
    return null
  }

  async subscribe (topics: string[]): Promise<void> {
    await Promise.all(topics.map(topic => this.#listen(topic)))
  }

  async #listen (topic: string): Promise<void> {
    let entry = this.#listeners.get(topic)
    if (entry === undefined) {
      const listener: Listener = (message, done) => {
        if (this.#listeners.get(topic)?.listener === listener) this.#deliver(topic, message)
        done()
      }
      const listening = new Promise<void>((resolve, reject) => { this.#emitter.on(this.#nameOf(topic), listener, settling(resolve, reject)) })
      this.#listeners.set(topic, entry = { listener, listening })
    }
    await entry.listening
  }

  unsubscribe (topics: string[]): void {
    for (const topic of topics) {
      const entry = this.#listeners.get(topic)
      this.#listeners.delete(topic)
      // it has to be there before it can be removed
      entry?.listening.then(() => { this.#emitter.removeListener(this.#nameOf(topic), entry.listener, error => { this.#report(error) }) }).catch(() => {})
    }
  }

  #deliver (topic: string, { body }: EmitterMessage): void {
    try {
      const bytes = toBuffer(body)
      if (bytes !== null) this.#host?.deliver(topic, { head: null, body: bytes })
    } catch (error) { // nothing may reach the emitter
      this.#report(error)
    }
  }

  #report (error: unknown): void {
    if (error instanceof Error) this.#host?.error(error)
  }

  #nameOf (topic: string): string {
    return `${this.#prefix}/${Buffer.from(topic).toString('base64url')}`
  }
}

function settling (resolve: () => void, reject: (error: unknown) => void): Done {
  return error => {
    if (error instanceof Error) reject(error)
    else resolve()
  }
}

/** What becomes of a Buffer on its way: MessagePack leaves it one, BSON wraps it, JSON writes it out. */
function toBuffer (body: unknown): Buffer | null {
  if (Buffer.isBuffer(body)) return body
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const { buffer, data, type } = (body ?? {}) as { buffer?: unknown, data?: unknown, type?: unknown }
  if (buffer instanceof Uint8Array) return toBuffer(buffer)
  return type === 'Buffer' && Array.isArray(data) ? Buffer.from(data as number[]) : null
}
