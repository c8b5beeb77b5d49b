// Opens an HTTP/2 session: TCP, possibly a tunnel, TLS, and the server's first SETTINGS.
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { connect as connectTcp, type NetConnectOpts, type Socket } from 'node:net'
import type { RequestOptions } from 'node:https'
import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { http2Missing } from '../errors.ts'
import { SESSION_WINDOW, STREAM_WINDOW } from '../transport/session-windows.ts'
import { isSecure } from './http1-exchange.ts'
import type { Opened } from './session-pool.ts'
import { openTunnel, secure } from './tunnel.ts'

/**
 * @param mayFallBack whether HTTP/1.1 is acceptable
 * @throws HandshakeError if the server does not speak HTTP/2, or accepts no WebSockets over it (RFC 8441); errors of node:net, node:tls and node:http2
 */
export async function openSession (url: URL, options: RequestOptions, proxy: URL | null, mayFallBack: boolean, signal: AbortSignal): Promise<Opened> {
  const host = options.hostname!
  const port = String(options.port ?? (isSecure(url) ? 443 : 80))
  const { headers, path, auth, signal: _signal, ...given } = options
  const direct = (): Socket => connectTcp({ ...given, host, port: Number(port) } as NetConnectOpts)
  let socket = proxy === null ? direct() : await openTunnel(proxy, host, port, options, signal)
  if (isSecure(url)) {
    const tls = secure(socket, host, { ...given as TlsOptions, ALPNProtocols: mayFallBack ? ['h2', 'http/1.1'] : ['h2'] })
    await ready(tls, 'secureConnect', signal)
    if (tls.alpnProtocol !== 'h2') {
      if (mayFallBack) return { socket: tls }
      tls.destroy()
      throw http2Missing('does not speak it')
    }
    socket = tls
  }
  const session = connectHttp2(`${isSecure(url) ? 'https' : 'http'}://${url.host}`, {
    createConnection: () => socket, settings: { enablePush: false, initialWindowSize: STREAM_WINDOW }
  })
  // RFC 8441 §3: the server's first SETTINGS tell whether it accepts WebSockets
  await ready(session, 'remoteSettings', signal)
  session.setLocalWindowSize(SESSION_WINDOW)
  if (session.remoteSettings.enableConnectProtocol === true) return { session }
  session.destroy()
  if (mayFallBack) return { socket: null }
  throw http2Missing('takes no WebSockets over it (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441)')
}

/** Waits for `event`; destroys `subject` on failure or abort. */
async function ready (subject: Socket | ClientHttp2Session, event: string, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const emitter: NodeJS.EventEmitter = subject
    const onAbort = (): void => { over(signal.reason) }
    const onClose = (): void => { over(Object.assign(new Error('the connection was closed before the handshake'), { code: 'ECONNRESET' })) }
    const onEvent = (): void => { over() }
    const over = (error?: unknown): void => {
      signal.removeEventListener('abort', onAbort)
      emitter.off(event, onEvent).off('close', onClose).off('error', over)
      if (error === undefined) {
        resolve()
        return
      }
      emitter.on('error', () => {}) // later errors: already rejected
      subject.destroy()
      reject(error)
    }
    emitter.on(event, onEvent).on('close', onClose).on('error', over)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
  })
}
