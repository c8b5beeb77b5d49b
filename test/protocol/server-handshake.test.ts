import { test } from 'tap'
import type { IncomingHttpHeaders } from 'node:http'
import { createOpeningHandshake } from '../../lib/protocol/client-handshake.ts'
import {
  acceptKey, chooseExtensions, chooseProtocol, findLostUpgrade, isWebSocketUpgrade, readOpeningHandshake, responseHeaders, type HandshakeRequest
} from '../../lib/protocol/server-handshake.ts'

// RFC 6455 §1.3
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const KIB_100 = 100 * 1024

/** A header field's value; its values when it is repeated; undefined when it is missing. */
type Fields = Record<string, string | string[] | undefined>

const REQUEST: Fields = {
  Host: 'server.example.com',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': KEY,
  'Sec-WebSocket-Version': '13'
}

/** The example of RFC 6455 §1.2 with these header fields changed, as node:http hands it over. */
function request (changes: Fields = {}, rest: Partial<HandshakeRequest> = {}): HandshakeRequest {
  const rawHeaders: string[] = []
  const headers: IncomingHttpHeaders = {}
  for (const [name, given] of Object.entries({ ...REQUEST, ...changes })) {
    if (given === undefined) continue
    const values = [given].flat()
    for (const value of values) rawHeaders.push(name, value)
    // of Host, node:http shows the first one only
    headers[name.toLowerCase()] = name === 'Host' ? values[0] : values.join(', ')
  }
  return { method: 'GET', httpVersion: '1.1', headers, rawHeaders, ...rest }
}

// The client's opening handshake, read by a server

test('the handshake of RFC 6455 §1.2 is accepted', async t => {
  t.strictSame(readOpeningHandshake(request({ Origin: 'http://example.com', 'Sec-WebSocket-Protocol': 'chat, superchat' })),
    { key: KEY, protocols: ['chat', 'superchat'], extensions: [] })
})

test('a handshake without subprotocols and extensions offers none', async t => {
  t.strictSame(readOpeningHandshake(request()), { key: KEY, protocols: [], extensions: [] })
})

test('a handshake by another method than GET is refused with 405', async t => {
  for (const method of ['POST', 'HEAD', 'CONNECT', 'get']) {
    t.throws(() => readOpeningHandshake(request({}, { method })), {
      name: 'HandshakeError',
      code: 'FST_WS_METHOD',
      statusCode: 405,
      headers: { allow: 'GET' },
      message: `the opening handshake must be a GET request, not "${method}"`
    })
  }
  t.throws(() => readOpeningHandshake(request({}, { method: undefined })),
    { code: 'FST_WS_METHOD', message: 'the opening handshake must be a GET request, not none' })
})

test('a handshake in another version than HTTP/1.1 is refused with 400', async t => {
  for (const httpVersion of ['1.0', '0.9', '2.0']) {
    t.throws(() => readOpeningHandshake(request({}, { httpVersion })), {
      code: 'FST_WS_HTTP_VERSION',
      statusCode: 400,
      message: `the opening handshake needs HTTP/1.1, not HTTP/${httpVersion}`
    })
  }
})

test('a handshake without Host, or with two, is refused with 400', async t => {
  const message = 'the opening handshake needs exactly one Host header field, not'
  t.throws(() => readOpeningHandshake(request({ Host: undefined })),
    { code: 'FST_WS_HOST', statusCode: 400, message: `${message} 0` })

  const twice = request({ Host: ['server.example.com', 'evil.example.com'] })
  t.equal(twice.headers.host, 'server.example.com', 'the second is not to be seen among the headers')
  t.throws(() => readOpeningHandshake(twice), { code: 'FST_WS_HOST', statusCode: 400, message: `${message} 2` })

  const otherCase = request({ hOSt: 'server.example.com' })
  t.throws(() => readOpeningHandshake(otherCase), { code: 'FST_WS_HOST', message: `${message} 2` }, 'in any case')
})

test('an empty Host is one Host', async t => {
  t.equal(readOpeningHandshake(request({ Host: '' })).key, KEY)
})

