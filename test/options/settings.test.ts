import Fastify from 'fastify'
import { test } from 'tap'
import websocket from '../../lib/index.ts'
import { deflateSettings, pluginSettings, rateLimitSettings, routeOptions } from '../../lib/options/settings.ts'
import type { WebSocketPluginOptions, WebSocketRouteOptions } from '../../types/options.ts'
import { within } from '../helpers/http.ts'

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
    maxConnectionsPerAddress: Infinity,
    rateLimit: false,
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

test('what perMessageDeflate leaves out is completed', async t => {
  const defaults = { contextTakeover: false, windowBits: 15, level: 3, memLevel: 8, threshold: 1024, concurrency: 4 }
  t.equal(deflateSettings(false), false)
  t.strictSame(deflateSettings(true), defaults)
  t.strictSame(deflateSettings({ threshold: 0, level: undefined as never }), { ...defaults, threshold: 0 })
})

test('what rateLimit leaves out is completed, and nobody waits unless that is said', async t => {
  t.equal(rateLimitSettings(false), false)
  t.strictSame(rateLimitSettings({ messages: 5, burst: undefined }), { messages: 5, burst: 1, maxWait: 0 })
  t.strictSame(rateLimitSettings({ bytes: 5, burst: 2, onExceeded: 'wait' }), { bytes: 5, burst: 2, maxWait: 10_000 })
  t.strictSame(rateLimitSettings({ bytes: 5, onExceeded: 'wait', maxWait: 7 }), { bytes: 5, burst: 1, maxWait: 7 })
  t.strictSame(rateLimitSettings({ bytes: 5, maxWait: 7 }), { bytes: 5, burst: 1, maxWait: 0 })
})

test('an option of the plugin alone is an error on a route', async t => {
  for (const name of ['handshakeTimeout', 'shutdownTimeout', 'shutdownCode', 'preClose']) {
    t.throws(() => routeOptions({ [name]: 5 } as WebSocketRouteOptions), {
      name: 'TypeError',
      message: `unknown WebSocket option ${name}: there are maxPayload, highWaterMark, maxBufferedAmount, stallTimeout, holdTimeout, heartbeat, ` +
        'maxConnections, maxConnectionsPerAddress, rateLimit, messageConcurrency, closeTimeout, perMessageDeflate, handleProtocols, protocols, origin, ' +
        'verifyClient, errorHandler, onInvalidMessage, closeLogLevel'
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

test('the options under `options` count where the plugin says nothing else', async t => {
  const handleProtocols = (): false => false
  t.match(pluginSettings({ options: { maxPayload: 5, closeTimeout: 6, handleProtocols }, closeTimeout: 7 }), { maxPayload: 5, closeTimeout: 7, handleProtocols })
  t.throws(() => pluginSettings({ options: { maxPayload: '5' as never } }), { message: /^the WebSocket option maxPayload must be/ })
  for (const options of [null, 5, 'x']) t.throws(() => pluginSettings({ options: options as never }), { message: /^the WebSocket option options must be an object/ })
})
