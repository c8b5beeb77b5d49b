// reconnect() for web pages: one small file without imports. Like lib/client/reconnect.ts, but for the browser: it cannot see why a handshake failed,
// may enter the back/forward cache, and goes offline and online.

/** How a connection was closed. An Error, as it is what a loop over its messages throws, and the reason of its signal. */
export interface CloseInfo extends Error {
  /** The code of the peer's Close frame; 1005 if it had none, 1006 if there was no Close or no connection. */
  readonly code: number
  readonly reason: string
  readonly wasClean: boolean
  /** What close() was called with before the end; null if it was not called. */
  readonly sent: { readonly code: number, readonly reason: string } | null
}

/** Information about an attempt. */
export interface Attempt {
  /** Counts from 1, and starts again after a connection that was open for `stableAfter`. */
  readonly attempt: number
  /** How the previous attempt ended, or what `url` rejected with; null for the first. */
  readonly last: CloseInfo | Error | null
}

export interface State {
  readonly state: 'connecting' | 'open' | 'waiting' | 'ended'
  readonly attempt: number
  /** For `waiting`: milliseconds. */
  readonly delay?: number
  readonly outcome?: CloseInfo | Error
}

export interface Connection<Receive, Send> {
  /** The browser's WebSocket. You may listen to it, but leave its on... properties alone. */
  readonly socket: WebSocket
  /** Never rejects. */
  readonly closed: Promise<CloseInfo>
  /** Aborted when the connection is closed. */
  readonly signal: AbortSignal
  /** @returns false if 64 KiB or more are waiting: wait for drained() before the next; also false if not open, and then nothing is sent */
  send (message: Send): boolean
  /** Waits until send() would return true; resolves with false if nothing more will be sent. */
  drained (): Promise<boolean>
  /** The next message; null once the connection is closed. */
  receive (): Promise<Receive | null>
  /** Ends after a closing handshake; throws after any other end. Leaving the loop closes with 1000. */
  [Symbol.asyncIterator] (): AsyncGenerator<Receive, void, undefined>
  /** @param code 1000, the default, or 3000 to 4999 */
  close (code?: number, reason?: string): void
}

export interface Options {
  protocols?: string | string[]
  /** Milliseconds: `random() * min(max, min * factor ** n)`, where n counts failed attempts. Default: 1 000, 30 000 and 2. */
  backoff?: { min?: number, max?: number, factor?: number }
  /** Milliseconds after which an open connection counts as successful. Default: 10 000. */
  stableAfter?: number
  /** Milliseconds for `url` and for the handshake, each. Default: 10 000. */
  handshakeTimeout?: number
  /** Whether to try again, or in how many milliseconds. Default: not after 1000, nor after a failure that would repeat. */
  retry?: (outcome: CloseInfo | Error, attempt: Attempt) => boolean | number
  /** Aborting it ends reconnect(), which rejects with its reason. */
  signal?: AbortSignal
  onState?: (state: State) => void
  /** Messages are values, sent as JSON. Default: false, strings and ArrayBuffers. */
  json?: boolean
}

export type Url = string | URL | ((attempt: Attempt & { readonly signal: AbortSignal }) => string | URL | Promise<string | URL>)

/** May be async. The connection stays open after it returns; messages are then discarded. */
export type Handler<Receive, Send> = (connection: Connection<Receive, Send>, attempt: Attempt) => unknown

export type Raw = string | ArrayBuffer
export type RawSend = Parameters<WebSocket['send']>[0]

const HIGH_WATER_MARK = 64 * 1024
// close codes that are final (done, or would fail again), and all HTTP statuses except temporary ones
const FINAL = /^10(0[023789]|10)$|^(?!408|425|429|50[0234]|5[2-9])...$/

/**
 * Keeps a connection to `url` open: when one ends, and retrying makes sense, the handler gets the next. There are never two at once. A page that is
 * unloaded or enters the back/forward cache closes it (1000), and opens the next one when it is shown again.
 * @param url may be relative to the page
 * @returns resolves with the CloseInfo of the last connection if that was closed with 1000
 * @throws the CloseInfo of a failure that would repeat, what `url` or the handler threw, the signal's reason
 */
