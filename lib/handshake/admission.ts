// Decides whether the application accepts a valid handshake: by the page's origin, or by verifyClient.
import type { IncomingMessage } from 'node:http'
import type { OriginFunction, OriginRule, VerifyClient } from '../../types/options.ts'
import { notVerified, otherOrigin, repeatedOrigin, wrongOrigin, type HandshakeError } from '../errors.ts'
import { isSameOrigin, matchesOrigin } from '../protocol/origin.ts'
import { isThenable } from '../promises.ts'

export interface AdmissionRules<Request> {
  readonly origin: OriginRule<Request>
  readonly verifyClient?: VerifyClient | undefined
}

/** What the rules read of a request. */
export interface Asker<Request> {
  /** Passed to a function for `origin`. */
  readonly request: Request
  readonly raw: IncomingMessage
  readonly host: string | undefined
  /** The client is known to use TLS, to us or to a trusted proxy. */
  readonly isSecure: boolean
}

/** Null: admitted. A promise if the application decides asynchronously. */
type Admission = HandshakeError | null | Promise<HandshakeError | null>

/** @returns why the request is refused; null if it is admitted */
export function admit<Request> (rules: AdmissionRules<Request>, asker: Asker<Request>): Admission {
  // verifyClient replaces the check of the origin
  return rules.verifyClient === undefined ? admitOrigin(rules.origin, asker) : verify(rules.verifyClient, asker)
}

function admitOrigin<Request> (rule: OriginRule<Request>, asker: Asker<Request>): Admission {
  const { origin } = asker.raw.headers
  if (rule === '*' || origin === undefined) return null // without Origin it is not a browser, and could send any
  if (asker.raw.rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'origin').length > 1) return repeatedOrigin()
  if (typeof rule !== 'function') {
    const patterns: ReadonlyArray<string | RegExp> = typeof rule === 'string' || rule instanceof RegExp ? [rule] : rule
    if (patterns.some(pattern => isAllowed(pattern, origin, asker))) return null
    return patterns.includes('same-origin') ? otherOrigin(origin, asker.host, asker.isSecure) : wrongOrigin(origin)
  }
  const verdict = (rule as OriginFunction<Request>)(origin, asker.request)
  return settle(verdict, () => wrongOrigin(origin))
}

function isAllowed (pattern: string | RegExp, origin: string, { host, isSecure }: Asker<unknown>): boolean {
  if (pattern === '*') return true
  return pattern === 'same-origin' ? isSameOrigin(origin, host, isSecure) : matchesOrigin(origin, pattern)
}

function settle (verdict: unknown, refusal: () => HandshakeError): Admission {
  // a promise is truthy, whatever it resolves with
  if (isThenable(verdict)) return Promise.resolve(verdict).then(isWelcome => isWelcome ? null : refusal())
  return verdict ? null : refusal()
}

/** Calls verifyClient like `ws`: a function with a second parameter gets a callback. */
function verify (verifyClient: VerifyClient, { raw, isSecure }: Asker<unknown>): Admission {
  const info = { origin: raw.headers.origin, secure: isSecure, req: raw }
  if (verifyClient.length < 2) return settle(verifyClient(info, () => {}), () => notVerified())
  return new Promise((resolve, reject) => {
    const result: unknown = verifyClient(info, (isWelcome, statusCode, message, headers) => {
      resolve(isWelcome ? null : notVerified(statusCode, message, headers))
    })
    if (isThenable(result)) result.then(undefined, reject)
  })
}
