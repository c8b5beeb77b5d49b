// Comparison of origins. A browser lets any page open a WebSocket, with the user's cookies, and sends the page's origin in the Origin
// field: refusing is up to the server (RFC 6455 §10.2).

/** An origin such as https://example.com, or a RegExp for it. */
export type OriginPattern = string | RegExp

// URLs of these schemes always have a host. Origins of other schemes may not: Electron and Cordova send file://
const WITH_HOST = /^(?:https?|wss?|ftp):/i
// Pages have no WebSocket scheme, but non-browser clients may send the URL they connect to.
const PAGE_SCHEMES: Readonly<Record<string, string>> = { 'ws:': 'http:', 'wss:': 'https:' }

/** Whether `value` can be compared with an Origin header field: a serialized origin or, for opaque origins, "null". */
export function isOrigin (value: string): boolean {
  if (value === 'null') return true
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\\\s]*$/i.test(value) && !(value.endsWith('//') && WITH_HOST.test(value))
}

/** Whether `value` is valid in the option `origin`: an origin, or one with a trailing slash as in an address bar. */
export function isOriginPattern (value: string): boolean {
  return isOrigin(withoutSlash(value))
}

/**
 * Whether a page of `origin` was loaded from `host`. Default ports are those of the page's scheme: behind a proxy that terminates
 * TLS, a page of https://example.com sends `Host: example.com`.
 * @param host as in the Host header field, with or without a port
 * @param isSecure whether the client is known to use TLS; a page loaded without TLS then has another origin
 */
export function isSameOrigin (origin: string, host: string | undefined, isSecure: boolean): boolean {
  const given = /^(?:http|ws)s?:/i.exec(origin)?.[0].toLowerCase()
  if (given === undefined || host === undefined || !isOrigin(origin)) return false
  const scheme = PAGE_SCHEMES[given] ?? given
  if (isSecure && scheme !== 'https:') return false
  return canonical(origin) === canonical(`${scheme}//${host}`)
}

/** Whether `origin` equals `pattern`, or as a whole matches a RegExp. */
export function matchesOrigin (origin: string, pattern: OriginPattern): boolean {
  return typeof pattern === 'string' ? canonical(origin) === canonical(withoutSlash(pattern)) : anchored(pattern).test(origin)
}

// by RegExp of the option, so that each is compiled only once
const ANCHORED = new WeakMap<RegExp, RegExp>()

/** Anchors a pattern: otherwise /example\.com/ would match https://example.com.evil.example. */
function anchored (pattern: RegExp): RegExp {
  let whole = ANCHORED.get(pattern)
  if (whole === undefined) {
    // with g or y it would start at the end of the last match
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
