// The handshake over HTTP/1.1, possibly through a proxy.
import type { RequestOptions } from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { http } from '../builtins.ts'
import { SocketTransport } from '../transport/socket-transport.ts'
import { EventualRequest } from './eventual-request.ts'
import type { Exchange, HandshakeRequest } from './exchange.ts'
import { openTunnel, secure } from './tunnel.ts'

const SECURE = new Set(['wss:', 'https:', 'wss+unix:'])

export function isSecure ({ protocol }: URL): boolean {
  return SECURE.has(protocol)
}

/** @param proxyOf the proxy for a URL; null for a direct connection */
export function overHttp1 (proxyOf: (url: URL) => URL | null): Exchange {
  return {
    request: (url, options) => {
      const proxy = proxyOf(url)
      if (proxy === null) return send(url, options)
      return new EventualRequest(options.signal, async signal => {
        const port = String(options.port ?? (isSecure(url) ? 443 : 80))
        return sendOn(await openTunnel(proxy, options.hostname!, port, options, signal), url, options)
      })
    },
    transport: stream => new SocketTransport(stream)
  }
}

/** Sends the handshake on its own connection, which is not reused for other requests. */
export function send (url: URL, options: RequestOptions): HandshakeRequest {
  const { request, Agent } = isSecure(url) ? https : http
  const { createConnection } = options
  // Without an agent, Node keeps a connection made by createConnection, and its errors are lost.
  const agent = createConnection === undefined ? false : Object.assign(new Agent(), { createConnection })
  return request({ agent, ...options } as RequestOptions)
}

/** @param socket a connection to the server, without TLS */
function sendOn (socket: Socket, url: URL, options: RequestOptions): HandshakeRequest {
  return send(url, { ...options, createConnection: given => isSecure(url) ? secure(socket, options.hostname!, given as TlsOptions) : socket })
}
