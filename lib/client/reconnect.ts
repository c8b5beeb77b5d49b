// look up URL and header fields -> connect -> handler -> connection and handler are done -> judge -> wait -> again
import { setMaxListeners } from 'node:events'
import type { OutgoingHttpHeaders } from 'node:http'
import type { ReconnectHandler, ReconnectOptions, ReconnectOutcome, ReconnectState, ReconnectUrl } from '../../types/client.ts'
import type { CloseInfo } from '../../types/connection.ts'
import { type Connection, coreOf } from '../connection/connection.ts'
import { isAsyncGenerator, sendAll } from '../connection/outgoing/send-all.ts'
import { ConnectionClosedError, HandshakeError, lookUpTimedOut, notComingBack } from '../errors.ts'
import { MAX_TIMEOUT } from '../options/checks.ts'
import { GOING_AWAY } from '../protocol/close-code.ts'
import { Backoff } from './backoff.ts'
import { startConnecting } from './connect.ts'
import { isCloseInfo, verdictOf } from './outcome.ts'
import { reconnectSettings, type ReconnectSettings } from './reconnect-settings.ts'
import { readRetryAfter } from './retry-after.ts'

/** Clock and random, replaced in tests. */
export interface Surroundings {
  readonly random: () => number
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly setTimeout: (callback: () => void, milliseconds: number) => NodeJS.Timeout
}

const NOTHING = (): void => {}
const REAL: Surroundings = { random: Math.random, now: Date.now, setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds) }

/**
 * Keeps a connection to `url` open: when one ends, and retrying makes sense, the handler gets the next. There are never two at once, and the next
 * attempt waits for the previous handler.
 * @returns resolves with the CloseInfo of the last connection after a normal end: 1000, or 1001 or no code from this side
 * @throws HandshakeError or ConnectionClosedError (with `closeInfo`) for a failure that would repeat, what the handler threw, the signal's
 * reason, and what connect() throws for an invalid option or URL
 */
export async function reconnect (url: ReconnectUrl, handler: ReconnectHandler, options: ReconnectOptions = {}): Promise<CloseInfo> {
  return await reconnectIn(REAL, url, handler, options)
}

export async function reconnectIn (
  surroundings: Surroundings, url: ReconnectUrl, handler: ReconnectHandler, options: ReconnectOptions = {}
): Promise<CloseInfo> {
  if (typeof handler !== 'function') throw new TypeError('reconnect(url, handler) needs a function that gets each connection')
  return await new Reconnection(surroundings, url, handler, reconnectSettings(options)).run()
}

class Reconnection {
  readonly #surroundings: Surroundings
  readonly #url: ReconnectUrl
  readonly #handler: ReconnectHandler
  readonly #settings: ReconnectSettings
  readonly #backoff: Backoff
  #attempt = 0
  #last: ReconnectOutcome | null = null
  /** Ends the current wait when the signal is aborted. */
  #interrupt = NOTHING

  constructor (surroundings: Surroundings, url: ReconnectUrl, handler: ReconnectHandler, settings: ReconnectSettings) {
    this.#surroundings = surroundings
    this.#url = url
    this.#handler = handler
    this.#settings = settings
    this.#backoff = new Backoff(settings.backoff, surroundings.random)
  }

