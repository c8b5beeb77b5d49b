// Which pages may open a WebSocket. A browser lets any page try, with the user's cookies, and says in Origin which one it is:
// it is for the server to refuse (RFC 6455 §10.2).

/** An origin such as https://example.com, or what it must match. */
export type OriginPattern = string | RegExp

// What a URL of these schemes always has is a host; of others there are origins that are a scheme alone: Electron and Cordova say file://
const WITH_HOST = /^(?:https?|wss?|ftp):/i
// A page cannot have one of WebSocket, but clients that are no browsers name the URL that they connect to.
const PAGE_SCHEMES: Readonly<Record<string, string>> = { 'ws:': 'http:', 'wss:': 'https:' }

/** Tells whether `value` can be compared with an Origin header field: a serialized origin or, for documents without one, "null". */
export function isOrigin (value: string): boolean {
  if (value === 'null') return true
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\\\s]*$/i.test(value) && !(value.endsWith('//') && WITH_HOST.test(value))
}

/** Tells whether the option may name `value`: an origin, perhaps with the slash that an address bar shows behind it. */
export function isOriginPattern (value: string): boolean {
  return isOrigin(withoutSlash(value))
}

/**
 * Tells whether a page of `origin` was loaded from `host`. Ports are compared as the scheme of the page understands them: behind
 * a proxy that ends TLS, `Host: example.com` is what a page of https://example.com sends.
 * @param host as in the Host header field, with a port or without
 * @param isSecure whether the client is known to speak TLS; then a page loaded without is another origin
 */
export function isSameOrigin (origin: string, host: string | undefined, isSecure: boolean): boolean {
  const given = /^(?:http|ws)s?:/i.exec(origin)?.[0].toLowerCase()
  if (given === undefined || host === undefined || !isOrigin(origin)) return false
  const scheme = PAGE_SCHEMES[given] ?? given
  if (isSecure && scheme !== 'https:') return false
  return canonical(origin) === canonical(`${scheme}//${host}`)
}

/** Tells whether `origin` is that of `pattern`, or all of it matches. */
export function matchesOrigin (origin: string, pattern: OriginPattern): boolean {
  return typeof pattern === 'string' ? canonical(origin) === canonical(withoutSlash(pattern)) : anchored(pattern).test(origin)
}

// by the RegExp of the option: made once
const ANCHORED = new WeakMap<RegExp, RegExp>()

/** That of /example\.com/ a part matches is true of https://example.com.evil.example as well. */
function anchored (pattern: RegExp): RegExp {
  let whole = ANCHORED.get(pattern)
  if (whole === undefined) {
    // g and y would go on from where it matched last
    whole = new RegExp(`^(?:${pattern.source})$`, pattern.flags.replace(/[gy]/g, ''))
    ANCHORED.set(pattern, whole)
  }
  return whole
}

function withoutSlash (value: string): string {
  // of file:///, not of file://
  return /:\/\/.*\/$/.test(value) ? value.slice(0, -1) : value
}

/** In one case, without the port that the scheme implies, and by the scheme of pages. */
function canonical (origin: string): string {
  if (!isOrigin(origin) || !URL.canParse(origin)) return origin.toLowerCase()
  const { protocol, host, origin: serialized } = new URL(origin)
  if (protocol in PAGE_SCHEMES) return `${PAGE_SCHEMES[protocol]}//${host}`
  return serialized === 'null' ? origin.toLowerCase() : serialized
}
