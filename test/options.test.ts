import Fastify from 'fastify'
import { test } from 'tap'
import websocket from '../lib/index.ts'
import { pluginSettings, routeSettings } from '../lib/options.ts'
import type { WebSocketPluginOptions, WebSocketRouteOptions } from '../types/options.ts'
import { within } from './helpers/http.ts'

const MAX_TIMEOUT = 2 ** 31 - 1

test('every option has the default that its documentation names', async t => {
  t.strictSame(pluginSettings({}), {
    maxPayload: 1_048_576,
    highWaterMark: 65_536,
    maxBufferedAmount: 16_777_216,
    stallTimeout: 60_000,
    heartbeat: { interval: 30_000, timeout: 30_000 },
    maxConnections: Infinity,
    messageConcurrency: Infinity,
    handshakeTimeout: 10_000,
    closeTimeout: 5_000,
    shutdownTimeout: 5_000
  })
})

test('an option that is undefined has its default', async t => {
  t.strictSame(pluginSettings({ maxPayload: undefined, protocols: undefined } as unknown as WebSocketPluginOptions), pluginSettings({}))
  const plugin = pluginSettings({ maxPayload: 5 })
  t.strictSame(routeSettings(plugin, { maxPayload: undefined } as unknown as WebSocketRouteOptions), plugin)
})

test('the options of a route come before those of the plugin', async t => {
  const errorHandler = (): void => {}
  const handleProtocols = (): false => false
  const plugin = pluginSettings({ maxPayload: 5, closeTimeout: 6, shutdownTimeout: 7, protocols: ['a'], handleProtocols })
  const route = routeSettings(plugin, { maxPayload: 8, protocols: ['b'], errorHandler })
  t.match(route, { maxPayload: 8, closeTimeout: 6, highWaterMark: 65_536, protocols: ['b'], handleProtocols, errorHandler })
  t.match(plugin, { maxPayload: 5, protocols: ['a'], errorHandler: undefined }, 'which keep theirs')
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

const right: Array<[name: keyof WebSocketPluginOptions, values: unknown[]]> = [
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
  ['errorHandler', [() => {}]]
]
for (const [name, values] of right) {
  test(`${name} may be any value in its range`, async t => {
    for (const value of values) t.equal(pluginSettings({ [name]: value })[name], value)
  })
}

const anInteger = (min: number, max: number, others: unknown[] = []): unknown[] =>
  [min - 1, max + 1, min + 0.5, Number.NaN, Infinity, String(min), 10n, null, true, [min], {}, () => min, Symbol('one'), ...others]
const wrong: Array<[name: keyof WebSocketPluginOptions, expected: string, values: unknown[]]> = [
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
  ['handleProtocols', 'a function', ['chat', ['chat'], {}, null, false, 1]],
  ['protocols', 'a list of tokens', ['chat', [''], ['a b'], ['a,b'], [1], [null], {}, new Set(['chat']), () => 'chat', null]],
  ['errorHandler', 'a function', ['log', {}, null, false]]
]
for (const [name, expected, values] of wrong) {
  test(`${name} must be ${expected}`, async t => {
    for (const value of values) {
      t.throws(() => pluginSettings({ [name]: value }), { name: 'TypeError', message: new RegExp(`^the WebSocket option ${name} must be ${expected}, not .`) }, String(value))
    }
  })
}

test('an error shows the value', async t => {
  for (const [value, shown] of [['5', '"5"'], [-1, '-1'], [true, 'true'], [{}, 'object'], [() => 1, 'function']] as const) {
    t.throws(() => pluginSettings({ maxPayload: value as never }), { message: `the WebSocket option maxPayload must be an integer from 0 to 9007199254740991, not ${shown}` })
  }
})

test('an unknown option is an error that names it and those there are', async t => {
  t.throws(() => pluginSettings({ maxPayLoad: 5 } as WebSocketPluginOptions), {
    name: 'TypeError',
    message: 'unknown WebSocket option maxPayLoad: there are maxPayload, highWaterMark, maxBufferedAmount, stallTimeout, heartbeat, ' +
      'maxConnections, messageConcurrency, closeTimeout, handleProtocols, protocols, errorHandler, handshakeTimeout, shutdownTimeout'
  })
  for (const name of ['toString', 'constructor', '__proto__']) {
    t.throws(() => pluginSettings(Object.defineProperty({}, name, { value: 5, enumerable: true })), { message: new RegExp(`^unknown WebSocket option ${name}`) })
  }
})

test('an option of the plugin alone is an error on a route', async t => {
  for (const name of ['handshakeTimeout', 'shutdownTimeout']) {
    t.throws(() => routeSettings(pluginSettings({}), { [name]: 5 }), {
      name: 'TypeError',
      message: `unknown WebSocket option ${name}: there are maxPayload, highWaterMark, maxBufferedAmount, stallTimeout, heartbeat, ` +
        'maxConnections, messageConcurrency, closeTimeout, handleProtocols, protocols, errorHandler'
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
