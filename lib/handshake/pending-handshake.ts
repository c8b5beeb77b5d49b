// An opening handshake from its arrival until it is answered, whichever door it came through.
import { STATUS_CODES, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { handshakeTimedOut, type HandshakeError } from '../errors.ts'
import { AGREED_FIELDS } from '../protocol/server-handshake.ts'
import type { Transport } from '../transport/transport.ts'
import type { Asker, Refusal, RefusalListener } from './refusals.ts'

// Data that a client sends before it has the answer is kept up to here; then it has to wait.
const MAX_EARLY_DATA = 64 * 1024
/** Milliseconds that somebody who refuses, or who was refused, may take. */
export const LINGER = 1000
/** What a hook may have said, and may not in the response that opens a WebSocket: it has no body either. */
export const RESERVED_FIELDS: ReadonlySet<string> = new Set([...AGREED_FIELDS, 'content-length', 'transfer-encoding', 'trailer'])

/** The fields of hooks that go out with a 101. */
export function withoutReserved (fields: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !RESERVED_FIELDS.has(name.toLowerCase())))
}

export type SwitchListener = (transport: Transport, head: Buffer) => void
type Refuser = (error: HandshakeError) => void

/**
 * An opening handshake that waits for its answer. It has a response as Node's HTTP makes them, so that any framework can
 * refuse by an ordinary response, or accept by a response with status 101.
 */
export abstract class PendingHandshake implements Refusal {
  abstract readonly request: IncomingMessage
  abstract readonly response: ServerResponse
  /** Resolves when the byte stream is not ours any more: it has switched, or it is closed. */
  readonly over: Promise<void>
  #setOver!: () => void
  // waiting for an answer -> a refusal is on its way -> over: the client has left, was refused, or has switched
  #state: 'waiting' | 'refused' | 'over' = 'waiting'
  readonly stream: Duplex
  readonly #early: Buffer[]
  #earlyLength: number
  #refuser: Refuser | null = null
  #isRefused = false
  #timeoutLength = 0
  #timeout: NodeJS.Timeout | undefined
  protected switchListener: SwitchListener | null = null
  /** Hears of a refusal once; null: nobody, as of what turned out to be an ordinary request. */
  refusalListener: RefusalListener | null = null
  #refusalCode = 'other'
  asker: Asker | null = null

