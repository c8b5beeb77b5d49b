// Decides whether to try again:
//
// how the connection, or the attempt to open it, ended                                 verdict
// -----------------------------------------------------------------------------------  --------------------------------------------
// we closed it with 1000, 1001 or no code; the peer with 1000                          done
// 1002, 1003, 1007, 1009, 1010 from either side: would fail again the same way;        failed
// 1008: a policy rejects us
// any other code; no Close at all                                                      retry
// a temporary status: 408, 425, 429, 500, 502, 503, 504, 520 to 599                    retry
// any other status: 4xx, 3xx, a page, an invalid 101                                   failed
// no answer: refused, reset, unreachable, unknown host, certificate error, timeout     retry
import type { ReconnectOutcome } from '../../types/client.ts'
import type { CloseInfo } from '../../types/connection.ts'
import { ABNORMAL_CLOSURE, GOING_AWAY, NO_STATUS_RECEIVED, NORMAL_CLOSURE } from '../protocol/close-code.ts'

export type Verdict = 'done' | 'failed' | 'retry'

const OWN_ENDS = new Set([NORMAL_CLOSURE, GOING_AWAY, NO_STATUS_RECEIVED])
const LASTING_CODES = new Set([1002, 1003, 1007, 1008, 1009, 1010])
const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504])

export function verdictOf (outcome: ReconnectOutcome): Verdict {
  return isCloseInfo(outcome) ? verdictOfClose(outcome) : isPassing(outcome) ? 'retry' : 'failed'
}

export function isCloseInfo (outcome: ReconnectOutcome): outcome is CloseInfo {
  return !(outcome instanceof Error) && Object.hasOwn(outcome, 'wasClean')
}

/** Judged by the side that began the ending: the other may answer with the same code, another one, or not at all. */
function verdictOfClose ({ cause, code, sent }: CloseInfo): Verdict {
  const decisive = cause === 'peer' ? code : sent?.code ?? ABNORMAL_CLOSURE
  if (cause === 'local' ? OWN_ENDS.has(decisive) : decisive === NORMAL_CLOSURE) return 'done'
  return LASTING_CODES.has(decisive) ? 'failed' : 'retry'
}

/** Judges the status of a HandshakeError, or of an error that an HTTP client threw while looking up the URL; without a status there was no answer. */
function isPassing (error: Error & { readonly statusCode?: unknown, readonly status?: unknown }): boolean {
  const status = error.statusCode ?? error.status
  return typeof status !== 'number' || PASSING_STATUSES.has(status) || (status >= 520 && status <= 599)
}