export function reconnect<Receive, Send> (url: Url, handler: Handler<Receive, Send>, options: Options & { json: true }): Promise<CloseInfo>
export function reconnect (url: Url, handler: Handler<Raw, RawSend>, options?: Options): Promise<CloseInfo>
export async function reconnect (url: Url, handler: Handler<any, any>, {
  protocols, backoff: { min = 1000, max = 30_000, factor = 2 } = {}, stableAfter = 10_000, handshakeTimeout = 10_000, retry, signal, onState, json
}: Options = {}): Promise<CloseInfo> {
  const page = new AbortController() // aborted when reconnect() ends
  let attempt = 0
  let failures = 0
  let last: Attempt['last'] = null
  let isAway = false // after pagehide
  let hasLeft = false // this attempt was given up because of pagehide
  let connection: Connection<any, any> | undefined
  // resolves the latest pause; does nothing once that has settled
  let goOn: (() => void) | undefined
  let interrupt: (reason: unknown) => void
  let outcome: CloseInfo | Error

  const listen = (target: EventTarget, type: string, listener: () => void): void => {
    target.addEventListener(type, listener, { signal: page.signal })
  }
  const tell = (state: State['state'], more?: Partial<State>): void => onState?.({ state, attempt, ...more })
  const hurry = (): void => { if (!document.hidden && goOn) setTimeout(goOn, Math.random() * min) }
  /** Settles like `work`, or rejects with the signal's reason or on timeout. */
  const within = <Value>(work: Promise<Value>, milliseconds?: number): Promise<Value> => new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    interrupt = reject
    work.then(resolve, reject)
    if (milliseconds) setTimeout(reject, milliseconds, new Error('timeout'))
  })

  listen(window, 'pagehide', () => {
    isAway = hasLeft = true
    connection?.close()
  })
  listen(window, 'pageshow', () => {
    isAway = false
    hurry()
  })
  listen(window, 'online', hurry)
  listen(document, 'visibilitychange', hurry)
  if (signal) listen(signal, 'abort', () => { interrupt(signal.reason) })

  /** One attempt, up to the end of its connection. */
  const live = async (context: Attempt): Promise<CloseInfo | Error> => {
    let target: string | URL
    try {
      target = await within(Promise.resolve(typeof url === 'function' ? url({ ...context, signal: page.signal }) : url), handshakeTimeout)
    } catch (error) {
      return error as Error
    }
    const address = new URL(target, location.href)
    // Chromium opens no HTTP/2 session for a WebSocket: without the page's session it would use HTTP/1.1
    if (last !== null && address.host === location.host) await within(fetch('/', { method: 'HEAD' }), handshakeTimeout).catch(() => {})
    const socket = new WebSocket(address, protocols)
    const [own, finish] = connectionOf(socket, json)
    connection = own
    try {
      await within(Promise.race([own.closed, new Promise(resolve => { socket.onopen = resolve })]), handshakeTimeout).catch(finish)
      if (socket.readyState === 1) {
        const openedAt = Date.now()
        tell('open')
        const serve = async (): Promise<void> => {
          try {
            await handler(own, context)
          } catch (error: any) {
            if (own.signal.aborted && [error, error?.cause].includes(own.signal.reason)) return
            own.close(4011)
            throw error
          } finally {
            socket.onmessage = null // nothing will read it
          }
        }
        await within(Promise.all([own.closed, serve()]))
        if (Date.now() - openedAt >= stableAfter) attempt = failures = 0
      }
      return await own.closed
    } finally {
      own.close()
      finish()
    }
  }

  try {
    for (;;) {
      signal?.throwIfAborted()
      attempt++
      hasLeft = false
      tell('connecting')
      const context = { attempt, last }
      outcome = await live(context)
      signal?.throwIfAborted()
      const { sent, code, status, statusCode = status } = outcome as any
      const decisive = statusCode ?? sent?.code ?? code
      const verdict = hasLeft || (retry ? retry(outcome, context) : !FINAL.test(decisive))
      if (verdict === false) {
        if (decisive === 1000) return outcome as CloseInfo
        throw outcome
      }
      const backoff = Math.random() * Math.min(max, min * factor ** failures++)
      const delay = verdict === true ? backoff : verdict
      tell('waiting', { outcome, delay })
      last = outcome
      const pause = async (): Promise<void> => {
        await within(new Promise<void>(resolve => {
          goOn = resolve
          setTimeout(resolve, delay)
        }))
        if (isAway) await pause()
      }
      await pause()
    }
  } catch (error) {
    outcome = error as Error
    throw error
  } finally {
    page.abort()
    tell('ended', { outcome: outcome! })
  }
}

/** @returns the connection, and a function that ends it even if the browser still waits for a peer that does not answer */
function connectionOf (socket: WebSocket, json: boolean | undefined): [Connection<any, any>, () => void] {
  const controller = new AbortController()
  const { signal } = controller
  const messages: any[] = []
  let info: CloseInfo | undefined
  let sent: CloseInfo['sent'] = null
  let wake: (() => void) | undefined
  let finish: (event?: { code?: number, reason?: string, wasClean?: boolean }) => void
  const closed = new Promise<CloseInfo>(resolve => {
    finish = ({ code = 1006, reason = '', wasClean = false } = {}) => {
      resolve(info ??= Object.assign(new Error(`closed with ${code}`), { code, reason, wasClean, sent }))
      controller.abort(info)
      wake?.()
    }
  })
  socket.binaryType = 'arraybuffer'
  socket.onclose = finish!
  socket.onmessage = ({ data }) => {
    messages.push(data)
    wake?.()
  }
  const isWritable = (): boolean => socket.readyState === 1 && socket.bufferedAmount < HIGH_WATER_MARK
  const connection: Connection<any, any> = {
    socket,
    closed,
    signal,
    send (message) {
      if (socket.readyState === 1) socket.send(json ? JSON.stringify(message) : message)
      return isWritable()
    },
    async drained () {
      // browsers have no 'drain' event
      while (socket.readyState === 1 && !isWritable()) await new Promise(resolve => setTimeout(resolve, 50))
      return isWritable()
    },
    async receive () {
      while (!messages.length) {
        if (info) return null
        await new Promise<void>(resolve => { wake = resolve })
      }
      const message = messages.shift()
      return json ? JSON.parse(message) : message
    },
    async * [Symbol.asyncIterator] () {
      try {
        for (let message; (message = await connection.receive()) !== null;) yield message
      } finally {
        setTimeout(() => { connection.close() }) // later: if the handler failed, that is known by then
      }
      if (!info!.wasClean) throw signal.reason
    },
    close (code = 1000, reason = '') {
      if (socket.readyState > 1) return
      socket.close(code, reason) // throws for an invalid code
      sent = { code, reason }
    }
  }
  return [connection, finish!]
}