test('a value that reads "host" is no Host header field', async t => {
  t.equal(readOpeningHandshake(request({ 'X-A': 'host', 'X-B': 'Sec-WebSocket-Key' })).key, KEY)
})

test('the tokens of Upgrade and Connection count in any case and at any place', async t => {
  for (const Upgrade of ['websocket', 'WebSocket', 'h2c, WEBSOCKET', 'websocket,h2c']) {
    t.equal(isWebSocketUpgrade(request({ Upgrade }).headers), true, Upgrade)
    t.equal(readOpeningHandshake(request({ Upgrade })).key, KEY, Upgrade)
  }
  for (const Connection of ['upgrade', 'Upgrade', 'keep-alive, uPgRaDe', 'UPGRADE,keep-alive', ['keep-alive', 'Upgrade']]) {
    t.equal(readOpeningHandshake(request({ Connection })).key, KEY, JSON.stringify(Connection))
  }
})

test('an Upgrade to anything but WebSocket is refused with 400', async t => {
  for (const Upgrade of ['h2c', 'websockets', 'websocket/13', 'web socket', '']) {
    t.equal(isWebSocketUpgrade(request({ Upgrade }).headers), false, Upgrade)
    t.throws(() => readOpeningHandshake(request({ Upgrade })), {
      code: 'FST_WS_UPGRADE',
      statusCode: 400,
      message: `the Upgrade header field must contain "websocket", it is "${Upgrade}"`
    })
  }
})

test('an Upgrade header field that only rawHeaders shows is refused with 400', async t => {
  // Node emits 'upgrade' for a field beyond server.maxHeadersCount too (CVE-2024-37890, https://github.com/websockets/ws/issues/2230)
  const beyondTheLimit = request()
  delete beyondTheLimit.headers.upgrade
  t.ok(beyondTheLimit.rawHeaders.includes('Upgrade'))
  t.equal(isWebSocketUpgrade(beyondTheLimit.headers), false)
  t.throws(() => readOpeningHandshake(beyondTheLimit), {
    code: 'FST_WS_UPGRADE',
    statusCode: 400,
    message: 'the Upgrade header field must contain "websocket", it is none'
  })
})

test('a Connection header field without the token Upgrade is refused with 400', async t => {
  for (const [Connection, shown] of [[undefined, 'none'], ['keep-alive', '"keep-alive"'], ['upgraded', '"upgraded"'], ['', '""']] as const) {
    t.throws(() => readOpeningHandshake(request({ Connection })), {
      code: 'FST_WS_CONNECTION',
      statusCode: 400,
      message: `the Connection header field must contain "Upgrade", it is ${shown}`
    })
  }
})

test('a handshake with a body is refused with 400', async t => {
  const bodies: Fields[] = [
    { 'Content-Length': '5' }, { 'Content-Length': '00' }, { 'Content-Length': '' },
    { 'Transfer-Encoding': 'chunked' }, { 'Transfer-Encoding': '' }, { 'Transfer-Encoding': 'identity', 'Content-Length': '0' }
  ]
  for (const body of bodies) {
    t.throws(() => readOpeningHandshake(request(body)),
      { code: 'FST_WS_BODY', statusCode: 400, message: 'the opening handshake must not have a body' }, JSON.stringify(body))
  }
})

test('a handshake with Content-Length: 0 has no body', async t => {
  t.equal(readOpeningHandshake(request({ 'Content-Length': '0' })).key, KEY)
})

test('any Sec-WebSocket-Version but one 13 is refused with 426, which names 13', async t => {
  const versions: Array<[value: string | string[] | undefined, shown: string]> = [
    [undefined, 'none'], ['', '""'], ['8', '"8"'], ['14', '"14"'], ['013', '"013"'], ['13.0', '"13.0"'], ['0x0d', '"0x0d"'], ['+13', '"+13"'],
    ['1 3', '"1 3"'], [['13', '13'], '"13, 13"'], [['13', '8'], '"13, 8"']
  ]
  for (const [version, shown] of versions) {
    t.throws(() => readOpeningHandshake(request({ 'Sec-WebSocket-Version': version })), {
      code: 'FST_WS_VERSION',
      statusCode: 426,
      // RFC 9110 §15.5.22: a 426 must say what to upgrade to
      headers: { 'sec-websocket-version': '13', upgrade: 'websocket' },
      message: `the Sec-WebSocket-Version header field must be 13, it is ${shown}`
    })
  }
})

