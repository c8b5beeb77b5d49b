// Topics across processes over any mqemitter. It delivers at most once and does not report failures: messages are not numbered, subscribers cannot
// recover, and gaps go unnoticed.
import type { Broker, BrokerHost } from '../../../types/topics.ts'
import { wrongBrokerOption } from '../../errors.ts'

/** The members used of an mqemitter, mqemitter-redis, mqemitter-mongodb, ... */
export interface Emitter {
  on (...args: never[]): unknown
  removeListener (...args: never[]): unknown
  emit (...args: never[]): unknown
}

export interface MqemitterBrokerOptions {
  /** Your emitter, which the broker does not close. Its separator must be `/`, the default. */
  readonly emitter: Emitter
  /** Prefix of its topics, followed by `/` and the name in base64url. Default: 'ws1'. */
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
 * @throws TypeError with the code FST_WS_TOPICS_OPTION for an invalid option
 */
export function mqemitterBroker (options: MqemitterBrokerOptions): Broker {
  return new MqemitterBroker(options)
}

class MqemitterBroker implements Broker {
  readonly numbered = false
  readonly #emitter: AnyEmitter
  readonly #prefix: string
  #host: BrokerHost | null = null
  // an emitter may still call a listener for some time after its removal: only listeners in this map count
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
      // it can be removed only once it has been added
      entry?.listening.then(() => { this.#emitter.removeListener(this.#nameOf(topic), entry.listener, error => { this.#report(error) }) }).catch(() => {})
    }
  }

  #deliver (topic: string, { body }: EmitterMessage): void {
    try {
      const bytes = toBuffer(body)
      if (bytes !== null) this.#host?.deliver(topic, { head: null, body: bytes })
    } catch (error) { // must not reach the emitter
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

/** Restores a Buffer: MessagePack keeps it, BSON wraps it, JSON makes it an object. */
function toBuffer (body: unknown): Buffer | null {
  if (Buffer.isBuffer(body)) return body
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const { buffer, data, type } = (body ?? {}) as { buffer?: unknown, data?: unknown, type?: unknown }
  if (buffer instanceof Uint8Array) return toBuffer(buffer)
  return type === 'Buffer' && Array.isArray(data) ? Buffer.from(data as number[]) : null
}
