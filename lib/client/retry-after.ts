// How long a server asks to be left alone. RFC 9110 §10.2.3.
const LONGEST = 10 * 60_000
const SECONDS = /^\d+$/
// §5.6.7. Date.parse() takes much more: '1.5' and '-1' are days of 2001 to it.
const IMF_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$/

/**
 * @param now milliseconds since 1970
 * @returns milliseconds, at most ten minutes; null for anything that the RFC does not define
 */
export function readRetryAfter (value: string | readonly string[] | undefined, now: number): number | null {
  const field = typeof value === 'string' ? value.trim() : ''
  if (SECONDS.test(field)) return Math.min(Number(field) * 1000, LONGEST)
  const date = IMF_DATE.test(field) ? Date.parse(field) : Number.NaN
  return Number.isNaN(date) ? null : Math.min(Math.max(date - now, 0), LONGEST)
}
