// The Retry-After header field. RFC 9110 §10.2.3.
const LONGEST = 10 * 60_000
const SECONDS = /^\d+$/
// §5.6.7. Date.parse() accepts much more: it reads '1.5' and '-1' as days in 2001.
const IMF_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$/

/**
 * @param now milliseconds since 1970
 * @returns milliseconds, at most ten minutes; null for a value that the RFC does not define
 */
export function readRetryAfter (value: string | readonly string[] | undefined, now: number): number | null {
  const field = typeof value === 'string' ? value.trim() : ''
  if (SECONDS.test(field)) return Math.min(Number(field) * 1000, LONGEST)
  const date = IMF_DATE.test(field) ? Date.parse(field) : Number.NaN
  return Number.isNaN(date) ? null : Math.min(Math.max(date - now, 0), LONGEST)
}
