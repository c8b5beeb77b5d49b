// The table of outcome.ts, line by line.
import { test } from 'tap'
import { isCloseInfo, verdictOf } from '../../lib/client/outcome.ts'
import { connectTimedOut, HandshakeError, unanswered, unexpectedResponse, wrongAccept } from '../../lib/errors.ts'
import type { CloseCause, CloseInfo } from '../../types/connection.ts'

function closed (cause: CloseCause, code: number, sent: number | null): CloseInfo {
  return { code, reason: '', wasClean: true, sent: sent === null ? null : { code: sent, reason: '' }, cause }
}

test('what this side has closed with 1000, 1001 or no code is done, whatever the other side says to that', t => {
  for (const code of [1000, 1001, 1005]) {
    for (const answer of [code, 1006, 4000]) t.equal(verdictOf(closed('local', answer, code)), 'done')
  }
  for (const code of [3000, 4999, 1012]) t.equal(verdictOf(closed('local', code, code)), 'retry')
  t.equal(verdictOf(closed('local', 1006, null)), 'retry', 'terminate()')
  t.equal(verdictOf(closed('local', 1000, 4000)), 'retry')
  t.end()
})

test('what the peer has closed with 1000 is done', t => {
  t.equal(verdictOf(closed('peer', 1000, 1000)), 'done')
  t.equal(verdictOf(closed('peer', 1001, 1001)), 'retry', 'a server that goes away may come back')
  t.end()
})

test('codes that would come again have failed, of either side', t => {
  for (const code of [1002, 1003, 1007, 1008, 1009, 1010]) t.equal(verdictOf(closed('peer', code, code)), 'failed')
  for (const code of [1002, 1007, 1009]) t.equal(verdictOf(closed('protocol', 1006, code)), 'failed')
  t.end()
})

test('every other end is worth another try', t => {
  for (const code of [1001, 1005, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) t.equal(verdictOf(closed('peer', code, code)), 'retry')
  for (const cause of ['transport', 'silent', 'stalled'] as const) t.equal(verdictOf(closed(cause, 1006, null)), 'retry')
  t.equal(verdictOf(closed('slow', 1006, 1013)), 'retry')
  t.end()
})

test('a status passes, or does not', t => {
  for (const status of [408, 425, 429, 500, 502, 503, 504, 520, 522, 599]) t.equal(verdictOf(unexpectedResponse(status)), 'retry', String(status))
  for (const status of [200, 204, 301, 302, 307, 400, 401, 403, 404, 407, 410, 426, 499, 501, 505, 511]) {
    t.equal(verdictOf(unexpectedResponse(status)), 'failed', String(status))
  }
  t.equal(verdictOf(wrongAccept('a', 'b')), 'failed', 'a 101 that is wrong')
  t.equal(verdictOf(Object.assign(new Error('no ticket'), { status: 401 })), 'failed')
  t.equal(verdictOf(Object.assign(new Error('no ticket'), { status: 503 })), 'retry')
  t.end()
})

test('where nobody has answered another try makes sense', t => {
  t.equal(verdictOf(connectTimedOut(10_000)), 'retry')
  t.equal(verdictOf(unanswered(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }))), 'retry')
  for (const code of ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENOENT', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'CERT_HAS_EXPIRED']) {
    t.equal(verdictOf(Object.assign(new Error(code), { code })), 'retry', code)
  }
  t.equal(verdictOf(new TypeError('fetch failed')), 'retry')
  t.end()
})

test('an error and a CloseInfo are told apart', t => {
  t.equal(isCloseInfo(closed('peer', 1000, 1000)), true)
  t.equal(isCloseInfo(new HandshakeError('A', 500, 'b')), false)
  t.equal(isCloseInfo(Object.assign(new Error('x'), { wasClean: true })), false)
  t.end()
})
