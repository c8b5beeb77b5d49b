import { createHash } from 'node:crypto'
import { headers } from '@nats-io/transport-node'
import { test } from 'tap'
import { epochOf, fieldOf, headersOf, Layout, readMessage, tokenOf } from '../../../lib/brokers/nats/layout.ts'

test('streams and subjects are those of the documentation', t => {
  const layout = new Layout('ws1')
  t.strictSame([layout.stream(500), layout.subject(500, 'a'), layout.live('plain', 'a'), layout.live(0, '>')], ['ws1-500', 'ws1.500.a', 'ws1.live.plain.a', 'ws1.live.0.>'])
  t.strictSame(['ws1.live.500.a', 'ws1.live.plain.a'].map(subject => layout.sizeIn(subject)), ['500', 'plain'])
  t.end()
})

test('the token of a topic is its base64url, or where that would be long, a hash', t => {
  t.equal(tokenOf('room:1'), 'cm9vbTox')
  t.equal(tokenOf('ü*>. '), Buffer.from('ü*>. ').toString('base64url'))
  t.equal(tokenOf('x'.repeat(255)).length, 340)
  t.equal(tokenOf('x'.repeat(256)), `~${createHash('sha256').update('x'.repeat(256)).digest('base64url')}`)
  t.not(tokenOf('ü'.repeat(1_023) + 'a'), tokenOf('ü'.repeat(1_023) + 'b'))
  t.end()
})

test('a message is known by its tag, or by a checksum; a marker says what it stands for', t => {
  const read = (fields: Record<string, string>, number = 7): unknown => readMessage(number, name => fields[name] ?? '', Buffer.from('body'))
  t.match(read({ 'Ws-Tag': 'abc' }), { number: 7, tag: 'abc', head: { number: 7, tag: 'abc' }, isMarker: false })
  for (const none of ['', 'a b', 'x'.repeat(33)]) t.match(read({ 'Ws-Tag': none }), { tag: /^[0-9a-z]{1,7}$/ })
  t.match(read({ 'Ws-Tag': 'abc', 'Ws-Head': '5.def' }), { number: 7, tag: 'abc', head: { number: 5, tag: 'def' }, isMarker: true })
  for (const head of ['-', 'x', '1.', '.a']) t.match(read({ 'Ws-Tag': 'abc', 'Ws-Head': head }), { head: { number: 7, tag: 'abc' }, isMarker: true }, head)
  for (const number of [0, -1, 1.5, NaN, 2 ** 53]) t.equal(read({}, number), null)
  t.end()
})

test('the epoch of a stream is when it was made, to the nanosecond', t => {
  const made = epochOf('2026-11-29T06:52:22.043977274Z')
  t.match(made, /^[0-9a-z]{1,32}$/)
  t.not(epochOf('2026-11-29T06:52:22.043977275Z'), made)
  t.equal(epochOf('2026-11-29T06:52:22.5Z'), epochOf('2026-11-29T06:52:22.500000000Z'))
  t.ok(epochOf('2026-11-29T06:52:22Z') !== null)
  for (const none of ['', 'undefined', '2026-11-29', '2026-11-29T06:52:22.04+01:00']) t.equal(epochOf(none), null)
  t.end()
})

test('header fields are written and read', t => {
  const fields = headersOf({ 'Ws-Tag': 'abc', 'Nats-Msg-Id': 'a:1' })
  t.equal(fields.get('Nats-Msg-Id'), 'a:1')
  const message = (headers: unknown): never => ({ headers }) as never
  t.strictSame([fieldOf(message(fields), 'Ws-Tag'), fieldOf(message(headers()), 'Ws-Tag'), fieldOf(message(undefined), 'Ws-Tag')], ['abc', '', ''])
  t.end()
})
