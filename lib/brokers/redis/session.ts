// Two connections to a server, until one of them ends or fails to answer in time; then both are replaced. One is for commands, the other for
// subscriptions, as not all clients can read pushed messages between answers.
import { Fifo } from '../../framing/fifo.ts'
import type { Environment } from '../../topics/environment.ts'
import { isReply, type Dial, type RedisConnection } from './connection.ts'

export interface SessionOwner {
  /** A message was published on a channel. Never throws. */
  message (message: unknown): void
  readonly timeout: number
  readonly environment: Environment
  /** Called once, unless it is closed before. */
  failed (session: Session, error: Error): void
}

interface Unanswered {
  readonly deadline: number
  reject: ((error: Error) => void) | null
}

export class Session {
  readonly #owner: SessionOwner
  readonly #commands: RedisConnection
  readonly #subscriptions: RedisConnection
  readonly #unanswered = new Fifo<Unanswered>()
  #cancel: (() => void) | null = null
  #end: Error | null = null

  /** @throws what the client does */
  constructor (dial: Dial, owner: SessionOwner) {
    this.#owner = owner
    const ended = (error: Error): void => { this.fail(error) }
    const message = (message: unknown): void => { if (this.#end === null) owner.message(message) }
    this.#commands = dial({ ended, message })
    this.#subscriptions = dial({ ended, message })
  }

  async connect (): Promise<void> {
    await Promise.all([this.#commands, this.#subscriptions].map(connection => this.#answered(() => connection.connect())))
  }

  /** @returns rejects with the server's error (see isReply()), or with another error if it has not answered */
  call (command: ReadonlyArray<string | Buffer>): Promise<unknown> {
    return this.#answered(() => this.#commands.call(command))
  }

  subscribe (channels: string[]): Promise<unknown> {
    return this.#answered(() => this.#subscriptions.subscribe(channels))
  }

  unsubscribe (channels: string[]): Promise<unknown> {
    return this.#answered(() => this.#subscriptions.unsubscribe(channels))
  }

  /** Detects a lost server while there is nothing else to send. */
  async ping (): Promise<void> {
    await Promise.all([this.#commands, this.#subscriptions].map(connection => this.#answered(() => connection.call(['ping']))))
  }

  fail (error: Error): void {
    if (this.#end === null && this.#close(error)) this.#owner.failed(this, error)
  }

  close (): void {
    this.#close(new Error('the broker was stopped'))
  }

  #close (error: Error): boolean {
    if (this.#end !== null) return false
    this.#end = error
    this.#cancel?.()
    for (const connection of [this.#commands, this.#subscriptions]) {
      try {
        connection.destroy()
      } catch {} // it was not open
    }
    for (const { reject } of this.#unanswered.cut()) reject?.(error)
    return true
  }

  /** Adds a deadline, as clients have promises that never settle. */
  #answered (ask: () => Promise<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#end !== null) {
        reject(this.#end)
        return
      }
      const { clock } = this.#owner.environment
      const unanswered: Unanswered = { deadline: clock() + this.#owner.timeout, reject }
      this.#unanswered.push(unanswered)
      this.#watch()
      ask().then(reply => {
        this.#settle(unanswered)
        resolve(reply)
      }, (error: Error) => {
        if (!isReply(error)) this.fail(error) // all of them are rejected with that
        this.#settle(unanswered)
        reject(error)
      })
    })
  }

  #settle (unanswered: Unanswered): void {
    unanswered.reject = null
    while (this.#unanswered.peek()?.reject === null) this.#unanswered.shift()
  }

  /** One timer, for the first. */
  #watch (): void {
    if (this.#cancel !== null) return
    const first = this.#unanswered.peek()
    if (first === undefined) return
    const { clock, schedule } = this.#owner.environment
    this.#cancel = schedule(() => {
      this.#cancel = null
      if (first.reject !== null) this.fail(new Error(`the server has not answered for ${this.#owner.timeout} ms`))
      else this.#watch()
    }, Math.max(0, first.deadline - clock()))
  }
}
