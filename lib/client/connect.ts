// The client side of the opening handshake, over Node's HTTP client. RFC 6455 §4.1.
import type { IncomingMessage, OutgoingHttpHeaders, RequestOptions } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { ConnectOptions } from '../../types/options.ts'
import { Connection, coreOf } from '../connection/connection.ts'
import { connectTimedOut, ConnectionClosedError, HandshakeError, unanswered, unexpectedResponse } from '../errors.ts'
import { createOpeningHandshake, readChosenExtensions, readHandshakeResponse } from '../protocol/client-handshake.ts'
import { connectSettings, deflateSettings, rateLimitSettings } from '../options/settings.ts'
import { createOffer } from '../protocol/permessage-deflate.ts'
import type { Exchange, HandshakeRequest } from './exchange.ts'
import { overHttp1 } from './http1-exchange.ts'
import { overHttp2OrElse } from './http2-exchange.ts'
import { chooseProxy } from './proxy-choice.ts'
import { Redirects, unixSocketOf, type Destination } from './redirects.ts'
import { StandaloneOwner } from '../standalone/standalone-owner.ts'

// Bytes of a refusal's body that are kept for the error.
const MAX_BODY = 64 * 1024
const FRAMING = new Set(['connection', 'content-encoding', 'content-length', 'keep-alive', 'transfer-encoding', 'upgrade'])

// http: and https: are accepted too, as in the WHATWG WebSocket
const SCHEMES = new Set(['ws:', 'http:', 'ws+unix:', 'wss:', 'https:', 'wss+unix:'])

/**
 * Opens a WebSocket to `url`: ws:, wss:, http:, https:, or ws+unix:/path/to.sock:/path for a Unix domain socket. Messages are held until consumed.
 * @returns resolves when the connection is open
 * @throws SyntaxError for an invalid URL or subprotocol, TypeError for an invalid option, HandshakeError for a response other than 101 (with
 * its statusCode, headers and body), an invalid 101 or no response, ConnectionClosedError if closed before it was open, the signal's reason, and
 * errors of node:http
 */
export async function connect (url: string | URL, options: ConnectOptions = {}): Promise<WebSocketConnection> {
  const { connection, opened } = startConnecting(url, options)
  await opened
  return connection
}

/** Settings that are not options of connect(). */
interface Connecting {
  /** Default: chosen by the options. */
  readonly exchange?: Exchange | null
  /** handlerSettled() will be called when the handler is done with the connection. Default: false. */
  readonly hasHandler?: boolean
}

