// The handshake over HTTP/2, on shared sessions.
import { EventEmitter } from 'node:events'
import type { RequestOptions } from 'node:http'
import { constants, type ClientHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { CloseInfo } from '../../types/connection.ts'
import { HandshakeError } from '../errors.ts'
import { Http2Transport } from '../transport/http2-transport.ts'
import { SocketTransport } from '../transport/socket-transport.ts'
import { EventualRequest } from './eventual-request.ts'
import type { Exchange, HandshakeRequest } from './exchange.ts'
import { isSecure, overHttp1, send } from './http1-exchange.ts'
import { ConnectRequest } from './http2-request.ts'
import { openSession } from './open-session.ts'
import { PooledSession } from './pooled-session.ts'
import { keyOf } from './session-key.ts'
import { SessionPool } from './session-pool.ts'

// Milliseconds to remember that an origin does not accept WebSockets over HTTP/2.
const REMEMBERED = 10 * 60_000

const pools = new Map<string, SessionPool>()
const withoutHttp2 = new Map<string, number>()

/** @param http2 'auto': HTTP/1.1 if the server does not support it, there is no TLS, or the options say how to connect */
export function overHttp2OrElse (http2: true | 'auto', proxyOf: (url: URL) => URL | null): Exchange {
  const http1 = overHttp1(proxyOf)
  return {
    request: (url, options) => {
      const isOwn = options.agent === undefined && options.createConnection === undefined && options.socketPath === undefined
      if (http2 === true && !isOwn) {
        throw new TypeError('the WebSocket option http2: true opens connections of its own: without request.agent, request.createConnection and Unix domain sockets')
      }
      if (http2 === 'auto' && (!isOwn || !isSecure(url))) return http1.request(url, options)
      const proxy = proxyOf(url)
      const key = keyOf(http2, url, proxy, options)
      if (http2 === 'auto' && isWithoutHttp2(key)) return http1.request(url, options)
      return new EventualRequest(options.signal, async signal => await ask(key, url, options, proxy, http2 === 'auto', http1, signal))
    },
    transport: stream => 'rstCode' in stream ? new Http2Transport(stream as ClientHttp2Stream) : new SocketTransport(stream)
  }
}

function isWithoutHttp2 (key: string): boolean {
  const now = performance.now()
  for (const [key, until] of withoutHttp2) if (until < now) withoutHttp2.delete(key)
  return withoutHttp2.has(key)
}

function poolOf (key: string, url: URL, options: RequestOptions, proxy: URL | null, mayFallBack: boolean): SessionPool {
  let pool = pools.get(key)
  if (pool === undefined) {
    pool = new SessionPool(async signal => await openSession(url, options, proxy, mayFallBack, signal), () => { pools.delete(key) })
    pools.set(key, pool)
  }
  return pool
}

/** Sends the handshake on a pooled session, and once more on another one if the first has not processed it. */
async function ask (
  key: string, url: URL, options: RequestOptions, proxy: URL | null, mayFallBack: boolean, http1: Exchange, signal: AbortSignal
): Promise<HandshakeRequest> {
  for (let isFirst = true; ; isFirst = false) {
    const session = await poolOf(key, url, options, proxy, mayFallBack).take(signal)
    if (!(session instanceof PooledSession)) {
      withoutHttp2.set(key, performance.now() + REMEMBERED)
      return onHttp1(session, url, options, http1)
    }
    const answer = await answerOn(session, url, options, signal)
    if (!isFirst || !answer.isRefused) return answer
  }
}

function onHttp1 (opened: { socket: Socket | null }, url: URL, options: RequestOptions, http1: Exchange): HandshakeRequest {
  const { socket } = opened
  opened.socket = null // only one request can use it
  return socket === null ? http1.request(url, options) : send(url, { ...options, createConnection: () => socket })
}

async function answerOn (session: PooledSession, url: URL, options: RequestOptions, signal: AbortSignal): Promise<AnsweredRequest> {
  const { signal: _signal, ...others } = options // already followed by `signal`
  const request = new ConnectRequest(session.session, { ...others, headers: { host: url.host, ...options.headers as object } })
  request.once('close', () => { session.release() })
  return await new Promise(resolve => {
    const onDead = (): void => { request.destroy(new Error('the session does not answer')) }
    const onAbort = (): void => {
      // timed out: the next handshake must not wait for this session
      if (signal.reason instanceof HandshakeError) session.evict()
      request.destroy(signal.reason as Error)
    }
    let isOver = false
    const over = (event: string, args: unknown[]): void => {
      if (isOver) return
      isOver = true
      signal.removeEventListener('abort', onAbort)
      session.dead.removeEventListener('abort', onDead)
      resolve(new AnsweredRequest(request, session, event, args))
    }
    for (const event of ['upgrade', 'response', 'error', 'close']) request.once(event, (...args) => { over(event, args) })
    signal.addEventListener('abort', onAbort)
    session.dead.addEventListener('abort', onDead)
    request.end()
  })
}

/** A request that already has its first event, which end() emits. */
class AnsweredRequest extends EventEmitter implements HandshakeRequest {
  readonly #request: ConnectRequest
  readonly #session: PooledSession
  readonly #first: readonly [event: string, args: unknown[]]

  constructor (request: ConnectRequest, session: PooledSession, event: string, args: unknown[]) {
    super()
    this.#request = request
    this.#session = session
    this.#first = [event, args]
    request.on('error', error => { if (this.listenerCount('error') > 0) this.emit('error', error) })
    request.on('close', () => { this.emit('close') })
  }

  /** The server has not processed it, or the session ended before there was an answer: it may be sent again. RFC 9113 §8.7. */
  get isRefused (): boolean {
    const [event] = this.#first
    return (event === 'error' || event === 'close') && (this.#request.rstCode === constants.NGHTTP2_REFUSED_STREAM || !this.#session.isUsable)
  }

  end (): void {
    const [event, args] = this.#first
    if (event !== 'close') this.emit(event, ...args)
    if (this.#request.isClosed) this.emit('close')
  }

  destroy (error?: Error): void { this.#request.destroy(error) }

  left ({ cause }: CloseInfo): void {
    if (cause === 'silent') this.#session.evict()
  }
}
