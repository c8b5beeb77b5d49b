import { test } from 'tap'
import { headWithoutUpgrade } from '../../lib/protocol/request-head.ts'

const head = (rawHeaders: string[]): string[] =>
  headWithoutUpgrade({ method: 'POST', url: '/a?b', httpVersion: '1.1', rawHeaders }).toString('latin1').split('\r\n')

test('a head is written as it was read, with repeated fields and names in their case', async t => {
  t.strictSame(head(['hOST', 'a', 'X', '1', 'x', '2', 'Empty', '', 'Latin', '\xe9']), ['POST /a?b HTTP/1.1', 'hOST:a', 'X:1', 'x:2', 'Empty:', 'Latin:\xe9', '', ''])
})

test('no Connection field names upgrade any more, each keeps what else it names', async t => {
  for (const [value, rest] of [
    ['Upgrade', ''], ['upgrade', ''], ['Upgrade, HTTP2-Settings', 'HTTP2-Settings'], ['keep-alive , uPGRADE,close', 'keep-alive, close'], ['upgraded', 'upgraded'], ['Upgrade,Upgrade', '']
  ] as const) {
    t.strictSame(head(['Connection', value, 'CONNECTION', 'upgrade', 'Upgrade', 'h2c', 'X-Connection', 'upgrade']), [
      'POST /a?b HTTP/1.1', `Connection:${rest}`, 'CONNECTION:', 'Upgrade:h2c', 'X-Connection:upgrade', '', ''
    ], value)
  }
})

test('a head does not become longer, so that it is not too long for the parser afterwards', async t => {
  const bytes = headWithoutUpgrade({ method: 'GET', url: '/', httpVersion: '1.1', rawHeaders: ['A', '1', 'Connection', 'Upgrade'] })
  t.equal(bytes.toString(), 'GET / HTTP/1.1\r\nA:1\r\nConnection:\r\n\r\n')
})
