// An opening handshake from its arrival until it is answered, for HTTP/1.1 and HTTP/2.
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { http } from '../builtins.ts'
import { handshakeTimedOut, type HandshakeError } from '../errors.ts'
import { withResolver, type PromiseWithResolver } from '../promises.ts'
import { AGREED_FIELDS } from '../protocol/server-handshake.ts'
import { listen, listenerOf, listenToData, stopListeningToData, unlisten, type StreamListener } from '../transport/stream-listener.ts'
import type { Transport } from '../transport/transport.ts'
import type { Asker, Refusal, RefusalListener } from './refusals.ts'

// Bytes kept that a client sends before it has the answer; then it has to wait.
const MAX_EARLY_DATA = 64 * 1024
/** Milliseconds for an error handler to refuse, and for a refused client to close. */
export const LINGER = 1000
/** Fields that hooks cannot set in a 101: those of the handshake, and those of a body, which it does not have. */
export const RESERVED_FIELDS: ReadonlySet<string> = new Set([...AGREED_FIELDS, 'content-length', 'transfer-encoding', 'trailer'])

/** Fields set by hooks, without those reserved. */
export function withoutReserved (fields: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !RESERVED_FIELDS.has(name.toLowerCase())))
}

/** Whom a handshake is accepted for. */
export interface SwitchListener {
  /** The 101 is on its way. @param head bytes that followed the handshake */
  onSwitched (transport: Transport, head: Buffer): void
  /** The client has left before that, or was refused after all. */
  onLost (): void
}

const NOTHING = Buffer.alloc(0)

type Refuser = (error: HandshakeError) => void

/**
 * An opening handshake that waits for its answer. It has a ServerResponse like any request, so that any framework can refuse it
 * with an ordinary response, or accept it with a 101.
 */
export abstract class PendingHandshake implements Refusal, StreamListener {
  abstract readonly request: IncomingMessage
  abstract readonly response: ServerResponse
  readonly stream: Duplex
  // waiting for an answer -> a refusal is on its way -> over: the client has left, was refused or has switched
  #state: 'waiting' | 'refused' | 'over' = 'waiting'
  // over, and the stream is another's or closed
  #isGone = false
  #over: PromiseWithResolver<void> | null = null
  #list: Set<PendingHandshake> | null = null
  /** Bytes that came with the request. */
  protected readonly head: Buffer
  #early: Buffer[] | null = null
  #earlyLength: number
  #refuser: Refuser | null = null
  #isRefused = false
  // the turn of the event loop in which it came is over
  #isWaiting = false
  #timeoutLength = 0
  #timeout: NodeJS.Timeout | undefined
  protected switchListener: SwitchListener | null = null
  /** Notified once of a refusal; null for ordinary requests. */
  refusalListener: RefusalListener | null = null
  #refusalCode = 'other'
  asker: Asker | null = null

  /** Must be called first with a stream, which may have no 'error' listener before. */
  constructor (stream: Duplex, head: Buffer) {
    if (listenerOf(stream) === undefined) listen(stream, this)
    this.stream = stream
    this.head = head
    this.#earlyLength = head.length
  }