test('a Sec-WebSocket-Key that is not 16 bytes in base64 is refused with 400', async t => {
  const keys: Array<[value: string | undefined, what: string]> = [
    [undefined, 'missing'],
    ['', 'empty'],
    [Buffer.alloc(15, 'a').toString('base64'), '15 bytes'],
    [Buffer.alloc(17, 'a').toString('base64'), '17 bytes'],
    [Buffer.alloc(18, 'a').toString('base64'), '18 bytes'],
    [Buffer.alloc(19, 'a').toString('base64'), '19 bytes'],
    ['dGhlIHNhbXBsZSBub25jZQ', 'not padded'],
    ['dGhlIHNhbXBsZSBub25jZQ=', 'half padded'],
    ['dGhlIHNhbXBsZSBub25jZQ===', 'padded too far'],
    ['dGhlIHNhbXBs*SBub25jZQ==', 'a character that base64 does not have'],
    ['dGhlIHNhbXBs-_Bub25jZQ==', 'base64url'],
    ['dGhlIHNhbXBs SBub25jZQ==', 'a space inside'],
    [`${KEY}\n`, 'a line feed behind it'],
    [`${KEY}, ${KEY}`, 'two in one field']
  ]
  for (const [key, what] of keys) {
    t.throws(() => readOpeningHandshake(request({ 'Sec-WebSocket-Key': key })), {
      code: 'FST_WS_KEY',
      statusCode: 400,
      message: 'the Sec-WebSocket-Key header field must appear once and hold 16 bytes in base64, ' +
        `it is ${key === undefined ? 'none' : JSON.stringify(key)}`
    }, what)
  }
})

test('two Sec-WebSocket-Key header fields are refused with 400, also where only rawHeaders shows the second', async t => {
  t.throws(() => readOpeningHandshake(request({ 'Sec-WebSocket-Key': [KEY, KEY] })), { code: 'FST_WS_KEY', statusCode: 400 })
  const hidden = request()
  t.throws(() => readOpeningHandshake({ ...hidden, rawHeaders: [...hidden.rawHeaders, 'sec-websocket-key', 'AAAAAAAAAAAAAAAAAAAAAA=='] }),
    { code: 'FST_WS_KEY', statusCode: 400 })
})

test('a key whose last character has bits to spare is accepted', async t => {
  const key = 'dGhlIHNhbXBsZSBub25jZR=='
  t.equal(Buffer.from(key, 'base64').toString('base64'), KEY, 'the same 16 bytes')
  t.equal(readOpeningHandshake(request({ 'Sec-WebSocket-Key': key })).key, key)
})

test('the first rule that is broken is the one that is reported', async t => {
  const rules: Array<[changes: Fields, rest: Partial<HandshakeRequest>, code: string]> = [
    [{}, { method: 'POST' }, 'FST_WS_METHOD'],
    [{}, { httpVersion: '1.0' }, 'FST_WS_HTTP_VERSION'],
    [{ Host: undefined }, {}, 'FST_WS_HOST'],
    [{ Upgrade: 'h2c' }, {}, 'FST_WS_UPGRADE'],
    [{ Connection: 'close' }, {}, 'FST_WS_CONNECTION'],
    [{ 'Content-Length': '5' }, {}, 'FST_WS_BODY'],
    [{ 'Sec-WebSocket-Version': '8' }, {}, 'FST_WS_VERSION'],
    [{ 'Sec-WebSocket-Key': 'x' }, {}, 'FST_WS_KEY'],
    [{ 'Sec-WebSocket-Protocol': 'a, a' }, {}, 'FST_WS_PROTOCOL'],
    [{ 'Sec-WebSocket-Extensions': ';' }, {}, 'FST_WS_EXTENSIONS']
  ]
  for (let first = 0; first < rules.length; first++) {
    const broken = rules.slice(first)
    const all = request(Object.assign({}, ...broken.map(([changes]) => changes)), Object.assign({}, ...broken.map(([, rest]) => rest)))
    t.throws(() => readOpeningHandshake(all), { code: rules[first]![2] }, rules[first]![2])
  }
})

