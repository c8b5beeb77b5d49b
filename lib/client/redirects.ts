// Follows HTTP redirects of a handshake. RFC 6455 §4.1, RFC 9110 §15.4.
import type { IncomingHttpHeaders, OutgoingHttpHeaders, RequestOptions } from 'node:http'
import { wrongRedirect } from '../errors.ts'

export interface Destination {
  readonly url: URL
  readonly headers: OutgoingHttpHeaders
  readonly request: RequestOptions
}

const STATUS_CODES = new Set([301, 302, 303, 307, 308])
const SECURE_SCHEMES = new Set(['wss:', 'https:', 'wss+unix:'])
// Schemes a server may redirect to: not to a Unix domain socket of the client's machine.
const SCHEMES = new Set(['ws:', 'wss:', 'http:', 'https:'])
// Fields and options that must not go to another host.
const HOST_FIELDS = new Set(['authorization', 'cookie', 'host', 'proxy-authorization'])
const HOST_OPTIONS = [
  'auth', 'cert', 'defaultPort', 'host', 'hostname', 'key', 'passphrase', 'pfx', 'port', 'servername', 'socketPath'
]

function isSecure ({ protocol }: URL): boolean {
  return SECURE_SCHEMES.has(protocol)
}

/** Splits `ws+unix:/path/to.sock:/path?query` at the first colon of its path, like `ws`; null for other URLs. */
export function unixSocketOf ({ protocol, pathname, search }: URL): { socketPath: string, path: string } | null {
  if (!protocol.endsWith('+unix:')) return null
  const colon = pathname.indexOf(':')
  const [socketPath, path] = colon === -1 ? [pathname, ''] : [pathname.slice(0, colon), pathname.slice(colon + 1)]
  return { socketPath, path: (path.startsWith('/') ? path : `/${path}`) + search }
}

/** The redirects of one handshake. */
export class Redirects {
  readonly #first: URL
  readonly #limit: number
  readonly #visited = new Set<string>()
  #current: Destination

  constructor (first: Destination, limit: number) {
    this.#first = first.url
    this.#limit = limit
    this.#current = first
    this.#visited.add(first.url.href)
  }

  /**
   * @returns the next destination; null if the response is not a redirect or redirects are not followed
   * @throws HandshakeError for a loop, too many redirects or an invalid URL
   */
  next ({ statusCode, headers }: { readonly statusCode?: number | undefined, readonly headers: IncomingHttpHeaders }): Destination | null {
    const { location } = headers
    if (this.#limit === 0 || location === undefined || !STATUS_CODES.has(statusCode!)) return null
    const url = this.#resolve(location)
    if (url === null) throw wrongRedirect(statusCode!, location, 'it is not a WebSocket URL')
    // compared with the first URL; credentials once removed do not come back
    const isTrusted = this.#isSameHost(url) && (isSecure(url) || !isSecure(this.#first))
    if (isTrusted && url.username === '' && url.password === '') {
      url.username = this.#current.url.username
      url.password = this.#current.url.password
    }
    if (this.#visited.has(url.href)) throw wrongRedirect(statusCode!, location, 'it leads in a circle')
    if (this.#visited.size > this.#limit) throw wrongRedirect(statusCode!, location, `it is one more than maxRedirects (${this.#limit})`)
    this.#visited.add(url.href)
    const { headers: fields, request } = this.#current
    this.#current = isTrusted ? { url, headers: fields, request } : { url, headers: withoutCredentials(fields), request: withoutHost(request) }
    return this.#current
  }

  #resolve (location: string): URL | null {
    const { url } = this.#current
    const unix = unixSocketOf(url)
    // a relative URL stays on the same socket
    if (unix !== null) {
      if (/^[a-z][a-z\d+.-]*:|^\/\//i.test(location)) return this.#parse(location, 'ws://localhost')
      const { pathname, search } = new URL(location, `http://localhost${unix.path}`)
      return new URL(`${url.protocol}${unix.socketPath}:${pathname}${search}`)
    }
    return this.#parse(location, url.href)
  }

  #parse (location: string, base: string): URL | null {
    if (!URL.canParse(location, base)) return null
    const url = new URL(location, base)
    // §3: a WebSocket URL has no fragment; RFC 9110 §10.2.2 allows one in Location
    url.hash = ''
    return SCHEMES.has(url.protocol) ? url : null
  }

  #isSameHost (url: URL): boolean {
    const here = unixSocketOf(this.#first)?.socketPath ?? this.#first.host
    return here === (unixSocketOf(url)?.socketPath ?? url.host)
  }
}

function withoutCredentials (headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOST_FIELDS.has(name.toLowerCase())))
}

function withoutHost (request: RequestOptions): RequestOptions {
  return Object.fromEntries(Object.entries(request).filter(([name]) => !HOST_OPTIONS.includes(name)))
}
