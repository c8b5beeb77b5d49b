import { test } from 'tap'
import { readRetryAfter } from '../../lib/client/retry-after.ts'

const NOW = Date.UTC(2026, 10, 28, 12, 0, 0)

const FIELDS: Array<[value: string | string[] | undefined, milliseconds: number | null]> = [
  [undefined, null],
  ['0', 0],
  ['120', 120_000],
  [' 7 ', 7_000],
  ['3600', 600_000],
  ['9'.repeat(400), 600_000],
  ['1.5', null],
  ['-1', null],
  ['', null],
  ['soon', null],
  ['Sat, 28 Nov 2026 12:00:30 GMT', 30_000],
  ['Sat, 28 Nov 2026 11:00:00 GMT', 0],
  ['Sun, 29 Nov 2026 12:00:00 GMT', 600_000],
  ['Sat, 28 Nov 2026 99:00:00 GMT', null],
  ['2026-11-28T12:00:30Z', null],
  ['Saturday, 28-Nov-26 12:00:30 GMT', null],
  [['5', '6'], null]
]
for (const [value, milliseconds] of FIELDS) {
  test(`Retry-After: ${JSON.stringify(value)?.slice(0, 40)} is ${milliseconds ?? 'nothing'}`, t => {
    t.equal(readRetryAfter(value, NOW), milliseconds)
    t.end()
  })
}