test('a Sec-WebSocket-Protocol that is not a list of different tokens is refused with 400', async t => {
  const values = ['chat superchat', 'chat;superchat', '"chat"', 'chat, a/b', 'chat, chat', 'chat, superchat, chat', '__proto__, __proto__']
  for (const value of values) {
    t.throws(() => readOpeningHandshake(request({ 'Sec-WebSocket-Protocol': value })), {
      code: 'FST_WS_PROTOCOL',
      statusCode: 400,
      message: `the Sec-WebSocket-Protocol header field must be a list of different tokens, it is ${JSON.stringify(value)}`
    })
  }
  t.throws(() => readOpeningHandshake(request({ 'Sec-WebSocket-Protocol': ['chat', 'chat'] })), { code: 'FST_WS_PROTOCOL' }, 'in two fields')
})

test('an empty offer is an offer of nothing', async t => {
  for (const value of ['', ' ', ',', ' , ', ['', '']]) {
    const { protocols, extensions } = readOpeningHandshake(request({ 'Sec-WebSocket-Protocol': value, 'Sec-WebSocket-Extensions': value }))
    t.strictSame([protocols, extensions], [[], []], String(value))
  }
})

test('subprotocols keep their order and case, over several header fields', async t => {
  const lists: Array<[value: string | string[], protocols: string[]]> = [
    ['chat', ['chat']],
    ['superchat,chat', ['superchat', 'chat']],
    ['Chat, chat', ['Chat', 'chat']],
    [['superchat', 'chat, v1.example.com'], ['superchat', 'chat', 'v1.example.com']],
    ['__proto__, constructor', ['__proto__', 'constructor']]
  ]
  for (const [value, protocols] of lists) {
    t.strictSame(readOpeningHandshake(request({ 'Sec-WebSocket-Protocol': value })).protocols, protocols)
  }
})

test('the offered extensions are read, over several header fields', async t => {
  const { extensions } = readOpeningHandshake(request({
    'Sec-WebSocket-Extensions': ['permessage-deflate; server_max_window_bits="10"; client_max_window_bits', 'permessage-deflate, __proto__']
  }))
  t.strictSame(extensions, [
    { name: 'permessage-deflate', parameters: [['server_max_window_bits', '10'], ['client_max_window_bits', true]] },
    { name: 'permessage-deflate', parameters: [] },
    { name: '__proto__', parameters: [] }
  ])
})

test('a malformed Sec-WebSocket-Extensions is refused with 400', async t => {
  for (const value of ['permessage-deflate;', 'permessage-deflate; a="', 'permessage-deflate; a=""', 'a b']) {
    t.throws(() => readOpeningHandshake(request({ 'Sec-WebSocket-Extensions': value })), {
      code: 'FST_WS_EXTENSIONS',
      statusCode: 400,
      message: `the Sec-WebSocket-Extensions header field is malformed: ${JSON.stringify(value)}`
    })
  }
})

