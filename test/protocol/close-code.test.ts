import { test } from 'tap'
import { isFailureCode, isWireCloseCode } from '../../lib/protocol/close-code.ts'

/** The codes up to `last` that `test` is true for, as a list of ranges. */
function ranges (test: (code: number) => boolean, last = 70_000): string {
  const ranges: string[] = []
  for (let code = -10; code <= last; code++) {
    if (!test(code)) continue
    const start = code
    while (test(code + 1)) code++
    ranges.push(start === code ? String(start) : `${start}-${code}`)
  }
  return ranges.join(', ')
}

test('a Close frame may hold what is defined, and what libraries and applications define', async t => {
  t.equal(ranges(isWireCloseCode), '1000-1003, 1007-1014, 3000-4999')
})

test('a close code is an integer', async t => {
  for (const code of [1000.5, Number.NaN, Infinity, '1000', null, undefined, 1000n, [1000]]) t.equal(isWireCloseCode(code as number), false, String(code))
})

test('the codes of a failure are those of RFC 6455 but for a normal closure, going away and no status', async t => {
  t.equal(ranges(isFailureCode), '1002-1004, 1006-1015')
})
