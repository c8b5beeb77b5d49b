// What of an app speaks HTTP/2: its server, those that listen('localhost') makes beside it, and the sessions of them all.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Server } from 'node:http'
import type { Http2Server, Http2ServerRequest, Http2ServerResponse, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { Socket } from 'node:net'

type ConnectListener = (server: Http2Server, request: Http2ServerRequest, response: Http2ServerResponse) => void

// Node publishes every server here that begins to listen. Fastify makes more than one of them known to nobody.
const LISTENING = 'tracing:net.server.listen:asyncStart'

/**
 * Streams that a session may have open where the application has set no maxConcurrentStreams. Without a number Chromium and Firefox
 * open 100, and WebSockets that fill those hold up every request of their page: told one, they go on to 256 and 200. Larger ones
 * serve proxies, up to what Node keeps a session for: it takes 1,000 resets at once (streamResetBurst), so two times as many as
 * there can be, and 10 MB (maxSessionMemory), some 10,000 idle streams.
 */
export const MAX_CONCURRENT_STREAMS = 500
// what Node calls a number that is not announced
const NO_LIMIT = 2 ** 32 - 1

interface OpenSession {
  /** Null when it has closed: timers of Node and Fastify hold a session, and with it what its listeners refer to, for 72 s more. */
  socket: Socket | null
  /** Those that are open, whatever they carry. */
  readonly streams: Set<ServerHttp2Stream>
}

export class Http2Sessions {
  readonly #server: Http2Server
  readonly #onConnectOf: ConnectListener
  readonly #leave: Array<() => void> = []
  readonly #sessions = new Map<ServerHttp2Session, OpenSession>()
  #timeout = 0
  #deadline: NodeJS.Timeout | undefined
  // open -> closing: sessions take no more streams -> overdue: what is idle is dropped
  #state: 'open' | 'closing' | 'overdue' = 'open'

  /** Null for a server that speaks HTTP/1.1 alone. */
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
   * Asks a client to take what it opens from now on elsewhere (GOAWAY); what is open goes on. Who comes back on the session of a connection that
   * was closed would come to this server again. While all are asked to leave it has its time from now on.
   */
  leave (session: ServerHttp2Session | undefined): void {
    if (session === undefined || !this.#sessions.has(session)) return
    session.close()
    if (this.#state !== 'open') this.#startDeadline()
  }

  /**
   * Asks clients to leave, and drops those that have not when time is up, but for requests that are not answered.
   * @param timeout milliseconds from now on, or from the last leave()
   * @param busy sessions that leave() is called for
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
    // Node 22.21 asks servers of HTTP/2 too, of which it has forgotten to give them one; https://github.com/nodejs/node/issues/60336
    const upgradable = server as unknown as { shouldUpgradeCallback?: () => boolean }
    upgradable.shouldUpgradeCallback ??= () => server.listenerCount('upgrade') > 0
    // A session does not show its socket, but is made in the turn of the event that brings that.
    let last: Socket | null = null
    const onSocket = (given: Socket): void => { last = given }
    const onSession = (session: ServerHttp2Session): void => {
      if (last !== null) this.#onSession(session, last)
      last = null
    }
    const onConnect = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
      // Of a Duplex that is no socket Node's request does not show the address.
      const socket = this.#sessions.get(request.stream?.session as ServerHttp2Session)?.socket
      if (socket != null && !(socket instanceof Socket)) Object.defineProperty(request, 'socket', { value: socket })
      this.#onConnectOf(server, request, response)
    }
    server.prependListener('connection', onSocket)
    server.prependListener('secureConnection', onSocket)
    server.on('session', onSession)
    // the first, so that what is ours is known before another listener looks at it
    server.prependListener('connect', onConnect)
    this.#leave.push(() => {
      server.off('connection', onSocket).off('secureConnection', onSocket).off('session', onSession).off('connect', onConnect)
    })
  }

  // not before: an app that never listens must not be kept by a subscription of the process
  readonly #watch = (): void => { subscribe(LISTENING, this.#onListening) }

  readonly #onListening = (message: unknown): void => {
    const { server } = message as { server: Http2Server }
    if (server === this.#server) return
    // the router is the same
    const [router] = this.#server.listeners('request')
    if (router !== undefined && server.listeners('request').includes(router)) this.#adopt(server)
  }

  #onSession (session: ServerHttp2Session, socket: Socket): void {
    const open: OpenSession = { socket, streams: new Set() }
    this.#sessions.set(session, open)
    // of the socket and not of the session: that one ends first, and waits for the client with the socket
    socket.once('close', () => {
      this.#sessions.delete(session)
      open.socket = null
    })
    // The first, as the listeners that a stream has later are looked at to see whether somebody has taken it.
    session.prependListener('stream', stream => {
      const look = (): void => { if (this.#state === 'overdue') this.#dropIfIdle(session) }
      open.streams.add(stream)
      stream.once('finish', () => { setImmediate(() => { setImmediate(look) }) }) // the last of it is on its way then
      stream.once('close', () => {
        open.streams.delete(stream)
        look()
      })
    })
    announceStreams(session)
    if (this.#state !== 'open') session.close()
  }

  /** A stream that was answered may be open for as long as the client has more to send. */
  #dropIfIdle (session: ServerHttp2Session): void {
    const open = this.#sessions.get(session)
    if (open !== undefined && [...open.streams].every(stream => stream.writableFinished)) open.socket?.destroy()
  }
}

/** What the application has set is known once the client has acknowledged it. */
function announceStreams (session: ServerHttp2Session): void {
  session.once('localSettings', ({ maxConcurrentStreams }) => {
    if (session.pendingSettingsAck) announceStreams(session) // there is more, of a listener of the application
    else if (maxConcurrentStreams === NO_LIMIT && !session.destroyed) session.settings({ maxConcurrentStreams: MAX_CONCURRENT_STREAMS })
  })
}
