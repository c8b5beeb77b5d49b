import { test } from 'tap'
import { checked, checkOption, CONNECTION_NAMES, PLUGIN_NAMES, ROUTE_NAMES } from '../../lib/options/checks.ts'
import { Topics } from '../../lib/topics/topics.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'

type Name = Exclude<keyof WebSocketPluginOptions, 'options'>

const MAX_TIMEOUT = 2 ** 31 - 1

const check = (options: WebSocketPluginOptions): WebSocketPluginOptions => checked(options, PLUGIN_NAMES)

const right: Array<[name: Name, values: unknown[]]> = [
  ['maxPayload', [0, 1, Number.MAX_SAFE_INTEGER]],
  ['highWaterMark', [1, Number.MAX_SAFE_INTEGER]],
  ['handshakeTimeout', [1, MAX_TIMEOUT]],
  ['closeTimeout', [1, MAX_TIMEOUT]],
  ['maxBufferedAmount', [0, Number.MAX_SAFE_INTEGER]],
  ['stallTimeout', [1, MAX_TIMEOUT]],
  ['heartbeat', [false, { interval: 1, timeout: MAX_TIMEOUT }, { interval: 1, timeout: 1, rtt: 5 }]],
  ['maxConnections', [0, 5]],
  ['maxConnectionsPerAddress', [1, 5, { max: 5 }, { max: 1, key: () => null }]],
  ['rateLimit', [false, { messages: 0.1 }, { bytes: 65_536 }, { messages: 5, bytes: 5, burst: 0.5, onExceeded: 'wait', maxWait: 1 }]],
  ['messageConcurrency', [1, 5]],
  ['shutdownTimeout', [1, MAX_TIMEOUT]],
  ['handleProtocols', [() => false]],
  ['protocols', [[], ['chat'], ['chat.example.com', 'v1']]],
  ['origin', [
    '*', 'same-origin', 'null', 'https://example.com', 'http://localhost:3000', 'https://[::1]:8', 'capacitor://localhost', 'file://', 'file:///', 'app://', 'https://example.com/', 'wss://example.com', /^https:/,
    ['same-origin', 'https://a.example', /b/], [], () => true
  ]],
  ['perMessageDeflate', [true, false, {}, { contextTakeover: true, windowBits: 9, level: 0, memLevel: 9, threshold: 0, concurrency: 1 }]],
  ['verifyClient', [() => true]],
  ['errorHandler', [() => {}]],
  ['onInvalidMessage', [async () => {}]],
  ['closeLogLevel', ['debug', 'silent', 'own']],
  ['preClose', [() => {}]],
  ['topics', [{}, new Topics()]],
  ['shutdownCode', [1000, 1001, 1012, 4000]]
]
for (const [name, values] of right) {
  test(`${name} may be any value in its range`, async t => {
    for (const value of values) t.equal(check({ [name]: value })[name], value)
  })
}

const anInteger = (min: number, max: number, others: unknown[] = []): unknown[] =>
  [min - 1, max + 1, min + 0.5, Number.NaN, Infinity, String(min), 10n, null, true, [min], {}, () => min, Symbol('one'), ...others]