  async run (): Promise<CloseInfo> {
    const { signal } = this.#settings
    signal?.throwIfAborted()
    const onAbort = (): void => { this.#interrupt() }
    signal?.addEventListener('abort', onAbort)
    let info: CloseInfo
    try {
      info = await this.#loop()
    } catch (error) {
      try {
        this.#tell('ended', { outcome: error as Error })
      } catch {} // the first error counts
      throw error
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
    this.#tell('ended', { outcome: info })
    return info
  }

  async #loop (): Promise<CloseInfo> {
    for (;;) {
      this.#attempt++
      this.#tell('connecting')
      this.#settings.signal?.throwIfAborted()
      const outcome = await this.#try()
      const verdict = this.#judge(outcome)
      if (verdict === false) {
        if (!isCloseInfo(outcome)) throw outcome
        if (verdictOf(outcome) === 'done') return outcome
        throw notComingBack(outcome)
      }
      this.#last = outcome
      await this.#wait(outcome, verdict)
    }
  }

  /** One attempt, up to the end of its connection. */
  async #try (): Promise<ReconnectOutcome> {
    const { connect, signal } = this.#settings
    let target: Target
    try {
      target = await this.#lookUp()
    } catch (error) {
      signal?.throwIfAborted()
      return error as Error // even a TypeError: fetch() throws one if there is no answer
    }
    signal?.throwIfAborted()
    const life = new Life(this.#settings)
    const controller = new AbortController()
    const { connection, opened } = startConnecting(target.url, {
      ...connect, headers: target.headers, signal: controller.signal, errorHandler: error => life.onError(error, connection)
    }, { hasHandler: true })
    try {
      await this.#interruptible((resolve, reject) => {
        opened.then(resolve, reject)
        return reason => { controller.abort(reason) }
      })
    } catch (error) {
      signal?.throwIfAborted()
      if (isMisuse(error)) throw error
      return error as Error
    }
    return await this.#live(connection, life)
  }

  /** Calls `url` and `headers` if they are functions, with handshakeTimeout as limit. */
  async #lookUp (): Promise<Target> {
    const url = this.#url
    const { headers = {}, handshakeTimeout } = this.#settings
    if (typeof url !== 'function' && typeof headers !== 'function') return { url, headers }
    const controller = new AbortController()
    setMaxListeners(0, controller.signal)
    const context = { attempt: this.#attempt, last: this.#last, signal: controller.signal }
    let timer: NodeJS.Timeout | undefined
    try {
      return await this.#interruptible<Target>((resolve, reject) => {
        timer = setTimeout(() => { reject(lookUpTimedOut(handshakeTimeout)) }, handshakeTimeout)
        Promise.all([
          (async () => typeof url === 'function' ? await url(context) : url)(),
          (async () => typeof headers === 'function' ? await headers(context) : headers)()
        ]).then(([url, headers]) => { resolve({ url, headers }) }, reject)
        return reject
      })
    } catch (error) {
      controller.abort(error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Until the connection is closed and the handler is done. */
  async #live (connection: Connection, life: Life): Promise<CloseInfo> {
    const { signal, closeTimeout, stableAfter } = this.#settings
    const attempt = { attempt: this.#attempt, last: this.#last }
    const served = life.serve(connection, () => {
      this.#tell('open')
      return this.#handler(connection, attempt)
    })
    let timer: NodeJS.Timeout | undefined
    let info: CloseInfo
    try {
      info = await this.#interruptible((resolve, reject) => {
        Promise.all([connection.closed, served]).then(([info]) => { resolve(info) }, reject)
        return reason => {
          connection.close(GOING_AWAY)
          timer = setTimeout(() => { // the peer or the handler is not done yet
            connection.terminate()
            void connection.closed.then(() => { reject(reason) })
          }, closeTimeout)
        }
      })
    } finally {
      clearTimeout(timer)
    }
    life.throwIfFailed()
    signal?.throwIfAborted()
    if (connection.stats().duration >= stableAfter) {
      this.#backoff.reset()
      this.#attempt = 0
    }
    return info
  }

  /** @returns whether to retry, or in how many milliseconds */
  #judge (outcome: ReconnectOutcome): boolean | number {
    const { retry } = this.#settings
    if (retry === undefined) return verdictOf(outcome) === 'retry'
    const verdict: unknown = retry(outcome, { attempt: this.#attempt, last: this.#last })
    if (typeof verdict === 'boolean') return verdict
    if (typeof verdict === 'number' && verdict >= 0 && verdict <= MAX_TIMEOUT) return verdict
    throw new TypeError(`retry() must return true, false or a number of milliseconds from 0 to ${MAX_TIMEOUT}, not ${String(verdict)}`)
  }

  async #wait (outcome: ReconnectOutcome, verdict: true | number): Promise<void> {
    const { signal, ref } = this.#settings
    const { now, setTimeout } = this.#surroundings
    const retryAfter = outcome instanceof HandshakeError ? readRetryAfter(outcome.headers['retry-after'], now()) : null
    const backoff = this.#backoff.next(retryAfter)
    const delay = verdict === true ? backoff : verdict
    this.#tell('waiting', { delay, outcome })
    signal?.throwIfAborted()
    await this.#interruptible<void>((resolve, reject) => {
      const timer = setTimeout(resolve, delay)
      if (!ref) timer.unref()
      return reason => {
        clearTimeout(timer)
        reject(reason)
      }
    })
  }

  /** Waits for work that `begin` starts. @param begin returns a function that ends it when the signal is aborted */
  async #interruptible<Value> (
    begin: (resolve: (value: Value) => void, reject: (reason: unknown) => void) => (reason: unknown) => void
  ): Promise<Value> {
    const { signal } = this.#settings
    try {
      return await new Promise<Value>((resolve, reject) => {
        const interrupt = begin(resolve, reject)
        this.#interrupt = () => { interrupt(signal!.reason) }
        if (signal?.aborted === true) this.#interrupt() // begin() itself aborted it
      })
    } finally {
      this.#interrupt = NOTHING
    }
  }

  #tell (state: ReconnectState['state'], details: Pick<ReconnectState, 'delay' | 'outcome'> = {}): void {
    this.#settings.onState?.({ state, attempt: this.#attempt, ...details })
  }
}

interface Target {
  readonly url: string | URL
  readonly headers: OutgoingHttpHeaders
}

/** One connection, its handler, and the first failure. */
class Life {
  readonly #settings: ReconnectSettings
  #failure: { readonly error: unknown } | null = null

  constructor (settings: ReconnectSettings) {
    this.#settings = settings
  }

  /** Resolves when the handler has settled; never rejects. */
  async serve (connection: Connection, handle: () => unknown): Promise<void> {
    try {
      const result = handle()
      await (isAsyncGenerator(result) ? sendAll(result, connection) : result)
    } catch (error) {
      if (!isEndOf(connection, error)) {
        this.#failure = { error }
        coreOf(connection).handlerFailed(error)
      }
    } finally {
      coreOf(connection).handlerSettled()
    }
  }

  /** Handles an error of the handler, a listener or a callback. */
  async onError (error: unknown, connection: Connection): Promise<void> {
    const { errorHandler } = this.#settings
    try {
      if (errorHandler === undefined || this.#failure !== null) throw error
      await errorHandler(error, connection)
    } catch (thrown) {
      this.#failure ??= { error: thrown }
      coreOf(connection).closeFailed()
    }
  }

  throwIfFailed (): void {
    if (this.#failure !== null) throw this.#failure.error
  }
}

/** Whether an error of the handler only reports the end of its connection, directly or through its signal. */
function isEndOf (connection: Connection, error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return [error, error.cause].some(reason => reason instanceof ConnectionClosedError && reason.isOf(connection))
}

/** An invalid argument of connect(), which would fail again. */
function isMisuse (error: unknown): boolean {
  return error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError
}
