import Fastify from 'fastify'
import { test } from 'tap'
import websocket from '../../lib/index.ts'
import { deflateSettings, pluginSettings, routeOptions } from '../../lib/options/settings.ts'
import type { WebSocketPluginOptions, WebSocketRouteOptions } from '../../types/options.ts'
import { within } from '../helpers/http.ts'

type Name = keyof ReturnType<typeof pluginSettings>

const MAX_TIMEOUT = 2 ** 31 - 1

test('every option has the default that its documentation names', async t => {
  t.strictSame(pluginSettings({}), {
    maxPayload: 1_048_576,
    highWaterMark: 65_536,
    maxBufferedAmount: 16_777_216,
    stallTimeout: 60_000,
    holdTimeout: 10_000,
    perMessageDeflate: false,
    heartbeat: { interval: 30_000, timeout: 30_000 },
    maxConnections: Infinity,
    messageConcurrency: Infinity,
    handshakeTimeout: 10_000,
    closeTimeout: 5_000,
    shutdownTimeout: 5_000,
    origin: 'same-origin',
    shutdownCode: 1001,
    closeLogLevel: 'info'
  })
})

test('an option that is undefined has its default', async t => {
  t.strictSame(pluginSettings({ maxPayload: undefined, protocols: undefined } as unknown as WebSocketPluginOptions), pluginSettings({}))
  t.strictSame(routeOptions({ maxPayload: undefined } as unknown as WebSocketRouteOptions), {})
})

test('what was given is not held on to', async t => {
  const options = { maxPayload: 5 }
  const settings = pluginSettings(options)
  options.maxPayload = 6
  t.equal(settings.maxPayload, 5)
})

test('what Fastify itself hands to a plugin is none of ours', async t => {
  t.match(pluginSettings({ prefix: '/a', logLevel: 'warn', logSerializers: {} } as WebSocketPluginOptions), { maxPayload: 1_048_576 })
})

