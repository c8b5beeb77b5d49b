import { test } from 'tap'
import type { CloseInfo } from '../../types/connection.ts'
import { boundedCloseCode, errorType } from '../../lib/telemetry/attributes.ts'

test('codes that a peer may choose are two attributes, those of the protocol and our own are themselves', t => {
  const of = (code: number, cause: CloseInfo['cause'], sent: number | null): number | string =>
    boundedCloseCode({ code, cause, sent: sent === null ? null : { code: sent, reason: '' } })
  t.strictSame([1000, 1001, 1005, 1006, 1011, 1015].map(code => of(code, 'peer', code)), [1000, 1001, 1005, 1006, 1011, 1015])
  t.equal(of(3000, 'peer', 3000), '3xxx', 'our answer says the same')
  t.equal(of(4999, 'peer', null), '4xxx')
  t.equal(of(4001, 'local', 4001), 4001)
  t.equal(of(4002, 'local', 4001), '4xxx', 'a peer that answers with another')
  t.equal(of(3456, 'shutdown', 3456), 3456)
  t.equal(new Set(Array.from({ length: 2000 }, (_, i) => of(3000 + i, 'peer', 3000 + i))).size, 2)
  t.end()
})

test('errors of hooks are one type', t => {
  t.strictSame(['FST_WS_ORIGIN', 'FST_ERR_RATE', 'other', 'ECONNRESET'].map(errorType), ['FST_WS_ORIGIN', 'other', 'other', 'other'])
  t.end()
})