  /** The first to be called with a stream: its 'error' may have no listener until then. */
  constructor (stream: Duplex, head: Buffer) {
    stream.on('error', this.#onClose)
    stream.on('close', this.#onClose)
    stream.on('end', this.#onEnd)
    this.stream = stream
    this.#early = [head]
    this.#earlyLength = head.length
    this.over = new Promise(resolve => { this.#setOver = resolve })
  }

  /**
   * Lets the response out, and reads on, so that the client's leaving is noticed.
   * @param timeout milliseconds until the handshake is refused with 503, and a client is dropped that does not read a
   * refusal. Default: none
   * @returns false when there is nobody to answer
   */
  abstract start (timeout?: number): boolean

  /** Drops a client that does not take its answer. */
  abstract destroy (): void

  /** Sets the time that is left for an answer, in milliseconds; 0: any. */
  limit (timeout: number): void {
    if (this.isOver) return
    if (timeout === this.#timeoutLength && !this.#isRefused) { // as for most: of a server and a route by the same default
      this.#timeout?.refresh()
      return
    }
    this.#timeoutLength = timeout
    this.#startTimeout(() => { this.refuse(handshakeTimedOut(timeout)) })
  }

  /** There is nobody to answer, or the answer is given. */
  get isOver (): boolean {
    return this.#state !== 'waiting'
  }

  /** It must not be accepted any more: it is over, or somebody who takes his time is at work on a refusal. */
  get isDecided (): boolean {
    return this.isOver || this.#isRefused
  }

  /** A response with status 101 gets `headers`; once it is on its way `listener` gets the transport. */
  accept (_headers: OutgoingHttpHeaders, listener: SwitchListener): void {
    this.switchListener = listener
  }

  /** Who is asked to answer when the handshake is refused from outside; null: nobody. */
  onRefusal (refuser: Refuser | null): void {
    this.#refuser = refuser
  }

  /** Notes by which error of ours it will be refused. */
  named (error: HandshakeError): HandshakeError {
    this.#refusalCode = error.code
    return error
  }

  get refusalCode (): string {
    return this.#refusalCode
  }

  /** Answers for a handler that does not. */
  refuse (error: HandshakeError): void {
    if (this.isOver) return
    this.#isRefused = true
    this.named(error)
    if (this.response.headersSent) { // an answer that does not come to its end
      this.#startTimeout(() => { this.destroy() })
      return
    }
    const refuser = this.#refuser
    this.#refuser = null
    if (refuser === null || this.switchListener !== null) {
      this.#writeRefusal(error)
    } else {
      // it may wait for the same that the handler waits for
      clearTimeout(this.#timeout)
      this.#timeout = setTimeout(() => { this.refuse(error) }, LINGER)
      try {
        refuser(error)
      } catch {
        this.refuse(error)
      }
    }
  }

  /** In the form in which Fastify writes errors. */
  #writeRefusal ({ statusCode = 500, code, message, headers }: HandshakeError): void {
    const { response } = this
    const body = JSON.stringify({ statusCode, code, error: STATUS_CODES[statusCode], message })
    // what was meant for another answer may be what could not be sent
    for (const name of response.getHeaderNames()) response.removeHeader(name)
    try {
      response.writeHead(statusCode, STATUS_CODES[statusCode] ?? '', {
        ...headers,
        'content-type': 'application/json; charset=utf-8',
        'content-length': Buffer.byteLength(body)
      })
      response.end(body)
    } catch { // a status code or header field of the application's
      this.destroy()
    }
  }

  protected get isWaiting (): boolean {
    return this.#state === 'waiting'
  }

  /** Keeps what comes. */
  protected read (): void {
    this.stream.on('data', this.#onEarlyData)
  }

  /** A refusal is written; a client that does not read it is dropped. */
  protected refused (): void {
    this.#state = 'refused'
    this.refusalListener?.onRefused(this)
    this.refusalListener = null
    this.#early.length = 0
    this.#startTimeout(() => { this.destroy() })
  }

  /** A refused client is slow, but it reads. */
  protected progressed (): void {
    if (this.#state === 'refused' || this.#isRefused) this.#startTimeout(() => { this.destroy() })
  }

  /** @param callback what ends it if the client does not, in a second */
  protected linger (callback: (() => void) | null): void {
    this.#state = 'over'
    clearTimeout(this.#timeout)
    if (callback !== null) this.#timeout = setTimeout(callback, LINGER)
  }

  /** Hands the stream over to `listener`, which takes care of its errors. */
  protected switchTo (transport: Transport, listener: SwitchListener): void {
    this.letGo()
    const head = Buffer.concat(this.#early) // a copy: others were given the first of it too, and it is unmasked where it lies
    this.#early.length = 0
    listener(transport, head)
    this.stream.off('error', this.#onClose)
  }

  protected letGo (): void {
    const stream = this.stream
    this.#state = 'over'
    clearTimeout(this.#timeout)
    stream.off('data', this.#onEarlyData)
    stream.off('close', this.#onClose)
    stream.off('end', this.#onEnd)
    this.#setOver()
  }

  /** The client has left. */
  protected abort (): void {
    this.#state = 'over'
    clearTimeout(this.#timeout)
    this.#early.length = 0
  }

  #startTimeout (callback: () => void): void {
    clearTimeout(this.#timeout)
    if (this.#timeoutLength > 0) this.#timeout = setTimeout(callback, this.#timeoutLength)
  }

  readonly #onEarlyData = (chunk: Buffer): void => {
    if (!this.isWaiting) return // read and forget, so that the answer is not lost to a reset
    this.#early.push(chunk)
    this.#earlyLength += chunk.length
    if (this.#earlyLength > MAX_EARLY_DATA) this.stream.pause()
  }

  readonly #onEnd = (): void => {
    if (this.isWaiting) this.abort()
  }

  readonly #onClose = (): void => {
    clearTimeout(this.#timeout)
    this.#setOver()
    if (this.isWaiting) this.abort()
  }
}
