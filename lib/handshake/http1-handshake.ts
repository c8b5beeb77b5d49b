// The HTTP/1.1 door: one 'upgrade' event from Node until its socket speaks WebSocket or is gone.
import { ServerResponse, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import { OF_A_BODY, PendingHandshake, type SwitchListener } from './pending-handshake.ts'
import { SocketTransport } from '../transport/socket-transport.ts'

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
    const headers: OutgoingHttpHeaders = {}
    if (typeof given === 'object' && given !== null) {
      for (const [name, value] of Object.entries(given as OutgoingHttpHeaders)) if (!OF_A_BODY.has(name.toLowerCase())) headers[name] = value
    }
    for (const name of OF_A_BODY) this.removeHeader(name)
    return super.writeHead(101, Object.assign(headers, this.agreed))
  }
}

/** Guards the socket until it is answered: Node has taken its own listeners off. */
export class Http1Handshake extends PendingHandshake {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly #response: UpgradeResponse
  readonly #socket: Socket

  constructor (request: IncomingMessage, socket: Socket, head: Buffer) {
    super(socket, head)
    this.request = request
    this.#socket = socket
    this.#response = new UpgradeResponse(request)
    this.#response.on('prefinish', () => { this.#onAnswer() })
    this.#response.on('finish', () => { this.#onAnswered() })
    this.response = this.#response
  }

  /** @returns false also when the socket has another response */
  start (timeout = 0): boolean {
    const socket = this.#socket
    if (socket.writableEnded) { // the answer to an earlier request was the last one here
      this.#onAnswered()
      return false
    }
    if (socket.destroyed || socket.readableEnded) { // before our listeners were there
      this.abort()
      return false
    }
    try {
      this.#response.assignSocket(socket)
    } catch { // another 'upgrade' listener of the server has taken the socket for a response of its own
      this.letGo()
      return false
    }
    // Node's time-outs for requests end here. Of a request with a body Node 26 hands over a stream that is no socket, and Node's
    // HTTP takes any Duplex for a connection.
    const connection: Partial<Socket> = this.request.socket
    connection.setTimeout?.(0)
    this.read()
    // as Node's own listener did: a long refusal waits for it
    socket.on('drain', this.#onDrain)
    this.limit(timeout)
    return true
  }

  override accept (headers: OutgoingHttpHeaders, listener: SwitchListener): void {
    this.#response.agreed = headers
    super.accept(headers, listener)
  }

  destroy (): void {
    this.#socket.destroy()
  }

  // 'prefinish' and not 'finish': what the handler sends at once can then leave with the 101.
  #onAnswer (): void {
    if (!this.isWaiting) return
    if (this.#response.statusCode === 101 && this.switchListener !== null) {
      this.#response.detachSocket(this.#socket)
      this.switchTo(new SocketTransport(this.#socket), this.switchListener)
    } else {
      this.refused()
    }
  }

  protected override letGo (): void {
    this.#socket.off('drain', this.#onDrain)
    super.letGo()
  }

  readonly #onDrain = (): void => {
    this.progressed()
    this.#response.emit('drain')
  }

  protected override abort (): void {
    super.abort()
    // Node no longer does it: request.signal and onRequestAbort hang on the request's 'close'
    this.request.destroy()
    this.#socket.destroy()
  }

  /**
   * After a refusal. Destroying a socket with unread data in it resets the connection, and the client would get the reset
   * instead of the answer.
   */
  #onAnswered (): void {
    const socket = this.#socket
    if (this.#response.statusCode === 101 && this.switchListener !== null) return
    if (socket.readableEnded) {
      this.linger(null)
      socket.destroy()
      return
    }
    this.linger(() => { socket.destroy() })
    socket.on('end', () => { socket.destroy() })
    socket.end()
    socket.resume()
  }
}
