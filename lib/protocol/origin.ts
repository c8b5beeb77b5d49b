// Which pages may open a WebSocket. A browser lets any page try, with the user's cookies, and names the page's origin in the
// Origin field: refusing is up to the server (RFC 6455 §10.2).

/** An origin such as https://example.com, or what it must match. */
export type OriginPattern = string | RegExp

// URLs of these schemes always have a host. Of other schemes there are origins without one: Electron and Cordova send file://
const WITH_HOST = /^(?:https?|wss?|ftp):/i
// No page has a WebSocket scheme, but clients other than browsers send the URL that they connect to.
const PAGE_SCHEMES: Readonly<Record<string, string>> = { 'ws:': 'http:', 'wss:': 'https:' }

/** Tells whether `value` can be compared with an Origin header field: a serialized origin or, for documents without one, "null". */
export function isOrigin (value: string): boolean {
  if (value === 'null') return true
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\\\s]*$/i.test(value) && !(value.endsWith('//') && WITH_HOST.test(value))
}

/** Tells whether `value` is valid in the option: an origin, or one with the trailing slash that an address bar shows. */
export function isOriginPattern (value: string): boolean {
  return isOrigin(withoutSlash(value))
}

/**
 * Tells whether a page of `origin` was loaded from `host`. Ports are compared as the scheme of the page understands them: behind
 * a proxy that ends TLS, `Host: example.com` is what a page of https://example.com sends.
 * @param host as in the Host header field, with or without a port
 * @param isSecure whether the client is known to speak TLS; a page that was loaded without it is then of another origin
 */
export function isSameOrigin (origin: string, host: string | undefined, isSecure: boolean): boolean {
  const given = /^(?:http|ws)s?:/i.exec(origin)?.[0].toLowerCase()
  if (given === undefined || host === undefined || !isOrigin(origin)) return false
  const scheme = PAGE_SCHEMES[given] ?? given
  if (isSecure && scheme !== 'https:') return false
  return canonical(origin) === canonical(`${scheme}//${host}`)
}

/** Tells whether `origin` equals `pattern`, or matches it as a whole. */
export function matchesOrigin (origin: string, pattern: OriginPattern): boolean {
  return typeof pattern === 'string' ? canonical(origin) === canonical(withoutSlash(pattern)) : anchored(pattern).test(origin)
}

// by the option's RegExp, so that each is compiled once
const ANCHORED = new WeakMap<RegExp, RegExp>()

/** As a whole: part of https://example.com.evil.example matches /example\.com/ too. */
function anchored (pattern: RegExp): RegExp {
  let whole = ANCHORED.get(pattern)
  if (whole === undefined) {
    // with g and y it would start where the last match ended
    whole = new RegExp(`^(?:${pattern.source})$`, pattern.flags.replace(/[gy]/g, ''))
    ANCHORED.set(pattern, whole)
  }
  return whole
}

function withoutSlash (value: string): string {
  // of file:///, not of file://
  return /:\/\/.*\/$/.test(value) ? value.slice(0, -1) : value
}

/** In lower case, without the scheme's default port, ws: and wss: as http: and https:. */
function canonical (origin: string): string {
  if (!isOrigin(origin) || !URL.canParse(origin)) return origin.toLowerCase()
  const { protocol, host, origin: serialized } = new URL(origin)
  if (protocol in PAGE_SCHEMES) return `${PAGE_SCHEMES[protocol]}//${host}`
  return serialized === 'null' ? origin.toLowerCase() : serialized
}