test('a header field of 100 KiB is refused in one pass, and its error shows 64 characters', async t => {
  for (const character of [',', ';', ' ', '\\', '"']) {
    const value = character.repeat(KIB_100)
    const shown = JSON.stringify(`${character.repeat(64)}...`)
    const fields: Array<[name: string, code: string]> = [
      ['Upgrade', 'FST_WS_UPGRADE'],
      ['Connection', 'FST_WS_CONNECTION'],
      ['Sec-WebSocket-Version', 'FST_WS_VERSION'],
      ['Sec-WebSocket-Key', 'FST_WS_KEY'],
      ['Sec-WebSocket-Protocol', 'FST_WS_PROTOCOL'],
      ['Sec-WebSocket-Extensions', 'FST_WS_EXTENSIONS']
    ]
    for (const [name, code] of fields) {
      if (/Protocol|Extensions/.test(name) && /[, ]/.test(character)) continue // an empty list
      t.throws(() => readOpeningHandshake(request({ [name]: value })), { code, message: shown }, `${name}: ${character}`)
    }
  }
  t.throws(() => readOpeningHandshake(request({ 'Sec-WebSocket-Key': 'A'.repeat(KIB_100) })), { code: 'FST_WS_KEY' })
  t.equal(readOpeningHandshake(request({ Connection: `${'a,'.repeat(KIB_100 / 2)}upgrade` })).key, KEY)
})

// The server's answer

test('Sec-WebSocket-Accept answers the key of RFC 6455 §1.3', async t => {
  t.equal(acceptKey(KEY), ACCEPT)
})

