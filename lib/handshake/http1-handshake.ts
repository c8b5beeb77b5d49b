// An HTTP/1.1 handshake: from Node's 'upgrade' event until the socket has switched to WebSocket or is gone.
import type { IncomingMessage, OutgoingHttpHeaders, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { http } from '../builtins.ts'
import { PendingHandshake, RESERVED_FIELDS, withoutReserved, type SwitchListener } from './pending-handshake.ts'
import { hasBody } from '../protocol/server-handshake.ts'
import { headWithoutUpgrade } from '../protocol/request-head.ts'
import { SocketTransport } from '../transport/socket-transport.ts'

// From 26 on Node parses the body of an upgrade request like any other. Before, it left the body on the socket.
const PARSES_BODY = Number.parseInt(process.versions.node) >= 26

/** Is told of the answer. */
interface AnswerListener {
  /** All of it is passed to the socket. */
  onAnswer (): void
  /** The kernel has it. */
  onAnswered (): void
}

function ignore (): void {}

/** The response to an upgrade: with status 101 it carries the negotiated header fields, otherwise it is an ordinary response. */
class UpgradeResponse extends http.ServerResponse {
  /** Header fields of the 101 that hooks cannot change. */
  agreed: OutgoingHttpHeaders | null = null

  constructor (request: IncomingMessage, listener: AnswerListener) {
    super(request)
    this.shouldKeepAlive = false // refuse with Connection: close
    this.on('error', ignore) // write after end
    // on 'prefinish' rather than 'finish', so that messages the handler sends at once leave together with the 101
    this.on('prefinish', () => { listener.onAnswer() })
    this.on('finish', () => { listener.onAnswered() })
  }

  override writeHead (statusCode: number, ...rest: unknown[]): this {
    if (this.writableEnded) return this // already refused, as the handler was late
    if (statusCode !== 101 || this.agreed === null) return super.writeHead(statusCode, ...rest as [])
    const given = rest.at(-1)
    for (const name of this.getHeaderNames()) if (RESERVED_FIELDS.has(name)) this.removeHeader(name)
    return super.writeHead(101, typeof given === 'object' && given !== null ? withAgreed(given as OutgoingHttpHeaders, this.agreed) : this.agreed)
  }
}

function withAgreed (given: OutgoingHttpHeaders, agreed: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return Object.keys(given).length === 0 ? agreed : { ...withoutReserved(given), ...agreed }
}

/** Handles the socket until it is answered: Node has removed its own listeners. */
export class Http1Handshake extends PendingHandshake implements AnswerListener {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly #response: UpgradeResponse
  readonly #socket: Socket
  #isTaken = false

  constructor (request: IncomingMessage, socket: Socket, head: Buffer) {
    super(socket, head)
    this.request = request
    this.#socket = socket
    this.#response = new UpgradeResponse(request, this)
    this.response = this.#response
  }

  /** @returns false also if another response uses the socket */
  start (): boolean {
    if (!this.#claim()) return false
    // disables Node's request timeouts; Partial, as Node's HTTP accepts any Duplex as a connection
    const connection: Partial<Socket> = this.request.socket
    connection.setTimeout?.(0)
    return true
  }

  protected get mayRead (): boolean {
    return !this.#isBodyOpen // it would be lost
  }

  /** The request's body can still be read, and is not part of the bytes that followed its head. */
  get hasBodyApart (): boolean {
    return this.#isBodyOpen || (PARSES_BODY && hasBody(this.request.headers))
  }

  // Node passed a stream that begins where the body ends, a point not reached yet
  get #isBodyOpen (): boolean {
    return this.#socket !== this.request.socket && !this.request.complete
  }

  /**
   * Turns it into an ordinary request, as on a server without 'upgrade' listeners: RFC 9110 §7.8, a server may ignore an Upgrade
   * field. Node has stopped parsing this connection, so parsing starts again from the request's head.
   * @param server the one that received the request, or one with the same options
   */
  giveBack (server: Server): void {
    if (!this.#claim()) return
    const socket = this.#socket
    this.#response.detachSocket(socket)
    this.letGo()
    socket.unshift(Buffer.concat([headWithoutUpgrade(this.request), this.head]))
    server.emit(server instanceof TlsServer ? 'secureConnection' : 'connection', socket)
  }

  /** Another listener answers. */
  leave (): void {
    this.#isTaken = true
    this.letGo()
  }

  /** Another listener has taken the socket; the client has not left. */
  get isTaken (): boolean {
    return this.#isTaken
  }

  /** @returns whether the client is still there and the socket is free for our answer */
  #claim (): boolean {
    const socket = this.#socket
    if (!this.hasStream) {
      this.leave()
      return false
    }
    if (socket.writableEnded) { // the answer to an earlier request ended the connection
      this.onAnswered()
      return false
    }
    if (socket.destroyed || socket.readableEnded) { // before we listened
      this.abort()
      return false
    }
    try {
      this.#response.assignSocket(socket)
    } catch { // another 'upgrade' listener has assigned a response of its own
      this.leave()
      return false
    }
    return true
  }

  override accept (headers: OutgoingHttpHeaders, listener: SwitchListener): void {
    this.#response.agreed = headers
    super.accept(headers, listener)
  }

  destroy (): void {
    this.#socket.destroy()
  }

  onAnswer (): void {
    if (!this.isWaiting) return
    if (this.#response.statusCode === 101 && this.switchListener !== null) {
      this.#response.detachSocket(this.#socket)
      this.switchTo(new SocketTransport(this.#socket))
    } else {
      this.refused()
    }
  }

  /** As Node's own listener did: a long refusal waits for 'drain'. */
  override onDrain (): void {
    super.onDrain()
    this.#response.emit('drain')
  }

  protected override abort (): void {
    super.abort()
    // Node no longer does this, and request.signal and onRequestAbort depend on the request's 'close'
    this.request.destroy()
    this.#socket.destroy()
  }

  /**
   * Closes the socket after a refusal, once the client has ended its side: destroying a socket with unread data would reset the
   * connection, and the client would not get the answer.
   */
  onAnswered (): void {
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
