import { test } from 'tap'
import { isOrigin, isOriginPattern, isSameOrigin, matchesOrigin } from '../../lib/protocol/origin.ts'

test('an origin is a scheme, a host and perhaps a port, or null', async t => {
  for (const value of ['https://example.com', 'http://localhost:8000', 'HTTPS://Example.com', 'https://[::1]:80', 'chrome-extension://abc', 'file://', 'app://', 'null']) {
    t.equal(isOrigin(value), true, value)
  }
  for (const value of ['', 'example.com', 'https:', 'https://', 'http://', 'WS://', 'wss://', 'ftp://', 'file:', 'file:///', 'file:///a', 'https://a/', 'https://a/b', 'https://a?b', 'https://a#b', 'https://u@a', 'https://a b', 'https://a\\b', '//a', 'NULL']) {
    t.equal(isOrigin(value), false, value)
  }
})

test('the option may name an origin with a slash behind it, and no more of a URL', async t => {
  for (const value of ['https://example.com', 'https://example.com/', 'http://localhost:8000/', 'file://', 'file:///', 'null']) {
    t.equal(isOriginPattern(value), true, value)
  }
  for (const value of ['', '/', 'https:', 'https://', 'https:///', 'https://a//', 'https://a/b', 'https://a/b/', 'https://a?b', 'example.com/', 'null/', 'file:////']) {
    t.equal(isOriginPattern(value), false, value)
  }
})

const same: Array<[origin: string, host: string, isSecure: boolean]> = [
  ['http://example.com', 'example.com', false],
  ['http://example.com:80', 'example.com', false],
  ['http://example.com', 'example.com:80', false],
  ['http://example.com:8000', 'example.com:8000', false],
  ['http://EXAMPLE.com', 'example.COM', false],
  ['http://[::1]:8000', '[::1]:8000', false],
  // behind a proxy that ends TLS and is not trusted
  ['https://example.com', 'example.com', false],
  ['https://example.com', 'example.com:443', false],
  ['https://example.com:8443', 'example.com:8443', false],
  ['https://example.com', 'example.com', true],
  ['https://example.com:443', 'example.com', true],
  // clients that are no browsers name the URL that they connect to
  ['ws://example.com', 'example.com', false],
  ['ws://example.com:80', 'example.com', false],
  ['WS://example.com:8000', 'example.com:8000', false],
  ['wss://example.com', 'example.com', false],
  ['wss://example.com:443', 'example.com', true],
  ['wss://example.com', 'example.com:443', true]
]
for (const [origin, host, isSecure] of same) {
  test(`a page of ${origin} is of the origin of Host: ${host}${isSecure ? ' over TLS' : ''}`, async t => {
    t.equal(isSameOrigin(origin, host, isSecure), true)
  })
}

const other: Array<[origin: string, host: string | undefined, isSecure: boolean]> = [
  ['http://evil.example', 'example.com', false],
  ['http://example.com.evil.example', 'example.com', false],
  ['http://evil-example.com', 'example.com', false],
  ['http://sub.example.com', 'example.com', false],
  ['http://example.co', 'example.com', false],
  ['http://example.com:8001', 'example.com:8000', false],
  ['http://example.com', 'example.com:443', false],
  ['http://example.com:443', 'example.com', false],
  ['http://example.com', 'example.com', true],
  ['http://example.com@evil.example', 'example.com', false],
  ['http://evil.example@example.com', 'example.com', false],
  ['http://example.com/', 'example.com', false],
  ['http://example.com', 'example.com/', false],
  ['http://example.com', 'evil@example.com', false],
  ['http://evil.example', 'evil.example#example.com', false],
  ['ftp://example.com', 'example.com', false],
  ['ws://evil.example', 'example.com', false],
  ['ws://example.com:8001', 'example.com:8000', false],
  ['ws://example.com:443', 'example.com', false],
  ['ws://example.com', 'example.com', true],
  ['wss://example.com:80', 'example.com', false],
  ['wss://', '', false],
  ['https://', '', true],
  ['file://', 'file', false],
  ['file://', '', false],
  ['null', 'null', false],
  ['', '', false],
  ['example.com', 'example.com', false],
  ['http://example.com', undefined, false],
  ['http://', '', false],
  ['http://ex ample.com', 'ex ample.com', false],
  ['http://[', '[evil', false]
]
for (const [origin, host, isSecure] of other) {
  test(`a page of ${JSON.stringify(origin)} is not of the origin of Host: ${host}${isSecure ? ' over TLS' : ''}`, async t => {
    t.equal(isSameOrigin(origin, host, isSecure), false)
  })
}

test('a string is compared as an origin, a RegExp with the whole field', async t => {
  t.equal(matchesOrigin('https://example.com', 'https://Example.com:443'), true)
  t.equal(matchesOrigin('https://example.com', 'http://example.com'), false)
  t.equal(matchesOrigin('https://example.com.evil.example', 'https://example.com'), false)
  t.equal(matchesOrigin('capacitor://localhost', 'Capacitor://localhost'), true)
  t.equal(matchesOrigin('capacitor://localhost', 'ionic://localhost'), false)
  t.equal(matchesOrigin('null', 'null'), true)
  t.equal(matchesOrigin('null', 'file://x'), false)
  t.equal(matchesOrigin('null', 'file://'), false)
  t.equal(matchesOrigin('file://', 'file://'), true)
  t.equal(matchesOrigin('file://', 'FILE:///'), true)
  t.equal(matchesOrigin('file://evil', 'file://'), false)
  t.equal(matchesOrigin('https://example.com', 'https://example.com/'), true)
  t.equal(matchesOrigin('https://example.com:443', 'https://example.com/'), true)
  t.equal(matchesOrigin('https://example.com/', 'https://example.com/'), false, 'no browser sends a slash')
  t.equal(matchesOrigin('wss://example.com', 'https://example.com'), true)
  t.equal(matchesOrigin('https://example.com', 'wss://example.com:443'), true)
  t.equal(matchesOrigin('ws://example.com', 'https://example.com'), false)
  const global = /^https:\/\/\w+\.example$/g
  for (let i = 0; i < 3; i++) t.equal(matchesOrigin('https://a.example', global), true, 'again')
  t.equal(matchesOrigin('https://a.example.evil', global), false)
})

const anchors: Array<[pattern: RegExp, origin: string, matches: boolean]> = [
  [/https:\/\/example\.com/, 'https://example.com', true],
  [/https:\/\/example\.com/, 'https://example.com.evil.example', false],
  [/example\.com/, 'https://example.com', false],
  [/https:\/\/a|https:\/\/ab/, 'https://ab', true], // no alternative ends the match early
  [/https:\/\/a|https:\/\/ab/, 'https://abc', false],
  [/^https:\/\/a$/, 'https://a', true],
  [/HTTPS:\/\/A/i, 'https://a', true],
  [/HTTPS:\/\/A/, 'https://a', false],
  [/https:\/\/\p{L}/u, 'https://a', true],
  [/https:\/\/a/y, 'https://a', true],
  [/https:\/\/a/m, 'https://a', true]
]
for (const [pattern, origin, matches] of anchors) {
  test(`${String(pattern)} is for the whole field: it ${matches ? 'matches' : 'does not match'} ${origin}`, async t => {
    for (let i = 0; i < 3; i++) t.equal(matchesOrigin(origin, pattern), matches)
    t.equal(pattern.lastIndex, 0)
  })
}