test('the 101 has a Sec-WebSocket-Protocol when there is a subprotocol', async t => {
  const fields = { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Accept': ACCEPT }
  t.strictSame(responseHeaders(KEY, 'chat'), { ...fields, 'Sec-WebSocket-Protocol': 'chat' })
  t.strictSame(responseHeaders(KEY, ''), fields)
})

test('handleProtocols is called with what the client offers, and with the request', async t => {
  const request = { url: '/chat' }
  const calls: unknown[] = []
  const handleProtocols = (...given: [protocols: Set<string>, request: unknown]) => {
    calls.push(given)
    return 'superchat'
  }
  t.equal(chooseProtocol(['chat', 'superchat'], request, { handleProtocols }), 'superchat')
  t.strictSame(calls, [[new Set(['chat', 'superchat']), request]])
  t.equal((calls as Array<[unknown, unknown]>)[0]![1], request, 'the request itself')
})

test('handleProtocols goes before the list of preferred subprotocols', async t => {
  t.equal(chooseProtocol(['chat', 'superchat'], null, { handleProtocols: () => 'superchat', protocols: ['chat'] }), 'superchat')
  t.equal(chooseProtocol(['chat'], null, { handleProtocols: () => false, protocols: ['chat'] }), '')
})

test('handleProtocols may choose none', async t => {
  t.equal(chooseProtocol(['chat'], null, { handleProtocols: () => false }), '')
  t.equal(chooseProtocol(['chat'], null, { handleProtocols: () => '' }), '')
  // @ts-expect-error a handler without a return, which types do not allow
  t.equal(chooseProtocol(['chat'], null, { handleProtocols: () => {} }), '')
})

test('handleProtocols that returns what was not offered is the server\'s error, 500', async t => {
  const returned: Array<[value: unknown, shown: string]> = [
    ['superchat', '"superchat"'], ['Chat', '"Chat"'], ['__proto__', '"__proto__"'], [null, '"null"'], [true, '"true"'], [['chat'], '"chat"'],
    [Promise.resolve('chat'), '"[object Promise]"']
  ]
  for (const [value, shown] of returned) {
    t.throws(() => chooseProtocol(['chat'], null, { handleProtocols: () => value as string }), {
      name: 'HandshakeError',
      code: 'FST_WS_HANDLE_PROTOCOLS',
      statusCode: 500,
      message: `handleProtocols returned ${shown}, which the client did not offer`
    })
  }
})

test('what handleProtocols throws is passed on', async t => {
  const error = new Error('no such room')
  t.throws(() => chooseProtocol(['chat'], null, { handleProtocols: () => { throw error } }), error)
})

test('handleProtocols is not called when the client offers nothing', async t => {
  const handleProtocols = () => t.fail('was called') as unknown as string
  t.equal(chooseProtocol([], null, { handleProtocols }), '')
})

test('the first preferred subprotocol that is offered is chosen, and none when none is', async t => {
  t.equal(chooseProtocol(['chat', 'superchat'], null, { protocols: ['superchat', 'chat'] }), 'superchat')
  t.equal(chooseProtocol(['chat', 'superchat'], null, { protocols: ['mqtt', 'chat'] }), 'chat')
  t.equal(chooseProtocol(['chat', 'superchat'], null, { protocols: ['mqtt'] }), '')
  t.equal(chooseProtocol(['chat', 'superchat'], null, { protocols: [] }), '')
  t.equal(chooseProtocol(['__proto__'], null, { protocols: ['constructor', '__proto__'] }), '__proto__')
  t.equal(chooseProtocol([], null, { protocols: ['chat'] }), '')
})

test('without options the first offered subprotocol is chosen', async t => {
  t.equal(chooseProtocol(['chat', 'superchat'], null, {}), 'chat')
  t.equal(chooseProtocol(['constructor'], null, { handleProtocols: undefined, protocols: undefined }), 'constructor')
  t.equal(chooseProtocol([], null, {}), '')
})

test('an extension is chosen where one is wanted and offered', async t => {
  const offers = [{ name: 'x-other', parameters: [] }, { name: 'permessage-deflate', parameters: [] }]
  const none = { extensions: '', deflate: null }
  t.strictSame(chooseExtensions(offers, false), none)
  t.strictSame(chooseExtensions(offers.slice(0, 1), { contextTakeover: true, windowBits: 15 }), none)
  t.match(chooseExtensions(offers, { contextTakeover: true, windowBits: 15 }), { extensions: 'permessage-deflate' })
  t.match(responseHeaders(KEY, '', 'permessage-deflate'), { 'Sec-WebSocket-Extensions': 'permessage-deflate' })
  t.match(createOpeningHandshake([], offers).headers, { 'Sec-WebSocket-Extensions': 'x-other, permessage-deflate' })
})

test('a handshake with as many header fields as the parser keeps is refused, as it may have dropped some', async t => {
  const request = (count: number) => ({
    method: 'GET', httpVersion: '1.1', headers: {}, rawHeaders: Array.from({ length: count }, () => ['A', '1']).flat()
  })
  t.throws(() => readOpeningHandshake(request(1000)), { code: 'FST_WS_HEADERS', statusCode: 431 })
  t.throws(() => readOpeningHandshake(request(20), 20), { code: 'FST_WS_HEADERS', message: /fewer than 20/ })
  t.throws(() => readOpeningHandshake(request(999)), { code: 'FST_WS_HOST' })
})

test('a request with a key but without its upgrade is a handshake that a proxy has changed', async t => {
  for (const changes of [{ Upgrade: undefined, Connection: 'close' }, { Upgrade: undefined }, { Connection: 'keep-alive' }, { Connection: undefined }, { Upgrade: 'h2c' }]) {
    const { Upgrade, Connection } = { Upgrade: 'websocket', Connection: 'Upgrade', ...changes }
    const shown = (value: string | undefined): string => value === undefined ? 'none' : `"${value}"`
    t.match(findLostUpgrade(request(changes)), {
      code: 'FST_WS_UPGRADE_REQUIRED',
      statusCode: 426,
      headers: { upgrade: 'websocket', connection: 'Upgrade' },
      message: `the Upgrade header field is ${shown(Upgrade)}, Connection is ${shown(Connection)}. A proxy has dropped them`
    })
  }
  t.match(findLostUpgrade(request({ Upgrade: undefined, Connection: 'close' }, { httpVersion: '1.0' })), { statusCode: 426 }, 'as nginx sends it')
  t.match(findLostUpgrade(request({ Upgrade: undefined, Connection: undefined }, { httpVersion: '2.0' })), { statusCode: 400, headers: {}, message: /extended CONNECT/ })
  t.equal(findLostUpgrade(request({ Upgrade: undefined, Connection: undefined, 'Sec-WebSocket-Key': undefined })), null, 'a plain request')
  t.equal(findLostUpgrade(request()), null, 'of inject(), say, which no connection stands behind')
})
