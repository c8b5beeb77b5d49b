// An HTTP/2 handshake: an extended CONNECT (RFC 8441) from Node's 'connect' event until the stream has switched to WebSocket or is gone.
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Stream } from 'node:http2'
import { CONNECTION_FIELDS } from '../protocol/header-field.ts'
import { PendingHandshake, RESERVED_FIELDS, withoutReserved, type SwitchListener } from './pending-handshake.ts'
import { Http2Transport } from '../transport/http2-transport.ts'

const NOTHING = Buffer.alloc(0)

// Node's methods, without their overloads
type Method = (this: unknown, ...given: unknown[]) => unknown
type Methods<Names extends string> = Readonly<Record<Names, Method>>

/** Whether a CONNECT asks for WebSocket. Case-insensitive, as HAProxy passes on `WebSocket` as the client wrote it. */
export function isWebSocketConnect ({ headers }: Http2ServerRequest): boolean {
  return headers[':protocol']?.toString().toLowerCase() === 'websocket'
}

/** Refuses a CONNECT that is not for us: an unknown protocol with 501 (RFC 9220 §3), none with 405, like Node. */
export function declineConnect ({ headers }: Http2ServerRequest, response: Http2ServerResponse): void {
  response.writeHead(headers[':protocol'] === undefined ? 405 : 501)
  response.stream.once('finish', () => { closeOnceSent(response.stream) }) // otherwise the client's half may stay open forever
  response.end()
}

/**
 * The application sees the same as with HTTP/1.1: a GET request, and a response whose status 101 opens the WebSocket. On the wire
 * that is 200, and no other 2xx may be sent: to the client each of them would mean an open tunnel.
 */
export class Http2Handshake extends PendingHandshake {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly #request: Http2ServerRequest
  readonly #stream: ServerHttp2Stream
  #agreed: OutgoingHttpHeaders | null = null
  // the 200 is being sent; has been sent
  #isAccepting = false
  #isAccepted = false
  // the refusal is sent from a file
  #isFile = false

  constructor (request: Http2ServerRequest, response: Http2ServerResponse) {
    super(request.stream, NOTHING)
    ;(request as { method: string }).method = 'GET' // for routers
    this.#request = request
    this.#stream = request.stream
    request.on('error', () => {}) // a hook may destroy it
    this.#guardStream()
    this.#teachResponse(response)
    this.#stream.once('finish', () => { this.#onAnswered() })
    this.#stream.once('wantTrailers', () => { closeOnceSent(this.#stream) }) // Node sends the trailers now
    // routers use only members that requests of both versions have
    this.request = request as unknown as IncomingMessage
    this.response = response as unknown as ServerResponse
  }

  start (): boolean {
    const stream = this.#stream
    if (stream.destroyed || stream.closed) { // before we listened
      this.abort()
      return false
    }
    return true
  }

  protected get mayRead (): boolean {
    return !this.#stream.endAfterHeaders // if it has ended, the route refuses it with a reason
  }

  override accept (headers: OutgoingHttpHeaders, listener: SwitchListener): void {
    this.#agreed = headers
    super.accept(headers, listener)
  }

  destroy (): void {
    new Http2Transport(this.#stream).abort()
  }

  /** Whatever sends the answer: blocks 2xx other than our own, and connection fields of HTTP/1.1. */
  #guardStream (): void {
    const stream = this.#stream
    const guard = (headers: OutgoingHttpHeaders | null = {}): OutgoingHttpHeaders => {
      const fields = Object.entries(headers ?? {}).filter(([name]) => !CONNECTION_FIELDS.has(name.toLowerCase()))
      const statusCode = Number(headers?.[':status'] ?? 200)
      return { ...Object.fromEntries(fields), ':status': statusCode >= 300 ? statusCode : 403 }
    }
    const { respond, respondWithFD, respondWithFile } = stream as unknown as Methods<'respond' | 'respondWithFD' | 'respondWithFile'>
    stream.respond = (headers, options) => {
      if (!this.#isAccepting) {
        respond.call(stream, guard(headers), options)
        return
      }
      // without `options`: the stream stays open, and no trailers follow
      respond.call(stream, headers)
      this.#isAccepted = true
    }
    stream.respondWithFD = (fd, headers, options) => {
      this.#isFile = true
      respondWithFD.call(stream, fd, guard(headers), options)
    }
    stream.respondWithFile = (path, headers, options = {}) => {
      this.#isFile = true
      const { statCheck } = options
      const guarded: typeof statCheck = (stat, fields, range) => { // may still change the fields
        const result = statCheck?.(stat, fields, range)
        Object.assign(fields, guard(fields))
        return result
      }
      respondWithFile.call(stream, path, guard(headers), { ...options, statCheck: guarded })
    }
  }

