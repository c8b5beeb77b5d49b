// The HTTP/2 side of an app: its server, the additional ones that listen('localhost') creates, and their sessions.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Server } from 'node:http'
import type { Http2Server, Http2ServerRequest, Http2ServerResponse, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { Socket } from 'node:net'
import { widenWindows } from '../transport/session-windows.ts'

type ConnectListener = (server: Http2Server, request: Http2ServerRequest, response: Http2ServerResponse) => void

// Node publishes each server that begins to listen here. Fastify does not expose its additional servers.
const LISTENING = 'tracing:net.server.listen:asyncStart'

/**
 * Default for maxConcurrentStreams, if the application sets none. Without a limit announced, Chromium and Firefox open at most 100
 * streams, and once WebSockets fill those, all other requests of the page wait; with one, they go up to 256 and 200. Higher values
 * serve proxies. Node's own limits leave room: 1,000 resets at once (streamResetBurst), twice this number, and 10 MB
 * (maxSessionMemory), about 10,000 idle streams.
 */
export const MAX_CONCURRENT_STREAMS = 500
// Node's value for a limit that is not announced
const NO_LIMIT = 2 ** 32 - 1

interface OpenSession {
  /** Null once closed: timers of Node and Fastify keep a session, and all that its listeners refer to, for another 72 s. */
  socket: Socket | null
  /** All open streams, WebSocket or not. */
  readonly streams: Set<ServerHttp2Stream>
  /** An extended CONNECT has come. */
  isTunnelled: boolean
}

export class Http2Sessions {
  readonly #server: Http2Server
  readonly #onConnectOf: ConnectListener
  readonly #leave: Array<() => void> = []
  readonly #sessions = new Map<ServerHttp2Session, OpenSession>()
  #timeout = 0
  #deadline: NodeJS.Timeout | undefined
  // open -> closing: sessions take no more streams -> overdue: idle sessions are dropped
  #state: 'open' | 'closing' | 'overdue' = 'open'

  /** Null for a server that speaks only HTTP/1.1. */
  static of (server: Server, onConnect: ConnectListener): Http2Sessions | null {
    const candidate: Partial<Http2Server> = server as unknown as Http2Server
    return typeof candidate.updateSettings === 'function' ? new Http2Sessions(candidate as Http2Server, onConnect) : null
  }

  private constructor (server: Http2Server, onConnect: ConnectListener) {
    this.#server = server
    this.#onConnectOf = onConnect
    this.#adopt(server)
    server.once('listening', this.#watch)
  }

  /**
   * Sends GOAWAY: the client opens new streams on another session, and open streams go on. Otherwise a client that reconnects would reuse the
   * session and reach this server again. While closing, this restarts the deadline.
   */
  leave (session: ServerHttp2Session | undefined): void {
    if (session === undefined || !this.#sessions.has(session)) return
    session.close()
    if (this.#state !== 'open') this.#startDeadline()
  }

  /**
   * Sends GOAWAY to all sessions and drops those still there at the deadline, except while they have unanswered requests.
   * @param timeout milliseconds from now or from the last leave()
   * @param busy sessions for which leave() will be called
   */
  close (timeout: number, busy: ReadonlySet<unknown>): void {
    this.#timeout = timeout
    this.#startDeadline()
    for (const session of this.#sessions.keys()) if (!busy.has(session)) session.close()
  }

  #startDeadline (): void {
    this.#state = 'closing'
    clearTimeout(this.#deadline)
    this.#deadline = setTimeout(() => {
      this.#state = 'overdue'
      for (const session of this.#sessions.keys()) this.#dropIfIdle(session)
    }, this.#timeout)
  }

  release (): void {
    clearTimeout(this.#deadline)
    this.#server.off('listening', this.#watch)
    unsubscribe(LISTENING, this.#onListening)
    for (const leave of this.#leave) leave()
  }

  #adopt (server: Http2Server): void {
    // RFC 8441 §3: without the setting no client sends an extended CONNECT
    server.updateSettings({ enableConnectProtocol: true })
    // Node 22.21 calls this on HTTP/2 servers too, but does not define it there; https://github.com/nodejs/node/issues/60336
    const upgradable = server as unknown as { shouldUpgradeCallback?: () => boolean }
    upgradable.shouldUpgradeCallback ??= () => server.listenerCount('upgrade') > 0
    // A session does not expose its socket, but is created during the event that passes the socket.
    let last: Socket | null = null
    const onSocket = (given: Socket): void => { last = given }
    const onSession = (session: ServerHttp2Session): void => {
      if (last !== null) this.#onSession(session, last)
      last = null
    }
    const onConnect = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
      const session = request.stream?.session as ServerHttp2Session
      const open = this.#sessions.get(session)
      if (open?.isTunnelled === false) {
        open.isTunnelled = true
        onceSettled(session, () => { widenWindows(session) })
      }
      // Node's request does not expose the address of a Duplex that is not a net.Socket.
      const socket = open?.socket
      if (socket != null && !(socket instanceof Socket)) Object.defineProperty(request, 'socket', { value: socket })
      this.#onConnectOf(server, request, response)
    }
    server.prependListener('connection', onSocket)
    server.prependListener('secureConnection', onSocket)
    server.on('session', onSession)
    // first, so that our handshakes are marked before another listener sees them
    server.prependListener('connect', onConnect)
    this.#leave.push(() => {
      server.off('connection', onSocket).off('secureConnection', onSocket).off('session', onSession).off('connect', onConnect)
    })
  }

  // not earlier: a process-wide subscription must not keep an app alive that never listens
  readonly #watch = (): void => { subscribe(LISTENING, this.#onListening) }

  readonly #onListening = (message: unknown): void => {
    const { server } = message as { server: Http2Server }
    if (server === this.#server) return
    // another server of the same app: both have Fastify's 'request' listener
    const [router] = this.#server.listeners('request')
    if (router !== undefined && server.listeners('request').includes(router)) this.#adopt(server)
  }

  #onSession (session: ServerHttp2Session, socket: Socket): void {
    const open: OpenSession = { socket, streams: new Set(), isTunnelled: false }
    this.#sessions.set(session, open)
    // 'close' of the socket, not of the session, which ends earlier and leaves the socket to the client
    socket.once('close', () => {
      this.#sessions.delete(session)
      open.socket = null
    })
    // First, as listeners added to the stream after this count as another listener taking it.
    session.prependListener('stream', stream => {
      const look = (): void => { if (this.#state === 'overdue') this.#dropIfIdle(session) }
      open.streams.add(stream)
      stream.once('finish', () => { setImmediate(() => { setImmediate(look) }) }) // by then its last bytes are on their way
      stream.once('close', () => {
        open.streams.delete(stream)
        look()
      })
    })
    announceStreams(session)
    if (this.#state !== 'open') session.close()
  }

  /** A session is idle if all its streams are answered; they may stay open while the client has more to send. */
  #dropIfIdle (session: ServerHttp2Session): void {
    const open = this.#sessions.get(session)
    if (open !== undefined && [...open.streams].every(stream => stream.writableFinished)) open.socket?.destroy()
  }
}

/** Announces MAX_CONCURRENT_STREAMS, unless the application has set a limit. */
function announceStreams (session: ServerHttp2Session): void {
  session.once('localSettings', () => {
    onceSettled(session, () => {
      if (session.localSettings.maxConcurrentStreams === NO_LIMIT && !session.destroyed) session.settings({ maxConcurrentStreams: MAX_CONCURRENT_STREAMS })
    })
  })
}

/** Calls `then` once the client has acknowledged all settings: not before are those of the application known. */
function onceSettled (session: ServerHttp2Session, then: () => void): void {
  if (session.pendingSettingsAck) session.once('localSettings', () => { onceSettled(session, then) })
  else then()
}
