// Where a handshake goes when a server says elsewhere.
import { test } from 'tap'
import { Redirects, unixSocketOf, type Destination } from '../../lib/client/redirects.ts'

const HEADERS = { Authorization: 'Bearer secret', cookie: 'a=b', Host: 'public.example', 'proxy-authorization': 'x', 'x-own': 'mine' }
const REQUEST = { cert: 'c', key: 'k', pfx: 'p', passphrase: 's', servername: 'a', auth: 'u:p', port: 5, host: 'a', socketPath: '/s', ca: 'ca', family: 4 }

function start (url: string, limit = 5): Redirects {
  return new Redirects({ url: new URL(url), headers: HEADERS, request: REQUEST }, limit)
}

function follow (redirects: Redirects, location: string, statusCode = 302): Destination | null {
  return redirects.next({ statusCode, headers: { location } })
}

test('each kind of redirect is followed, against the URL that it came from', async t => {
  for (const statusCode of [301, 302, 303, 307, 308]) {
    t.equal(follow(start('ws://a/x/y?z'), '../else?q', statusCode)?.url.href, 'ws://a/else?q', String(statusCode))
  }
  const redirects = start('ws://a/')
  t.equal(follow(redirects, 'https://b/x/y')?.url.href, 'https://b/x/y')
  t.equal(follow(redirects, 'z#fragment')?.url.href, 'https://b/x/z', 'a fragment is none of a WebSocket URL')
})

test('no redirect: another status code, no Location, and where none are followed', async t => {
  for (const statusCode of [101, 200, 300, 304, 401, 503]) t.equal(follow(start('ws://a/'), '/b', statusCode), null, String(statusCode))
  t.equal(start('ws://a/').next({ statusCode: 302, headers: {} }), null)
  t.equal(follow(start('ws://a/', 0), '/b'), null)
})

test('on the same host, and from no TLS to TLS, everything goes on', async t => {
  for (const [from, to] of [['ws://a/', '/b'], ['ws://a:80/', 'http://a/b'], ['wss://a/', 'https://a/b'], ['ws://a/', 'wss://a/b']] as const) {
    const next = follow(start(from), to)!
    t.equal(next.headers, HEADERS, to)
    t.equal(next.request, REQUEST, to)
  }
  t.equal(follow(start('ws://user:pass@a/'), 'ws://a/b')?.url.href, 'ws://user:pass@a/b')
})

test('to another host or port, or from TLS to none, no credentials go', async t => {
  for (const [from, to] of [['ws://a/', 'ws://b/'], ['ws://a/', 'ws://a:81/'], ['wss://a/', 'ws://a/'], ['ws://a/', '//b/'], ['ws://user:pass@a/', 'ws://b/']] as const) {
    const next = follow(start(from), to)!
    t.strictSame(next.headers, { 'x-own': 'mine' }, to)
    t.strictSame(next.request, { ca: 'ca', family: 4 }, to)
    t.strictSame([next.url.username, next.url.password], ['', ''], to)
  }
})

test('what was taken away does not come back, on the way back to the first host neither', async t => {
  const redirects = start('ws://a/')
  follow(redirects, 'ws://b/')
  t.strictSame(follow(redirects, 'ws://a/again')?.headers, { 'x-own': 'mine' })
})

test('a circle, one redirect too many, and what is no URL of a WebSocket are refused', async t => {
  const circle = start('ws://a/')
  follow(circle, '/b')
  t.throws(() => follow(circle, 'ws://a/'), { name: 'HandshakeError', code: 'FST_WS_REDIRECT', statusCode: 302, message: /leads in a circle/ })
  const far = start('ws://a/', 2)
  follow(far, '/1')
  follow(far, '/2')
  t.throws(() => follow(far, '/3', 307), { statusCode: 307, headers: { location: '/3' }, message: /maxRedirects \(2\)/ })
  for (const location of ['ftp://a/', 'ws+unix:/run/s:/', 'http://', 'mailto:a', 'file:///etc/passwd']) {
    t.throws(() => follow(start('ws://a/'), location), { code: 'FST_WS_REDIRECT', message: /not a WebSocket URL/ }, location)
  }
})

test('a Unix domain socket is a host of its own', async t => {
  const start = (): Redirects => new Redirects({ url: new URL('ws+unix:/run/a.sock:/x/y'), headers: HEADERS, request: {} }, 5)
  const inside = follow(start(), '../else?q')!
  t.equal(inside.url.href, 'ws+unix:/run/a.sock:/else?q')
  t.equal(inside.headers, HEADERS)
  const outside = follow(start(), 'ws://a/')!
  t.equal(outside.url.href, 'ws://a/')
  t.strictSame(outside.headers, { 'x-own': 'mine' })
  t.strictSame(follow(start(), '//a/')?.headers, { 'x-own': 'mine' })
})

test('a URL names a Unix domain socket and what to ask it for', async t => {
  for (const [url, socketPath, path] of [
    ['ws+unix:/run/a.sock:/x?q=a:b', '/run/a.sock', '/x?q=a:b'],
    ['wss+unix:///run/a.sock:/x:y', '/run/a.sock', '/x:y'],
    ['ws+unix:/run/a.sock', '/run/a.sock', '/'],
    ['ws+unix:/run/a.sock:x', '/run/a.sock', '/x']
  ] as const) t.strictSame(unixSocketOf(new URL(url)), { socketPath, path }, url)
  t.equal(unixSocketOf(new URL('ws://a/b:c')), null)
})
