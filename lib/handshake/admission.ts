// Whether the application wants a connection whose handshake is right: by the page that asks for it, by verifyClient.
import type { IncomingMessage } from 'node:http'
import type { OriginFunction, OriginRule, VerifyClient } from '../../types/options.ts'
import { notVerified, otherOrigin, repeatedOrigin, wrongOrigin, type HandshakeError } from '../errors.ts'
import { isSameOrigin, matchesOrigin } from '../protocol/origin.ts'
import { isThenable } from '../promises.ts'

export interface AdmissionRules<Request> {
  readonly origin: OriginRule<Request>
  readonly verifyClient?: VerifyClient | undefined
}

/** What of a request the rules look at. */
export interface Asker<Request> {
  /** What a function for `origin` gets. */
  readonly request: Request
  readonly raw: IncomingMessage
  readonly host: string | undefined
  /** The client is known to speak TLS, with us or with a proxy that is trusted. */
  readonly isSecure: boolean
}

/** Null: it is. A promise when the application takes its time. */
type Admission = HandshakeError | null | Promise<HandshakeError | null>

/** @returns why the request is not admitted */
export function admit<Request> (rules: AdmissionRules<Request>, asker: Asker<Request>): Admission {
  // who verifies clients judges their origin too
  return rules.verifyClient === undefined ? admitOrigin(rules.origin, asker) : verify(rules.verifyClient, asker)
}

function admitOrigin<Request> (rule: OriginRule<Request>, asker: Asker<Request>): Admission {
  const { origin } = asker.raw.headers
  if (rule === '*' || origin === undefined) return null // no browser: it could say what it likes
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
  // a promise is true, whatever it resolves with
  if (isThenable(verdict)) return Promise.resolve(verdict).then(isWelcome => isWelcome ? null : refusal())
  return verdict ? null : refusal()
}

/** As `ws` calls it: with a second parameter it calls back. */
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
