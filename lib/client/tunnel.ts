// Tunnels through a proxy, RFC 6455 §4.1: with CONNECT even without TLS, as a proxy would otherwise pass on only HTTP.
import type { IncomingMessage } from 'node:http'
import https, { type RequestOptions } from 'node:https'
import { isIP, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions as TlsOptions, type TLSSocket } from 'node:tls'
import { http } from '../builtins.ts'
import { proxyRefused } from '../errors.ts'

// Bytes of a refusal's body that are kept for the error.
const MAX_BODY = 64 * 1024

/**
 * Asks `proxy` for a connection to `host` and `port`.
 * @param signal aborts it
 * @throws HandshakeError with the proxy's status and body, and errors of node:http
 */
export async function openTunnel (
  proxy: URL, host: string, port: string, { localAddress, family, ca }: RequestOptions, signal: AbortSignal
): Promise<Socket> {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const request = (proxy.protocol === 'https:' ? https : http).request({
    ...Object.fromEntries(Object.entries({ localAddress, family, ca }).filter(([, value]) => value !== undefined)),
    agent: false,
    method: 'CONNECT',
    hostname: proxy.hostname.replace(/^\[|\]$/g, ''),
    ...(proxy.port === '' ? {} : { port: proxy.port }),
    path: authority,
    headers: { host: authority, ...authorization(proxy) },
    signal
  })
  const { response, socket, head } = await new Promise<{ response: IncomingMessage, socket: Socket, head: Buffer }>((resolve, reject) => {
    request.on('error', reject)
    request.on('connect', (response, socket: Socket, head) => { resolve({ response, socket, head }) })
    request.end()
  })
  const { statusCode = 0 } = response
  if (statusCode >= 200 && statusCode <= 299) {
    if (head.length > 0) socket.unshift(head) // a server that sends first
    return socket
  }
  const body = await readBody(socket, head, response, signal)
  socket.destroy()
  throw proxyRefused(proxy.host, statusCode, fieldsOf(response), body)
}

/** Starts TLS to the server, inside a tunnel or directly. */
export function secure (socket: Socket, host: string, { servername = isIP(host) === 0 ? host : '', ...options }: TlsOptions): TLSSocket {
  return connectTls({ ...options, host, servername, socket })
}

function authorization ({ username, password }: URL): { 'proxy-authorization'?: string } {
  if (username === '' && password === '') return {}
  return { 'proxy-authorization': `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}` }
}

function fieldsOf ({ headers }: IncomingMessage): Record<string, string | string[]> {
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined)) as Record<string, string | string[]>
}

/** Reads the body of a CONNECT response, which Node leaves on the socket; without Content-Length it does not wait for one. */
async function readBody (socket: Socket, head: Buffer, { headers }: IncomingMessage, signal: AbortSignal): Promise<string> {
  const length = Math.min(Number(headers['content-length'] ?? 0), MAX_BODY)
  let body = head
  const onAbort = (): void => { socket.destroy() }
  signal.addEventListener('abort', onAbort)
  try {
    if (body.length < length) {
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        body = Buffer.concat([body, chunk])
        if (body.length >= length) break
      }
    }
  } catch {
    // use what has arrived
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
  return body.toString('utf8', 0, length)
}