const right: Array<[name: Name, values: unknown[]]> = [
  ['maxPayload', [0, 1, Number.MAX_SAFE_INTEGER]],
  ['highWaterMark', [1, Number.MAX_SAFE_INTEGER]],
  ['handshakeTimeout', [1, MAX_TIMEOUT]],
  ['closeTimeout', [1, MAX_TIMEOUT]],
  ['maxBufferedAmount', [0, Number.MAX_SAFE_INTEGER]],
  ['stallTimeout', [1, MAX_TIMEOUT]],
  ['heartbeat', [false, { interval: 1, timeout: MAX_TIMEOUT }]],
  ['maxConnections', [0, 5]],
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
  ['closeLogLevel', ['debug', 'silent', 'own']],
  ['preClose', [() => {}]],
  ['shutdownCode', [1000, 1001, 1012, 4000]]
]
for (const [name, values] of right) {
  test(`${name} may be any value in its range`, async t => {
    for (const value of values) t.equal(pluginSettings({ [name]: value })[name], value)
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
  ['heartbeat', 'false or { interval, timeout } in integers from 1 to 2147483647', [
    true, null, 5, {}, { interval: 5 }, { interval: 0, timeout: 5 }, { interval: 5, timeout: 5.5 }, { interval: 5, timeout: 5, more: 5 }
  ]],
  ['shutdownTimeout', 'an integer from 1 to 2147483647', anInteger(1, MAX_TIMEOUT)],
  ['perMessageDeflate', 'true, false or an object of its own options', [null, 5, 'true', [], () => true]],
  ['handleProtocols', 'a function', ['chat', ['chat'], {}, null, false, 1]],
  ['protocols', 'a list of tokens', ['chat', [''], ['a b'], ['a,b'], [1], [null], {}, new Set(['chat']), () => 'chat', null]],
  ['verifyClient', 'a function', [true, null, 'yes', {}]],
  ['closeLogLevel', "the name of a log level, or 'silent'", [true, null, 5, {}]],
  ['shutdownCode', 'a close code that can be sent', [999, 1005, 1006, 1015, 2000, 5000, '1001', null, true]]
]
for (const [name, expected, values] of wrong) {
  test(`${name} must be ${expected}`, async t => {
    for (const value of values) {
      t.throws(() => pluginSettings({ [name]: value }), { name: 'TypeError', message: new RegExp(`^the WebSocket option ${name} must be ${expected}, not .`) }, String(value))
    }
  })
}

test('what perMessageDeflate says is checked too, and completed', async t => {
  for (const [options, message] of [
    [{ windowBits: 8 }, 'the WebSocket option perMessageDeflate.windowBits must be an integer from 9 to 15, not 8'],
    [{ level: 10 }, 'the WebSocket option perMessageDeflate.level must be an integer from 0 to 9, not 10'],
    [{ memLevel: 0 }, 'the WebSocket option perMessageDeflate.memLevel must be an integer from 1 to 9, not 0'],
    [{ threshold: '1' }, 'the WebSocket option perMessageDeflate.threshold must be an integer from 0 to 9007199254740991, not "1"'],
    [{ concurrency: 0 }, 'the WebSocket option perMessageDeflate.concurrency must be an integer from 1 to 9007199254740991, not 0'],
    [{ contextTakeover: 1 }, 'the WebSocket option perMessageDeflate.contextTakeover must be true or false, not 1'],
    [{ zlibDeflateOptions: {} }, 'unknown WebSocket option perMessageDeflate.zlibDeflateOptions: there are contextTakeover, windowBits, level, memLevel, threshold, concurrency']
  ] as const) t.throws(() => pluginSettings({ perMessageDeflate: options as never }), { name: 'TypeError', message })
  const defaults = { contextTakeover: false, windowBits: 15, level: 3, memLevel: 8, threshold: 1024, concurrency: 4 }
  t.equal(deflateSettings(false), false)
  t.strictSame(deflateSettings(true), defaults)
  t.strictSame(deflateSettings({ threshold: 0, level: undefined as never }), { ...defaults, threshold: 0 })
})

test('an error shows the value', async t => {
  for (const [value, shown] of [['5', '"5"'], [-1, '-1'], [true, 'true'], [{}, 'object'], [() => 1, 'function']] as const) {
    t.throws(() => pluginSettings({ maxPayload: value as never }), { message: `the WebSocket option maxPayload must be an integer from 0 to 9007199254740991, not ${shown}` })
  }
})

test('an error names the element of a list', async t => {
  const origin = "'same-origin', '*', 'null', an origin such as 'https://example.com', a RegExp, a list of these or a function"
  for (const [options, message] of [
    [{ origin: ['same-origin', 'https://a.example/b', 'c'] }, `the WebSocket option origin must be ${origin}, not "https://a.example/b" (element 1 of the list)`],
    [{ origin: [5] }, `the WebSocket option origin must be ${origin}, not 5 (element 0 of the list)`],
    [{ origin: 'a.example' }, `the WebSocket option origin must be ${origin}, not "a.example"`],
    [{ protocols: ['chat', 'a b'] }, 'the WebSocket option protocols must be a list of tokens, not "a b" (element 1 of the list)']
  ] as const) t.throws(() => pluginSettings(options as never), { name: 'TypeError', message })
})

test('an unknown option is an error that names it and those there are', async t => {
  t.throws(() => pluginSettings({ maxPayLoad: 5 } as WebSocketPluginOptions), {
    name: 'TypeError',
    message: 'unknown WebSocket option maxPayLoad: there are maxPayload, highWaterMark, maxBufferedAmount, stallTimeout, holdTimeout, heartbeat, ' +
      'maxConnections, messageConcurrency, closeTimeout, perMessageDeflate, handleProtocols, protocols, origin, verifyClient, errorHandler, closeLogLevel, preClose, ' +
      'shutdownCode, handshakeTimeout, shutdownTimeout'
  })
  for (const name of ['toString', 'constructor', '__proto__']) {
    t.throws(() => pluginSettings(Object.defineProperty({}, name, { value: 5, enumerable: true })), { message: new RegExp(`^unknown WebSocket option ${name}`) })
  }
})

test('an option of the plugin alone is an error on a route', async t => {
  for (const name of ['handshakeTimeout', 'shutdownTimeout', 'shutdownCode', 'preClose']) {
    t.throws(() => routeOptions({ [name]: 5 } as WebSocketRouteOptions), {
      name: 'TypeError',
      message: `unknown WebSocket option ${name}: there are maxPayload, highWaterMark, maxBufferedAmount, stallTimeout, holdTimeout, heartbeat, ` +
        'maxConnections, messageConcurrency, closeTimeout, perMessageDeflate, handleProtocols, protocols, origin, verifyClient, errorHandler, closeLogLevel'
    })
  }
})

test('a registration with a wrong option is rejected with the message that names it', async t => {
  for (const [options, message] of [
    [{ maxPayload: '5' }, 'the WebSocket option maxPayload must be an integer from 0 to 9007199254740991, not "5"'],
    [{ highWaterMark: 0 }, 'the WebSocket option highWaterMark must be an integer from 1 to 9007199254740991, not 0'],
    [{ fragments: true }, /^unknown WebSocket option fragments: /]
  ] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    const registration = (async () => { await app.register(websocket, options as never) })()
    await t.rejects(within(2000, registration, 'an answer'), { message })
  }
})

const BAD_ORIGINS = ['example.com', '', 'https://', 'https://a b', 'https://a.example/path', 'https://user@a.example', true, null, 5, {}, [5], ['example.com'], [['https://a.example']]]
test('origin must be something that an Origin header field can be compared with', async t => {
  for (const value of BAD_ORIGINS) {
    t.throws(() => pluginSettings({ origin: value as string }), { name: 'TypeError', message: /^the WebSocket option origin must be 'same-origin', '\*', 'null', an origin such as / }, String(value))
  }
})

test('what @fastify/websocket says of a wrong function is said too', async t => {
  for (const name of ['errorHandler', 'preClose']) {
    for (const value of ['log', {}, null, false, 5]) t.throws(() => pluginSettings({ [name]: value }), { name: 'TypeError', message: `invalid ${name} function` })
  }
})

test('the options under `options` count where the plugin says nothing else', async t => {
  const handleProtocols = (): false => false
  t.match(pluginSettings({ options: { maxPayload: 5, closeTimeout: 6, handleProtocols }, closeTimeout: 7 }), { maxPayload: 5, closeTimeout: 7, handleProtocols })
  t.throws(() => pluginSettings({ options: { maxPayload: '5' as never } }), { message: /^the WebSocket option maxPayload must be/ })
  for (const options of [null, 5, 'x']) t.throws(() => pluginSettings({ options: options as never }), { message: /^the WebSocket option options must be an object/ })
})
