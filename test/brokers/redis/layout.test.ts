// What is written in Redis and on its channels, byte by byte: others publish by it.
import { test } from 'tap'
import { Layout, parseEntry, parseHead, partitionOf, plainEntry } from '../../../lib/brokers/redis/layout.ts'

test('a topic lies in the partition that the CRC-32 of its UTF-8 names', t => {
  t.equal(partitionOf('123456789'), 0xcbf43926 % 256)
  t.equal(partitionOf('ü'), partitionOf(Buffer.from([0xc3, 0xbc]).toString()))
  const layout = new Layout('ws1')
  t.equal(layout.channel(38), 'ws1:{38}')
  t.strictSame([layout.headKey('123456789'), layout.listKey('123456789')], ['ws1:{38}:n:123456789', 'ws1:{38}:h:123456789'])
  t.end()
})

test('heads and entries are read, what is none is null', t => {
  const head = { epoch: 'abc', number: 12, tag: 'x1' }
  t.strictSame(parseHead(Buffer.from('abc 12 x1')), head)
  t.strictSame(parseHead(Buffer.from('abc 0 -')), { epoch: 'abc', number: 0, tag: '-' })
  for (const none of ['', 'abc', 'abc 12', 'abc -1 x', 'abc 1e3 x', 'abc 12 x y', 'a.c 12 x', `${'a'.repeat(33)} 1 x`, 'a'.repeat(10_000)]) t.equal(parseHead(Buffer.from(none)), null, none)
  for (const none of [null, undefined, 'abc 12 x1', 5, []]) t.equal(parseHead(none), null)
  const body = Buffer.from([0x7b, 0x7d, 0x0a, 0xff, 0x00])
  t.strictSame(parseEntry(Buffer.concat([Buffer.from('abc 12 x1 y2\n'), body])), { head, previous: 11, previousTag: 'y2', body })
  t.strictSame(parseEntry(plainEntry(body)), { head: null, body })
  const longest = `${'e'.repeat(32)} ${'9'.repeat(15)} ${'t'.repeat(32)} ${'p'.repeat(32)}\n`
  t.match(parseEntry(Buffer.from(longest)), { head: { number: 999_999_999_999_999 } })
  for (const none of ['', '\n', 'x\n', '-', '--\n', 'abc 12 x1\n', 'abc 0 x1 -\n', 'abc 12 x1 y2', 'abc 12 - y2\n', `${' '.repeat(200)}\n`]) t.equal(parseEntry(Buffer.from(none)), null, none)
  t.equal(parseEntry('-\nx'), null)
  t.end()
})
