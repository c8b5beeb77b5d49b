// The HTTP/1.1 door: one 'upgrade' event from Node until its socket speaks WebSocket or is gone.
import { ServerResponse, STATUS_CODES, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import { handshakeTimedOut, type HandshakeError } from './errors.ts'
import { SocketTransport, type Transport } from './transport.ts'

// Data that a client sends before it has the answer is kept up to here; then TCP makes it wait.
const MAX_EARLY_DATA = 64 * 1024
// How long a refused client may take to end its side.
const LINGER = 1000

// What a hook may have said of a body: a 101 has none.
const OF_A_BODY = new Set(['content-length', 'transfer-encoding', 'trailer'])

type SwitchListener = (transport: Transport, head: Buffer) => void
type Refuser = (error: HandshakeError) => void

/** The response to an upgrade: with status 101 it says what the handshake agreed on, with any other it is an ordinary one. */
class UpgradeResponse extends ServerResponse {
  /** Header fields of the 101, which nobody can change. */
  agreed: OutgoingHttpHeaders | null = null

  constructor (request: IncomingMessage) {
    super(request)
    this.shouldKeepAlive = false // a refusal says Connection: close
    this.on('error', () => {}) // write after end
  }

  override writeHead (statusCode: number, ...rest: unknown[]): this {
    if (this.writableEnded) return this // somebody else has answered for a handler that was late
    if (statusCode !== 101 || this.agreed === null) return super.writeHead(statusCode, ...rest as [])
    const given = rest.at(-1)
    const headers = Object.entries(typeof given === 'object' && given !== null ? given as OutgoingHttpHeaders : {})
    for (const name of OF_A_BODY) this.removeHeader(name)
    return super.writeHead(101, {
      ...Object.fromEntries(headers.filter(([name]) => !OF_A_BODY.has(name.toLowerCase()))),
      ...this.agreed
    })
  }
}

/**
 * An opening handshake that waits for its answer. It guards the socket meanwhile (Node has taken its own listeners off),
 * and it has a ServerResponse, so that any HTTP framework can refuse by an ordinary response, or accept by a response with
 * status 101.
 */
export class PendingUpgrade {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly #response: UpgradeResponse
  readonly #socket: Socket
  readonly #early: Buffer[]
  #earlyLength: number
  #onSwitch: SwitchListener | null = null
  #refuser: Refuser | null = null
  #isRefused = false
  #timeoutLength = 0
  #timeout: NodeJS.Timeout | undefined
  /** Resolves when the socket is not ours any more: it has switched, or it is closed. */
  readonly over: Promise<void>
  #setOver!: () => void
  // waiting for an answer -> a refusal is on its way -> over: the client has left, was refused, or has switched
  #state: 'waiting' | 'refused' | 'over' = 'waiting'

  /** The first to be called with a socket: its 'error' has no listener until then. */
  constructor (request: IncomingMessage, socket: Socket, head: Buffer) {
    socket.on('error', this.#onSocketClose)
    socket.on('close', this.#onSocketClose)
    socket.on('end', this.#onSocketEnd)
    this.request = request
    this.#socket = socket
    this.#early = [head]
    this.#earlyLength = head.length
    this.#response = new UpgradeResponse(request)
    this.#response.on('prefinish', () => { this.#onAnswer() })
    this.#response.on('finish', () => { this.#linger() })
    this.response = this.#response
    this.over = new Promise(resolve => { this.#setOver = resolve })
  }

  /**
   * Lets the response out to the socket, and reads on, so that the client's leaving is noticed.
   * @param timeout milliseconds until the handshake is refused with 503, and a client is dropped that does not read a
   * refusal. Default: none
   * @returns false when the client has left already, or the socket has another response
   */
  start (timeout = 0): boolean {
    const socket = this.#socket
    if (socket.writableEnded) { // the answer to an earlier request was the last one here
      this.#linger()
      return false
    }
    if (socket.destroyed || socket.readableEnded) { // before our listeners were there
      this.#abort()
      return false
    }
    try {
      this.#response.assignSocket(socket)
    } catch { // another 'upgrade' listener of the server has taken the socket for a response of its own
      this.#letGo()
      return false
    }
    // Node's time-outs for requests end here. Of a request with a body Node 26 hands over a stream that is no socket, and Node's
    // HTTP takes any Duplex for a connection.
    const connection: Partial<Socket> = this.request.socket
    connection.setTimeout?.(0)
    socket.on('data', this.#onEarlyData)
    // as Node's own listener did: a long refusal waits for it
    socket.on('drain', this.#onDrain)
    this.limit(timeout)
    return true
  }

  /** Sets the time that is left for an answer, in milliseconds; 0: any. */
  limit (timeout: number): void {
    if (this.isOver) return
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
  accept (headers: OutgoingHttpHeaders, listener: SwitchListener): void {
    this.#response.agreed = headers
    this.#onSwitch = listener
  }

  /** Who is asked to answer when the handshake is refused from outside; null: nobody. */
  onRefusal (refuser: Refuser | null): void {
    this.#refuser = refuser
  }

  /** Answers for a handler that does not. */
  refuse (error: HandshakeError): void {
    if (this.isOver) return
    this.#isRefused = true
    if (this.#response.headersSent) { // an answer that does not come to its end
      this.#startTimeout(() => { this.destroy() })
      return
    }
    const refuser = this.#refuser
    this.#refuser = null
    if (refuser === null || this.#onSwitch !== null) {
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
  #writeRefusal ({ statusCode, code, message, headers }: HandshakeError): void {
    const response = this.#response
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
      this.#socket.destroy()
    }
  }

  /** Drops a client that does not take its answer. */
  destroy (): void {
    this.#socket.destroy()
  }

  #startTimeout (callback: () => void): void {
    clearTimeout(this.#timeout)
    if (this.#timeoutLength > 0) this.#timeout = setTimeout(callback, this.#timeoutLength)
  }

  // 'prefinish' and not 'finish': what the handler sends at once can then leave with the 101.
  #onAnswer (): void {
    if (this.#state !== 'waiting') return
    if (this.#response.statusCode === 101 && this.#onSwitch !== null) {
      this.#switch(this.#onSwitch)
    } else {
      this.#state = 'refused'
      this.#early.length = 0
      this.#startTimeout(() => { this.#socket.destroy() })
    }
  }

  #switch (listener: SwitchListener): void {
    this.#letGo()
    this.#response.detachSocket(this.#socket)
    const head = Buffer.concat(this.#early)
    this.#early.length = 0
    listener(new SocketTransport(this.#socket), head)
    this.#socket.off('error', this.#onSocketClose) // the listener has its own
  }

  #letGo (): void {
    const socket = this.#socket
    this.#state = 'over'
    clearTimeout(this.#timeout)
    socket.off('data', this.#onEarlyData)
    socket.off('drain', this.#onDrain)
    socket.off('close', this.#onSocketClose)
    socket.off('end', this.#onSocketEnd)
    this.#setOver()
  }

  readonly #onEarlyData = (chunk: Buffer): void => {
    if (this.#state !== 'waiting') return // read and forget, so that the answer is not lost to a TCP reset
    this.#early.push(chunk)
    this.#earlyLength += chunk.length
    if (this.#earlyLength > MAX_EARLY_DATA) this.#socket.pause()
  }

  readonly #onDrain = (): void => {
    if (this.#state === 'refused' || this.#isRefused) this.#startTimeout(() => { this.#socket.destroy() }) // slow, but it reads
    this.#response.emit('drain')
  }

  readonly #onSocketEnd = (): void => {
    if (this.#state === 'waiting') this.#abort()
  }

  readonly #onSocketClose = (): void => {
    clearTimeout(this.#timeout)
    this.#setOver()
    if (this.#state === 'waiting') this.#abort()
  }

  #abort (): void {
    this.#state = 'over'
    clearTimeout(this.#timeout)
    this.#early.length = 0
    // Node no longer does it: request.signal and onRequestAbort hang on the request's 'close'
    this.request.destroy()
    this.#socket.destroy()
  }

  /**
   * After a refusal. Destroying a socket with unread data in it resets the connection, and the client would get the reset
   * instead of the answer.
   */
  #linger (): void {
    const socket = this.#socket
    if (this.#response.statusCode === 101 && this.#onSwitch !== null) return
    this.#state = 'over'
    clearTimeout(this.#timeout)
    if (socket.readableEnded) {
      socket.destroy()
      return
    }
    this.#timeout = setTimeout(() => { socket.destroy() }, LINGER)
    socket.on('end', () => { socket.destroy() })
    socket.end()
    socket.resume()
  }
}