  /** Resolves when the stream has switched to WebSocket, was left to another listener, or is closed. */
  get over (): Promise<void> {
    if (this.#over === null) {
      this.#over = withResolver<void>()
      if (this.#isGone) this.#over.resolve()
    }
    return this.#over.promise
  }

  /** False if another handshake, or a connection, had the stream before. */
  get hasStream (): boolean {
    return listenerOf(this.stream) === this
  }

  /** Adds it to `list` until it is over, as `over` says. */
  join (list: Set<PendingHandshake>): void {
    if (this.#isGone) return
    this.#list = list
    list.add(this)
  }

  /**
   * Lets the response be sent.
   * @returns false if there is no client to answer
   */
  abstract start (): boolean

  /** Reading on keeps early data, notices when the client leaves, and takes nothing that is another's. */
  protected abstract readonly mayRead: boolean

  /** Drops a client that does not take its answer. */
  abstract destroy (): void

  /**
   * Sets or restarts the timeout.
   * @param timeout milliseconds until the handshake is refused with 503, and until a client that does not read a refusal is dropped; 0: none, as before
   * the first call
   */
  limit (timeout: number): void {
    if (this.isOver) return
    this.#timeoutLength = timeout
    if (this.#isWaiting || this.#isRefused) this.#limit()
  }

  /**
   * Call it once the answer is in work. Neither the timeout nor reading begins before this turn of the event loop is over: most handshakes are answered
   * within it, and need neither.
   */
  wait (): void {
    if (this.#state !== 'over') setImmediate(PendingHandshake.#onTurnOver, this)
  }

  static readonly #onTurnOver = (handshake: PendingHandshake): void => {
    handshake.#isWaiting = true
    if (handshake.#state === 'over') return
    if (handshake.mayRead) listenToData(handshake.stream)
    if (handshake.#timeout === undefined) handshake.#limit() // otherwise it was refused, and another time runs
  }

  /** It is answered, or the client has left. */
  get isOver (): boolean {
    return this.#state !== 'waiting'
  }

  /** It can no longer be accepted: it is over, or an error handler is working on a refusal. */
  get isDecided (): boolean {
    return this.isOver || this.#isRefused
  }

  /** Sets the headers of the 101 response; once that is on its way `listener` gets the transport. */
  accept (_headers: OutgoingHttpHeaders, listener: SwitchListener): void {
    this.switchListener = listener
    if (this.#isGone) listener.onLost()
  }

  /** Sets a function to answer with if the handshake is refused from outside; null: none. */
  onRefusal (refuser: Refuser | null): void {
    this.#refuser = refuser
  }

  /** Records our error code for the refusal. @returns `error` */
  named (error: HandshakeError): HandshakeError {
    this.#refusalCode = error.code
    return error
  }

  get refusalCode (): string {
    return this.#refusalCode
  }

  /** Refuses the handshake, unless it is over: by the function of onRefusal(), or directly. */
  refuse (error: HandshakeError): void {
    if (this.isOver) return
    this.#isRefused = true
    this.named(error)
    if (this.response.headersSent) { // an unfinished answer
      this.#startTimeout(() => { this.destroy() })
      return
    }
    const refuser = this.#refuser
    this.#refuser = null
    if (refuser === null || this.switchListener !== null) {
      this.#writeRefusal(error)
    } else {
      // the function may hang just like the handler
      clearTimeout(this.#timeout)
      this.#timeout = setTimeout(() => { this.refuse(error) }, LINGER)
      try {
        refuser(error)
      } catch {
        this.refuse(error)
      }
    }
  }

  /** Writes the refusal in Fastify's error format. */
  #writeRefusal ({ statusCode = 500, code, message, headers }: HandshakeError): void {
    const { response } = this
    const body = JSON.stringify({ statusCode, code, error: http.STATUS_CODES[statusCode], message })
    // fields set for another answer may be invalid, and the reason why it failed
    for (const name of response.getHeaderNames()) response.removeHeader(name)
    try {
      response.writeHead(statusCode, http.STATUS_CODES[statusCode] ?? '', {
        ...headers,
        'content-type': 'application/json; charset=utf-8',
        'content-length': Buffer.byteLength(body)
      })
      response.end(body)
    } catch { // an invalid status code or header field from the application
      this.destroy()
    }
  }

  protected get isWaiting (): boolean {
    return this.#state === 'waiting'
  }

  /** A refusal is written; a client that does not read it is dropped. */
  protected refused (): void {
    this.#state = 'refused'
    this.refusalListener?.onRefused(this)
    this.refusalListener = null
    this.#early = null
    this.#startTimeout(() => { this.destroy() })
  }

  /** A refused client reads, though slowly: restarts its timeout. */
  protected progressed (): void {
    if (this.#state === 'refused' || this.#isRefused) this.#startTimeout(() => { this.destroy() })
  }

  /** @param callback ends the stream if the client does not within LINGER; null: it has ended */
  protected linger (callback: (() => void) | null): void {
    this.#state = 'over'
    clearTimeout(this.#timeout)
    if (callback !== null) this.#timeout = setTimeout(callback, LINGER)
  }

  /** Passes the stream to the listener, which handles its errors. */
  protected switchTo (transport: Transport): void {
    this.#state = 'over'
    clearTimeout(this.#timeout)
    stopListeningToData(this.stream)
    // a copy: other listeners share the first part, and frames are unmasked in place
    const head = this.#earlyLength === 0 ? NOTHING : Buffer.concat([this.head, ...this.#early ?? []])
    this.#early = null
    this.#setGone(false)
    this.switchListener!.onSwitched(transport, head)
  }

  /** Leaves the stream to others. */
  protected letGo (): void {
    this.#state = 'over'
    clearTimeout(this.#timeout)
    if (this.hasStream) unlisten(this.stream)
    this.#setGone()
  }

  /** The client has left. */
  protected abort (): void {
    this.#state = 'over'
    clearTimeout(this.#timeout)
    this.#early = null
  }

  #setGone (isLost = true): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#list?.delete(this)
    this.#over?.resolve()
    if (isLost) this.switchListener?.onLost()
  }

  #limit (): void {
    this.#startTimeout(() => { this.refuse(handshakeTimedOut(this.#timeoutLength)) })
  }

  #startTimeout (callback: () => void): void {
    clearTimeout(this.#timeout)
    if (this.#timeoutLength > 0) this.#timeout = setTimeout(callback, this.#timeoutLength)
  }

  // The stream

  onData (chunk: Buffer): void {
    if (!this.isWaiting) return // read and dropped, so that a reset does not lose the answer
    this.#early ??= []
    this.#early.push(chunk)
    this.#earlyLength += chunk.length
    if (this.#earlyLength > MAX_EARLY_DATA) this.stream.pause()
  }

  onStreamEnd (): void {
    if (this.isWaiting) this.abort()
  }

  onDrain (): void {
    this.progressed()
  }

  onStreamError (): void {
    this.onStreamClose()
  }

  onStreamClose (): void {
    clearTimeout(this.#timeout)
    this.#setGone()
    if (this.isWaiting) this.abort()
  }
}