const wrong: Array<[name: Name, expected: string, values: unknown[]]> = [
  ['maxPayload', 'an integer from 0 to 9007199254740991', anInteger(0, Number.MAX_SAFE_INTEGER)],
  ['highWaterMark', 'an integer from 1 to 9007199254740991', anInteger(1, Number.MAX_SAFE_INTEGER)],
  ['handshakeTimeout', 'an integer from 1 to 2147483647', anInteger(1, MAX_TIMEOUT)],
  ['closeTimeout', 'an integer from 1 to 2147483647', anInteger(1, MAX_TIMEOUT)],
  ['maxBufferedAmount', 'an integer from 0 to 9007199254740991', anInteger(0, Number.MAX_SAFE_INTEGER)],
  ['stallTimeout', 'an integer from 1 to 2147483647', anInteger(1, MAX_TIMEOUT)],
  ['messageConcurrency', 'an integer from 1 to 9007199254740991', anInteger(1, Number.MAX_SAFE_INTEGER)],
  ['maxConnections', 'an integer from 0 to 9007199254740991', anInteger(0, Number.MAX_SAFE_INTEGER)],
  ['maxConnectionsPerAddress', 'an integer from 1, or { max, key }', [0, 1.5, -1, null, true, '5', [5], Infinity]],
  ['rateLimit', 'false or an object of its own options', [true, null, 5, [], () => true]],
  ['heartbeat', 'false or { interval, timeout, rtt } .rtt may be left out. in integers from 1 to 2147483647', [
    true, null, 5, {}, { interval: 5 }, { interval: 0, timeout: 5 }, { interval: 5, timeout: 5.5 }, { interval: 5, timeout: 5, more: 5 }, { interval: 5, timeout: 5, rtt: 0 }
  ]],
  ['shutdownTimeout', 'an integer from 1 to 2147483647', anInteger(1, MAX_TIMEOUT)],
  ['perMessageDeflate', 'true, false or an object of its own options', [null, 5, 'true', [], () => true]],
  ['handleProtocols', 'a function', ['chat', ['chat'], {}, null, false, 1]],
  ['protocols', 'a list of tokens', ['chat', [''], ['a b'], ['a,b'], [1], [null], {}, new Set(['chat']), () => 'chat', null]],
  ['verifyClient', 'a function', [true, null, 'yes', {}]],
  ['onInvalidMessage', 'a function', [true, null, 'close', {}]],
  ['closeLogLevel', "the name of a log level, or 'silent'", [true, null, 5, {}]],
  ['topics', 'an object of options, or a Topics', [null, true, 'news', [], () => ({})]],
  ['shutdownCode', 'a close code that can be sent', [999, 1005, 1006, 1015, 2000, 5000, '1001', null, true]]
]
for (const [name, expected, values] of wrong) {
  test(`${name} must be ${expected}`, async t => {
    for (const value of values) {
      t.throws(() => check({ [name]: value }), { name: 'TypeError', message: new RegExp(`^the WebSocket option ${name} must be ${expected}, not .`) }, String(value))
    }
  })
}

test('what perMessageDeflate says is checked too', async t => {
  for (const [options, message] of [
    [{ windowBits: 8 }, 'the WebSocket option perMessageDeflate.windowBits must be an integer from 9 to 15, not 8'],
    [{ level: 10 }, 'the WebSocket option perMessageDeflate.level must be an integer from 0 to 9, not 10'],
    [{ memLevel: 0 }, 'the WebSocket option perMessageDeflate.memLevel must be an integer from 1 to 9, not 0'],
    [{ threshold: '1' }, 'the WebSocket option perMessageDeflate.threshold must be an integer from 0 to 9007199254740991, not "1"'],
    [{ concurrency: 0 }, 'the WebSocket option perMessageDeflate.concurrency must be an integer from 1 to 9007199254740991, not 0'],
    [{ contextTakeover: 1 }, 'the WebSocket option perMessageDeflate.contextTakeover must be true or false, not 1'],
    [{ zlibDeflateOptions: {} }, 'unknown WebSocket option perMessageDeflate.zlibDeflateOptions: there are contextTakeover, windowBits, level, memLevel, threshold, concurrency']
  ] as const) t.throws(() => check({ perMessageDeflate: options as never }), { name: 'TypeError', message })
})

test('an error shows the value', async t => {
  for (const [value, shown] of [['5', '"5"'], [-1, '-1'], [true, 'true'], [{}, 'object'], [() => 1, 'function']] as const) {
    t.throws(() => check({ maxPayload: value as never }), { message: `the WebSocket option maxPayload must be an integer from 0 to 9007199254740991, not ${shown}` })
  }
})

test('an error names the element of a list', async t => {
  const origin = "'same-origin', '*', 'null', an origin such as 'https://example.com', a RegExp, a list of these or a function"
  for (const [options, message] of [
    [{ origin: ['same-origin', 'https://a.example/b', 'c'] }, `the WebSocket option origin must be ${origin}, not "https://a.example/b" (element 1 of the list)`],
    [{ origin: [5] }, `the WebSocket option origin must be ${origin}, not 5 (element 0 of the list)`],
    [{ origin: 'a.example' }, `the WebSocket option origin must be ${origin}, not "a.example"`],
    [{ protocols: ['chat', 'a b'] }, 'the WebSocket option protocols must be a list of tokens, not "a b" (element 1 of the list)']
  ] as const) t.throws(() => check(options as never), { name: 'TypeError', message })
})

test('an unknown option is an error that names it and those there are', async t => {
  t.throws(() => check({ maxPayLoad: 5 } as WebSocketPluginOptions), {
    name: 'TypeError',
    message: 'unknown WebSocket option maxPayLoad: there are maxPayload, highWaterMark, maxBufferedAmount, stallTimeout, holdTimeout, heartbeat, ' +
      'maxConnections, maxConnectionsPerAddress, rateLimit, messageConcurrency, closeTimeout, perMessageDeflate, handleProtocols, protocols, origin, ' +
      'verifyClient, errorHandler, onInvalidMessage, closeLogLevel, preClose, ' +
      'topics, shutdownCode, handshakeTimeout, shutdownTimeout'
  })
  for (const name of ['toString', 'constructor', '__proto__']) {
    t.throws(() => check(Object.defineProperty({}, name, { value: 5, enumerable: true })), { message: new RegExp(`^unknown WebSocket option ${name}`) })
  }
})

