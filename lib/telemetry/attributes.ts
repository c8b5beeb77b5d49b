// What metrics are told apart by, so that no peer can make any number of series.
import type { CloseInfo } from '../../types/connection.ts'

// of RFC 6455 and its registry
const MAX_REGISTERED = 1015

/**
 * A close code as an attribute. The peer may choose any of 3000 to 4999, each of which would be a series of its own: of those it is `3xxx` or
 * `4xxx`. One that we have said ourselves stays what it is.
 */
export function boundedCloseCode ({ code, sent, cause }: Pick<CloseInfo, 'code' | 'sent' | 'cause'>): number | string {
  const isOurs = cause !== 'peer' && sent?.code === code
  return code <= MAX_REGISTERED || isOurs ? code : `${Math.floor(code / 1000)}xxx`
}

/** Of a refusal: a code of ours, or `other`, whatever hooks throw. */
export function errorType (code: string): string {
  return code.startsWith('FST_WS_') ? code : 'other'
}