/** Like connect(), but returns the connection while it is CONNECTING. */
export function startConnecting (
  url: string | URL, options: ConnectOptions, { exchange: given = null, hasHandler = false }: Connecting = {}
): { connection: Connection, opened: Promise<void> } {
  const target = parseUrl(url)
  const { handshakeTimeout, protocols, headers, errorHandler, signal, maxRedirects, proxy, http2, request: requestOptions, ...settings } = connectSettings(options)
  const proxyOf = (url: URL): URL | null => chooseProxy(proxy, url, process.env)
  const exchange = given ?? (http2 === false ? overHttp1(proxyOf) : overHttp2OrElse(http2, proxyOf))
  const perMessageDeflate = deflateSettings(settings.perMessageDeflate)
  const { key, headers: ownHeaders } = createOpeningHandshake(protocols, perMessageDeflate === false ? [] : [createOffer(perMessageDeflate)])
  let request: HandshakeRequest | null = null
  const owner = new StandaloneOwner(null, errorHandler, info => {
    request?.left?.(info)
    request?.destroy()
  })
  const rateLimit = rateLimitSettings(settings.rateLimit)
  const connectionSettings = { ...settings, perMessageDeflate, rateLimit, role: 'client' as const, hasHandler, url: target.href }
  const connection = new Connection(connectionSettings, owner)
  const first: Destination = { url: target, headers: definedOf(headers), request: requestOptions }
  const redirects = new Redirects(first, maxRedirects)

  const opened = new Promise<void>((resolve, reject) => {
    signal?.throwIfAborted()
    const fail: (error: unknown) => void = reject
    let timer: NodeJS.Timeout | undefined

    const ask = ({ url, headers, request: requestOptions }: Destination): void => {
      const own = exchange.request(url, { ...requestOptions, ...addressOf(url), headers: { ...headers, ...ownHeaders }, signal } as RequestOptions)
      request = own
      let isAnswered = false // with anything but a 101 upgrade
      own.on('error', (error: Error & { code?: string }) => { // before 'close'
        if (isAnswered) return
        fail(connection.readyState === connection.CONNECTING ? reasonOf(error, signal) : closedTooEarly())
      })
      own.on('close', () => {
        if (request !== own) return // redirected
        clearTimeout(timer)
        if (!isAnswered) fail(closedTooEarly()) // if answered, its body is still being read
      })
      own.on('response', (response: IncomingMessage) => {
        isAnswered = true
        try {
          if (response.statusCode === 101) readHandshakeResponse(response, key, protocols) // throws: a 101 without 'upgrade' is invalid
          const next = redirects.next(response)
          if (next === null) {
            clearTimeout(timer)
            timer = setTimeout(() => { response.destroy() }, handshakeTimeout)
            readRefusal(response).then(fail, fail)
            return
          }
          own.destroy()
          connectionSettings.url = next.url.href
          ask(next)
        } catch (error) {
          clearTimeout(timer)
          own.destroy()
          fail(error)
        }
      })
      own.on('upgrade', (response: IncomingMessage, stream: Duplex, head: Buffer) => {
        clearTimeout(timer)
        try {
          if (connection.readyState !== connection.CONNECTING) throw closedTooEarly()
          const answer = readHandshakeResponse(response, key, protocols)
          const agreed = readChosenExtensions(answer, perMessageDeflate)
          coreOf(connection).open(exchange.transport(stream), head, { protocol: answer.protocol, ...agreed })
          resolve()
        } catch (error) {
          stream.destroy()
          fail(error)
        }
      })
      own.end()
    }
    ask(first)
    timer = setTimeout(() => { request!.destroy(connectTimedOut(handshakeTimeout)) }, handshakeTimeout)
  })
  // for callers that listen to the connection instead of waiting for `opened`
  opened.catch(error => { coreOf(connection).failed(error) })
  return { connection, opened }
}

/** What to reject with: the signal's reason, like fetch(), or a HandshakeError if the connection broke before a response. */
function reasonOf (error: Error & { code?: string }, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted === true && error.name === 'AbortError') return signal.reason
  const { code } = error
  return code !== undefined && (code === 'ECONNRESET' || code.startsWith('HPE_')) ? unanswered(Object.assign(error, { code })) : error
}

function closedTooEarly (): ConnectionClosedError {
  return new ConnectionClosedError('the connection was closed before it was open')
}

function parseUrl (url: string | URL): URL {
  const parsed = new URL(url)
  if (!SCHEMES.has(parsed.protocol)) throw new SyntaxError(`a WebSocket URL begins with ws: or wss:, not ${parsed.protocol}`)
  if (unixSocketOf(parsed)?.socketPath === '') throw new SyntaxError('a ws+unix: URL names a socket: ws+unix:/path/to.sock:/path')
  if (parsed.hash !== '') throw new SyntaxError('a WebSocket URL has no fragment')
  return parsed
}

function addressOf (url: URL): RequestOptions {
  const unix = unixSocketOf(url)
  if (unix !== null) return { socketPath: decode(unix.socketPath), path: unix.path, hostname: 'localhost' }
  const { hostname, port, pathname, search, username, password } = url
  return {
    // node:net takes IPv6 addresses without brackets
    hostname: hostname.startsWith('[') ? hostname.slice(1, -1) : hostname,
    ...(port === '' ? {} : { port }),
    path: pathname + search,
    ...(username === '' && password === '' ? {} : { auth: `${decode(username)}:${decode(password)}` })
  }
}

function decode (component: string): string {
  try {
    return decodeURIComponent(component)
  } catch {
    throw new SyntaxError(`${component} in a WebSocket URL is not percent-encoded as it must be`)
  }
}

function definedOf (headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined))
}

async function readRefusal (response: IncomingMessage): Promise<HandshakeError> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      length += chunk.length
      if (length > MAX_BODY) break
    }
  } catch {
    // use what has arrived
  }
  // Fastify sends the header fields of an error: those that frame this body must not go out with another one.
  const fields = Object.entries(response.headers).filter(([name, value]) => value !== undefined && !FRAMING.has(name))
  const headers = Object.fromEntries(fields) as Record<string, string | string[]>
  return unexpectedResponse(response.statusCode!, headers, Buffer.concat(chunks).toString('utf8', 0, MAX_BODY))
}
