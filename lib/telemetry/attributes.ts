// Attributes of metrics, bounded so that no peer can create an unlimited number of series.
import type { CloseInfo } from '../../types/connection.ts'

// the last code of RFC 6455 and its registry
const MAX_REGISTERED = 1015

/**
 * A close code as an attribute. Codes 3000 to 4999 chosen by the peer become `3xxx` or `4xxx`, as each would be a series of its own. Those we sent
 * ourselves stay unchanged.
 */
export function boundedCloseCode ({ code, sent, cause }: Pick<CloseInfo, 'code' | 'sent' | 'cause'>): number | string {
  const isOurs = cause !== 'peer' && sent?.code === code
  return code <= MAX_REGISTERED || isOurs ? code : `${Math.floor(code / 1000)}xxx`
}

/** The error.type of a refusal: one of our codes, or `other` for whatever hooks throw. */
export function errorType (code: string): string {
  return code.startsWith('FST_WS_') ? code : 'other'
}