const BAD_ORIGINS = ['example.com', '', 'https://', 'https://a b', 'https://a.example/path', 'https://user@a.example', true, null, 5, {}, [5], ['example.com'], [['https://a.example']]]
test('origin must be something that an Origin header field can be compared with', async t => {
  for (const value of BAD_ORIGINS) {
    t.throws(() => check({ origin: value as string }), { name: 'TypeError', message: /^the WebSocket option origin must be 'same-origin', '\*', 'null', an origin such as / }, String(value))
  }
})

test('what is wrong in an option that has options of its own is named', async t => {
  const messages: Array<[options: unknown, message: string]> = [
    [{ rateLimit: {} }, 'the WebSocket option rateLimit needs messages, bytes or both'],
    [{ rateLimit: { messages: undefined, burst: 5 } }, 'the WebSocket option rateLimit needs messages, bytes or both'],
    [{ rateLimit: { messages: 0 } }, 'the WebSocket option rateLimit.messages must be a number over 0, not 0'],
    [{ rateLimit: { bytes: Infinity } }, 'the WebSocket option rateLimit.bytes must be a number over 0, not Infinity'],
    [{ rateLimit: { bytes: 5, burst: '1' } }, 'the WebSocket option rateLimit.burst must be a number over 0, not "1"'],
    [{ rateLimit: { bytes: 5, onExceeded: 'drop' } }, "the WebSocket option rateLimit.onExceeded must be 'close' or 'wait', not \"drop\""],
    [{ rateLimit: { bytes: 5, maxWait: 0 } }, 'the WebSocket option rateLimit.maxWait must be an integer from 1 to 2147483647, not 0'],
    [{ rateLimit: { perSecond: 5 } }, 'unknown WebSocket option rateLimit.perSecond: there are messages, bytes, burst, onExceeded, maxWait'],
    [{ maxConnectionsPerAddress: {} }, 'the WebSocket option maxConnectionsPerAddress needs max'],
    [{ maxConnectionsPerAddress: { max: 0 } }, 'the WebSocket option maxConnectionsPerAddress.max must be an integer from 1 to 9007199254740991, not 0'],
    [{ maxConnectionsPerAddress: { max: 5, key: 'ip' } }, 'the WebSocket option maxConnectionsPerAddress.key must be a function, not "ip"']
  ]
  for (const [options, message] of messages) t.throws(() => check(options as object), { name: 'TypeError', message }, message)
})

test('what @fastify/websocket says of a wrong function is said too', async t => {
  for (const name of ['errorHandler', 'preClose']) {
    for (const value of ['log', {}, null, false, 5]) t.throws(() => check({ [name]: value }), { name: 'TypeError', message: `invalid ${name} function` })
  }
})

test('an option that is undefined is not given', async t => {
  t.strictSame(check({ maxPayload: undefined, closeTimeout: 5 }), { closeTimeout: 5 })
})

test('what only a registration may say is not of a route, and what needs Fastify not of a connection without it', async t => {
  const without = (names: readonly string[]): string[] => PLUGIN_NAMES.filter(name => !names.includes(name))
  t.strictSame(without(ROUTE_NAMES), ['preClose', 'topics', 'shutdownCode', 'handshakeTimeout', 'shutdownTimeout'])
  t.strictSame(without(CONNECTION_NAMES), [
    'maxConnections', 'maxConnectionsPerAddress', 'handleProtocols', 'origin', 'verifyClient', 'onInvalidMessage', 'closeLogLevel', 'preClose', 'topics',
    'shutdownCode', 'shutdownTimeout'
  ])
  for (const name of PLUGIN_NAMES) t.throws(() => checked({ [name]: undefined, other: 1 }, [name]), { message: `unknown WebSocket option other: there are ${name}` })
})

test('one option is checked alone as it is among others', async t => {
  t.doesNotThrow(() => { checkOption('maxPayload', 5) })
  t.throws(() => { checkOption('maxPayload', '5') }, { message: 'the WebSocket option maxPayload must be an integer from 0 to 9007199254740991, not "5"' })
  t.throws(() => { checkOption('perMessageDeflate', { level: 10 }) }, { message: /^the WebSocket option perMessageDeflate.level must be/ })
})
