import { test } from 'tap'
import type { IncomingHttpHeaders } from 'node:http'
import { createOpeningHandshake, readChosenExtensions, readHandshakeResponse, type HandshakeResponse } from '../../lib/protocol/client-handshake.ts'
import { readOpeningHandshake, responseHeaders } from '../../lib/protocol/server-handshake.ts'

// RFC 6455 §1.3
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

/** The answer of RFC 6455 §1.2 with these header fields changed. */
function response (changes: IncomingHttpHeaders = {}, statusCode: number | undefined = 101) {
  return { statusCode, headers: { upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-accept': ACCEPT, ...changes } }
}

test('a client sends a new key of 16 bytes each time', async t => {
  const keys = new Set(Array.from({ length: 10 }, () => createOpeningHandshake().key))
  t.equal(keys.size, 10)
  for (const key of keys) t.equal(Buffer.from(key, 'base64').length, 16, key)
})

test('a client sends the header fields of RFC 6455 §4.1', async t => {
  const { key, headers } = createOpeningHandshake()
  const fields = { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Key': key, 'Sec-WebSocket-Version': '13' }
  t.strictSame(headers, fields)
  const offering = createOpeningHandshake(['chat', '__proto__'])
  t.strictSame(offering.headers, { ...fields, 'Sec-WebSocket-Key': offering.key, 'Sec-WebSocket-Protocol': 'chat, __proto__' })
})

test('a client cannot offer what is not a token, nor a subprotocol twice', async t => {
  for (const protocol of ['', ' ', 'a b', 'a,b', 'a\r\nb: c', 'ch\u00e4t']) {
    t.throws(() => createOpeningHandshake(['chat', protocol]),
      { name: 'SyntaxError', message: `${JSON.stringify(protocol)} is not a subprotocol name: it must be a token` })
  }
  t.throws(() => createOpeningHandshake(['chat', 'superchat', 'chat']), { name: 'SyntaxError', message: 'a subprotocol is offered twice' })
})

/** As node:http shows header fields. */
function parsed (headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

test('a server accepts what a client sends, and the client what the server answers', async t => {
  const { key, headers } = createOpeningHandshake(['chat', 'superchat'])
  const read = readOpeningHandshake({ method: 'GET', httpVersion: '1.1', headers: parsed(headers), rawHeaders: ['host', 'a', ...Object.entries(headers).flat()] })
  t.strictSame(read, { key, protocols: ['chat', 'superchat'], extensions: [] })
  const answer = responseHeaders(read.key, 'superchat')
  t.equal(readHandshakeResponse({ statusCode: 101, headers: parsed(answer) }, key, ['chat', 'superchat']).protocol, 'superchat')
})

test('the answer of RFC 6455 §1.2 is accepted', async t => {
  t.equal(readHandshakeResponse(response({ 'sec-websocket-protocol': 'chat' }), KEY, ['chat', 'superchat']).protocol, 'chat')
})

test('an answer without a subprotocol is accepted, whatever was offered', async t => {
  t.equal(readHandshakeResponse(response(), KEY).protocol, '')
  t.equal(readHandshakeResponse(response(), KEY, ['chat']).protocol, '')
})

test('the tokens of the answer\'s Upgrade and Connection count in any case', async t => {
  t.equal(readHandshakeResponse(response({ upgrade: 'WebSocket', connection: 'keep-alive, UPGRADE' }), KEY).protocol, '')
})

test('an answer other than 101 fails the handshake with that status', async t => {
  for (const statusCode of [100, 200, 301, 401, 404, 426, 503]) {
    t.throws(() => readHandshakeResponse(response({}, statusCode), KEY), {
      name: 'HandshakeError',
      code: 'FST_WS_UNEXPECTED_RESPONSE',
      statusCode,
      message: `Unexpected server response: ${statusCode}`
    })
  }
  t.throws(() => readHandshakeResponse({ headers: {} }, KEY), { statusCode: 0, message: 'Unexpected server response: 0' }, 'none')
})

test('an answer that does not switch to WebSocket fails the handshake', async t => {
  for (const [upgrade, shown] of [[undefined, 'none'], ['h2c', '"h2c"'], ['websocket, h2c', '"websocket, h2c"'], ['', '""']] as const) {
    t.throws(() => readHandshakeResponse(response({ upgrade }), KEY),
      { code: 'FST_WS_UPGRADE', statusCode: 101, message: `the server's Upgrade header field does not switch to WebSocket, it is ${shown}` })
  }
  for (const [connection, shown] of [[undefined, 'none'], ['close', '"close"'], ['', '""']] as const) {
    t.throws(() => readHandshakeResponse(response({ connection }), KEY),
      { code: 'FST_WS_UPGRADE', statusCode: 101, message: `the server's Connection header field does not switch to WebSocket, it is ${shown}` })
  }
})

test('an answer to another key fails the handshake', async t => {
  const accepts: Array<[value: string | undefined, shown: string]> = [
    [undefined, 'none'], ['', '""'], [KEY, `"${KEY}"`], [ACCEPT.toLowerCase(), `"${ACCEPT.toLowerCase()}"`], [`${ACCEPT}, ${ACCEPT}`, `"${ACCEPT}, ${ACCEPT}"`]
  ]
  for (const [accept, shown] of accepts) {
    t.throws(() => readHandshakeResponse(response({ 'sec-websocket-accept': accept }), KEY), {
      code: 'FST_WS_ACCEPT',
      statusCode: 101,
      message: `the Sec-WebSocket-Accept header field must be "${ACCEPT}", it is ${shown}`
    })
  }
})

test('the extensions of an answer are read, and fail the handshake where they were not offered', async t => {
  const answer = (value: string): HandshakeResponse => readHandshakeResponse(response({ 'sec-websocket-extensions': value }), KEY)
  const refuses = (read: () => unknown, value: string): void => {
    t.throws(read, { code: 'FST_WS_EXTENSIONS', statusCode: 101, message: `the server chose extensions that were not offered: "${value}"` })
  }
  for (const malformed of ['a; b=', 'a; =b']) refuses(() => answer(malformed), malformed)
  const wishes = { contextTakeover: true, windowBits: 15 }
  for (const value of ['permessage-deflate; server_max_window_bits=10', 'x-other; a']) refuses(() => readChosenExtensions(answer(value), false), value)
  refuses(() => readChosenExtensions(answer('x-other'), wishes), 'x-other')
  t.strictSame(readChosenExtensions(readHandshakeResponse(response(), KEY), wishes), { extensions: '', deflate: null })
  t.match(readChosenExtensions(answer('permessage-deflate ;server_max_window_bits="10"'), wishes), {
    extensions: 'permessage-deflate; server_max_window_bits=10',
    deflate: { server: { contextTakeover: true, windowBits: 10 } }
  })
})

test('an answer with an empty field has chosen nothing', async t => {
  t.strictSame(readHandshakeResponse(response({ 'sec-websocket-protocol': '', 'sec-websocket-extensions': '' }), KEY, ['chat']), { protocol: '', extensions: [] })
})

test('an answer with a subprotocol that was not offered fails the handshake', async t => {
  const answers: Array<[protocol: string, offered: string[] | undefined]> = [
    ['chat', undefined], ['chat', []], ['mqtt', ['chat']], ['Chat', ['chat']], ['chat, superchat', ['chat', 'superchat']],
    ['__proto__', ['chat']], ['constructor', []]
  ]
  for (const [protocol, offered] of answers) {
    t.throws(() => readHandshakeResponse(response({ 'sec-websocket-protocol': protocol }), KEY, offered), {
      code: 'FST_WS_PROTOCOL',
      statusCode: 101,
      message: `the server chose the subprotocol "${protocol}", which was not offered`
    })
  }
})
