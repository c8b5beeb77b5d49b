// Which pages may open a WebSocket. A browser lets any page try, with the user's cookies, and says in Origin which one it is:
// it is for the server to refuse (RFC 6455 §10.2).

/** An origin such as https://example.com, or what it must match. */
export type OriginPattern = string | RegExp

/** Tells whether `value` can be compared with an Origin header field: a serialized origin or, for documents without one, "null". */
export function isOrigin (value: string): boolean {
  return value === 'null' || /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\\\s]+$/i.test(value)
}

/**
 * Tells whether a page of `origin` was loaded from `host`. Ports are compared as the scheme of the page understands them: behind
 * a proxy that ends TLS, `Host: example.com` is what a page of https://example.com sends.
 * @param host as in the Host header field, with a port or without
 * @param isSecure whether the client is known to speak TLS; then a page loaded without is another origin
 */
export function isSameOrigin (origin: string, host: string | undefined, isSecure: boolean): boolean {
  const scheme = /^https?:/i.exec(origin)?.[0].toLowerCase()
  if (scheme === undefined || host === undefined || !isOrigin(origin)) return false
  if (isSecure && scheme !== 'https:') return false
  return canonical(origin) === canonical(`${scheme}//${host}`)
}

/** Tells whether `origin` is that of `pattern`, or matches it. */
export function matchesOrigin (origin: string, pattern: OriginPattern): boolean {
  if (typeof pattern === 'string') return canonical(origin) === canonical(pattern)
  pattern.lastIndex = 0 // of a global one, which would go on from where it matched last
  return pattern.test(origin)
}

/** In one case, and without the port that the scheme implies. */
function canonical (origin: string): string {
  if (!isOrigin(origin) || !URL.canParse(origin)) return origin.toLowerCase()
  const url = new URL(origin)
  return url.origin === 'null' ? origin.toLowerCase() : url.origin
}
