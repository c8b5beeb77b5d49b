// A connection while it is connected: what is asked meanwhile is answered, or rejects when that ends. The client itself goes on by its own, and then
// answers nothing that was asked before.
import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node'
import { Fifo } from '../../framing/fifo.ts'
import type { Environment } from '../../topics/environment.ts'

/** The server said no: nothing was done. */
export class Refusal extends Error {
  /** Of JetStream; 0 without one. */
  readonly code: number

  constructor (message: string, code: number, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** There is nobody who does it, for the time being: nothing was done. */
export class Unavailable extends Refusal {}

/** The server has not answered. */
export class Unanswered extends Error {}

/** There is no such stream. */
export const NO_STREAM = 10_059

/** Temporarily, or since JetStream was disabled. Its status code 503 tells nothing: a full server has it, too. */
const UNAVAILABLE: readonly number[] = [NO_STREAM, 10_008, 10_039, 10_076]

export interface SessionOptions {
  readonly connection: NatsConnection
  /** Milliseconds. */
  readonly timeout: number
  readonly environment: Environment
}

interface Api {
  readonly error?: { readonly code: number, readonly err_code?: number, readonly description?: string }
}

/** How many questions may be asked at a time: a server drops those that are too many. */
const MAX_QUESTIONS = 256

export class Session {
  readonly #connection: NatsConnection
  readonly #timeout: number
  readonly #environment: Environment
  /** Of the server: another one after each of its starts. */
  readonly serverId: string | undefined
  #end: Error | null = null
  readonly #pending = new Set<(error: Error) => void>()
  #questions = 0
  readonly #waiting = new Fifo<() => void>()
  #flushing: Promise<void> | null = null

  constructor ({ connection, timeout, environment }: SessionOptions) {
    this.#connection = connection
    this.#timeout = timeout
    this.#environment = environment
    this.serverId = connection.info?.server_id
  }

  end (error: Error): void {
    this.#end ??= error
    for (const reject of this.#pending) reject(this.#end)
  }

  /** Resolves when the server has handled all that was sent before. */
  flush (): Promise<void> {
    return this.#until(() => this.#connection.flush())
  }

  /** The same for all who ask in a turn. */
  flushed (): Promise<void> {
    this.#flushing ??= Promise.resolve().then(() => {
      this.#flushing = null
      return this.flush()
    })
    return this.#flushing
  }

  /** @returns the answer, or rejects with a Refusal, with Unavailable, with Unanswered, or with the error of end() */
  async request (subject: string, payload: Uint8Array | string, headers?: MsgHdrs): Promise<Msg> {
    try {
      // the deadline is ours: that of the client is there in case of both being due
      return await this.#until(() => this.#connection.request(subject, payload, { timeout: this.#timeout + 1_000, ...(headers === undefined ? {} : { headers }) }))
    } catch (error) {
      throw meant(error as Error)
    }
  }

  /** Asks JetStream's API. @returns its answer, or rejects as request() does */
  async ask (subject: string, question: object): Promise<Record<string, unknown>> {
    if (this.#questions >= MAX_QUESTIONS) await new Promise<void>(resolve => { this.#waiting.push(resolve) })
    this.#questions++
    try {
      return parseAnswer(await this.request(subject, JSON.stringify(question)))
    } finally {
      this.#questions--
      this.#waiting.shift()?.()
    }
  }

  /** Sends a message to a stream. @returns its answer, or rejects as request() does */
  async send (subject: string, body: Uint8Array, headers: MsgHdrs): Promise<Record<string, unknown>> {
    return parseAnswer(await this.request(subject, body, headers))
  }

  #until<Result> (ask: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#end !== null) {
        reject(this.#end)
        return
      }
      const settle = (): void => {
        cancel()
        this.#pending.delete(fail)
      }
      const fail = (error: Error): void => {
        settle()
        reject(error)
      }
      const cancel = this.#environment.schedule(() => { fail(new Unanswered(`the server has not answered for ${this.#timeout} ms`)) }, this.#timeout, true)
      this.#pending.add(fail)
      // also catches a synchronous throw
      new Promise<Result>(resolve => { resolve(ask()) }).then(result => {
        settle()
        resolve(result)
      }, fail)
    })
  }
}

/** What an error of the client means. It wraps those of the server. */
function meant (error: Error): Error {
  const cause = error.cause instanceof Error ? error.cause : error
  if (cause.name === 'PermissionViolationError') return new Refusal(cause.message, 0, { cause: error })
  if (cause.name === 'NoResponders' || cause.name === 'NoRespondersError') return new Unavailable(cause.message, 0, { cause: error })
  return error
}

function parseAnswer (message: Msg): Record<string, unknown> {
  let answer: unknown
  try {
    answer = message.json()
  } catch {}
  if (typeof answer !== 'object' || answer === null) throw new Refusal('its answer is not understood', 0)
  const { error } = answer as Api
  if (error === undefined) return answer as Record<string, unknown>
  const { code, err_code: number = 0, description = `error ${code}` } = error
  throw new (UNAVAILABLE.includes(number) ? Unavailable : Refusal)(description, number)
}

/** A refusal that is none for the time being. */
export function isFinal (error: unknown): error is Refusal {
  return error instanceof Refusal && !(error instanceof Unavailable)
}