  /** Overrides a response, as Node's accepts no status 101 and ends its stream when it ends. */
  #teachResponse (response: Http2ServerResponse): void {
    const prototype = Object.getPrototypeOf(response) as Http2ServerResponse
    const { writeHead, end, destroy } = response as unknown as Methods<'writeHead' | 'end' | 'destroy'>
    let is101 = false
    const taught: { readonly [Name in keyof Http2ServerResponse]?: (...given: never[]) => unknown } = {
      writeHead: (statusCode: number, ...rest: unknown[]) => {
        if (response.writableEnded) return response // it was answered already, in place of a handler that was late
        const last = rest.at(-1)
        // HTTP/2 has no reason phrase
        const fields = typeof last === 'object' && last !== null ? last as OutgoingHttpHeaders : {}
        if (statusCode !== 101) return writeHead.call(response, statusCode, fields)
        this.#isAccepting = this.#agreed !== null
        try {
          return writeHead.call(response, this.#isAccepting ? 200 : 500, this.#acceptance(response, fields))
        } finally {
          this.#isAccepting = false
        }
      },
      end: (...given: unknown[]) => {
        if (response.writableEnded) return response
        if (this.#isAccepted) {
          this.#end(response, end)
        } else {
          end.apply(response, given)
          if (this.isWaiting) this.refused()
        }
        return response
      },
      // Node calls it for a write() after end()
      destroy: (error?: Error) => this.#isAccepted ? response : destroy.call(response, error)
    }
    for (const [name, value] of Object.entries(taught)) Object.defineProperty(response, name, { value, writable: true, configurable: true })
    Object.defineProperty(response, 'statusCode', {
      get: () => is101 ? 101 : Reflect.get(prototype, 'statusCode', response) as number,
      set: (statusCode: number) => {
        is101 = statusCode === 101
        if (!is101) Reflect.set(prototype, 'statusCode', statusCode, response)
      },
      configurable: true
    })
  }

  #acceptance (response: Http2ServerResponse, given: OutgoingHttpHeaders): OutgoingHttpHeaders {
    const isOfHttp1 = (name: string): boolean => CONNECTION_FIELDS.has(name.toLowerCase())
    for (const name of response.getHeaderNames()) if (RESERVED_FIELDS.has(name) || isOfHttp1(name)) response.removeHeader(name)
    return Object.fromEntries(Object.entries({ ...withoutReserved(given), ...this.#agreed }).filter(([name]) => !isOfHttp1(name)))
  }

  /** Ends the response but not its stream. */
  #end (response: Http2ServerResponse, end: Method): void {
    const stream = this.#stream
    stream.end = () => stream
    end.call(response)
    Reflect.deleteProperty(stream, 'end')
    // Node would emit it when the stream has ended, which is too late for onResponse and the log
    process.nextTick(() => { response.emit('finish') })
    // a WebSocket dropped later is not an aborted request
    Object.defineProperty(this.#request, 'aborted', { value: false })
    if (this.isWaiting) this.switchTo(new Http2Transport(stream))
  }

  /** Closes the stream after a refusal. RFC 9113 §8.1: a client that has more to send need not send it. */
  #onAnswered (): void {
    if (this.#isAccepted) return
    if (this.#isFile) { // sending has only begun, and Node crashes if it reads a file for a closed stream
      this.refused()
    } else {
      this.linger(() => { this.#stream.close() })
      closeOnceSent(this.#stream)
    }
  }

  protected override abort (): void {
    super.abort()
    this.destroy()
  }
}

/**
 * RST_STREAM drops frames that the session has not sent yet, so it must wait until END_STREAM is out: two turns later, if the
 * session has nothing else to write.
 */
function closeOnceSent (stream: ServerHttp2Stream): void {
  const look = (): void => { if (stream.state.localClose === 1) stream.close() }
  setImmediate(() => { setImmediate(look) })
}
