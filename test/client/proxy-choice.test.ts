import { test } from 'tap'
import { chooseProxy, isExempt, parseProxy, type Environment } from '../../lib/client/proxy-choice.ts'

const EXEMPT: Array<[list: string, url: string, isExempt: boolean]> = [
  ['', 'ws://a.example/', false],
  ['*', 'ws://a.example/', true],
  ['a.example', 'ws://a.example/', true],
  ['a.example', 'ws://b.a.example/', true],
  ['a.example', 'ws://ba.example/', false],
  ['.a.example', 'ws://a.example/', false],
  ['.a.example', 'ws://b.a.example/', true],
  ['*.a.example', 'ws://c.b.a.example/', true],
  ['other, A.EXAMPLE', 'wss://a.Example./', true],
  ['x.example a.example', 'ws://a.example/', true],
  ['a.example:443', 'wss://a.example/', true],
  ['a.example:443', 'ws://a.example/', false],
  ['a.example:8080', 'ws://a.example:8080/', true],
  ['127.0.0.1', 'ws://127.0.0.1:5000/', true],
  ['127.0.0.1', 'ws://127.0.0.2/', false],
  ['::1', 'ws://[::1]:5000/', true],
  ['[0:0:0:0:0:0:0:1]:5000', 'ws://[::1]:5000/', true],
  ['[::1]:5001', 'ws://[::1]:5000/', false],
  ['[nonsense]', 'ws://a.example/', false],
  ['example', 'ws://a.example/', true],
  [' , ,', 'ws://a.example/', false]
]
for (const [list, url, expected] of EXEMPT) {
  test(`NO_PROXY=${list} ${expected ? 'exempts' : 'does not exempt'} ${url}`, t => {
    t.equal(isExempt(new URL(url), list), expected)
    t.end()
  })
}

const CHOICES: Array<[url: string, environment: Environment, proxy: string | null]> = [
  ['ws://a.example/', {}, null],
  ['ws://a.example/', { http_proxy: 'http://p:1' }, 'http://p:1/'],
  ['ws://a.example/', { https_proxy: 'http://p:1' }, null],
  ['wss://a.example/', { https_proxy: 'http://p:1', http_proxy: 'http://q:1' }, 'http://p:1/'],
  ['https://a.example/', { HTTPS_PROXY: 'https://p:1' }, 'https://p:1/'],
  ['http://a.example/', { http_proxy: 'http://p:1', HTTP_PROXY: 'http://q:1' }, 'http://p:1/'],
  ['ws://a.example/', { http_proxy: ' ', HTTP_PROXY: 'http://q:1' }, 'http://q:1/'],
  ['ws://a.example/', { HTTP_PROXY: 'http://q:1', REQUEST_METHOD: 'GET' }, null],
  ['wss://a.example/', { HTTPS_PROXY: 'http://q:1', REQUEST_METHOD: 'GET' }, 'http://q:1/'],
  ['ws://a.example/', { http_proxy: 'proxy.example:3128' }, 'http://proxy.example:3128/'],
  ['ws://a.example/', { http_proxy: 'http://p:1', NO_PROXY: 'a.example' }, null],
  ['ws://a.example/', { http_proxy: 'http://p:1', no_proxy: 'b.example', NO_PROXY: 'a.example' }, 'http://p:1/'],
  ['ws+unix:/a.sock:/', { http_proxy: 'http://p:1' }, null]
]
for (const [url, environment, proxy] of CHOICES) {
  test(`${url} with ${JSON.stringify(environment)} goes ${proxy === null ? 'direct' : `through ${proxy}`}`, t => {
    t.equal(chooseProxy('env', new URL(url), environment)?.href ?? null, proxy)
    t.end()
  })
}

test('a proxy that is given is asked for every host, and false is none', t => {
  const environment = { http_proxy: 'http://p:1', no_proxy: '*' }
  t.equal(chooseProxy('http://q:2', new URL('ws://a.example/'), environment)?.href, 'http://q:2/')
  t.equal(chooseProxy(new URL('https://q:2'), new URL('ws://a.example/'), environment)?.href, 'https://q:2/')
  t.equal(chooseProxy(false, new URL('ws://a.example/'), environment), null)
  t.end()
})

test('what is no URL of an HTTP proxy is a TypeError that says where it stands, and shows no password', t => {
  t.throws(() => parseProxy('socks5://user:secret@p:1', 'the variable http_proxy'), {
    name: 'TypeError', message: 'the variable http_proxy must be the URL of a proxy, http: or https:, not one of socks5:'
  })
  t.throws(() => parseProxy('http://user:secret@', 'the WebSocket option proxy'), {
    name: 'TypeError', message: 'the WebSocket option proxy must be the URL of a proxy, http: or https:, not an invalid URL'
  })
  t.end()
})
