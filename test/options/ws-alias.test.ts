import { test } from 'tap'
import { deflateSettings } from '../../lib/options/settings.ts'
import { readAlias } from '../../lib/options/ws-alias.ts'

test('what ws calls it is understood', async t => {
  const read = (perMessageDeflate: object | boolean): unknown => {
    const { options, warnings } = readAlias({ perMessageDeflate })
    t.strictSame(warnings, [])
    return deflateSettings(options.perMessageDeflate!)
  }
  t.match(read({ serverNoContextTakeover: true, serverMaxWindowBits: 8, zlibDeflateOptions: { level: 9, memLevel: 7, chunkSize: 5 }, zlibInflateOptions: {}, concurrencyLimit: 5, threshold: 2 }),
    { contextTakeover: false, windowBits: 9, level: 9, memLevel: 7, concurrency: 5, threshold: 2 })
  t.match(read({ serverNoContextTakeover: false, clientNoContextTakeover: false, serverMaxWindowBits: 10, clientMaxWindowBits: 15 }), { contextTakeover: true, windowBits: 10 })
  t.match(read({ serverMaxWindowBits: null }), { windowBits: 15 })
  t.match(read(true), { windowBits: 15 })
  t.equal(read(false), false)
  t.throws(() => readAlias({ perMessageDeflate: { level: 1, unknown: 1 } }), { message: /perMessageDeflate.unknown/ })
  t.throws(() => readAlias({ perMessageDeflate: 5 as never }), { message: /perMessageDeflate/ })
})

test('what ws has besides is taken with a warning, unless it says what is done anyway', async t => {
  t.strictSame(readAlias({ clientTracking: true, autoPong: true, perMessageDeflate: false, path: undefined, allowSynchronousEvents: true, skipUTF8Validation: false }).warnings, [])
  t.strictSame(readAlias({ path: '/ws', clientTracking: false }).warnings, [
    'the WebSocket option path has no effect: it is the URL of a route that decides',
    'the WebSocket option clientTracking has no effect: websocketServer.clients is always there'
  ])
  t.strictSame(readAlias({ maxFragments: 5, whatever: 1, noServer: false }), {
    options: {},
    server: undefined,
    warnings: ['the WebSocket option maxFragments has no effect: it is unknown', 'the WebSocket option whatever has no effect: it is unknown']
  })
  t.throws(() => readAlias({ noServer: true }), { message: /noServer/ })
})

test('what ws means by null and by a maxPayload of 0', async t => {
  t.strictSame(readAlias({ handleProtocols: null, verifyClient: null, server: null, path: null, host: null, maxPayload: 0 } as never), {
    options: { maxPayload: Number.MAX_SAFE_INTEGER }, server: undefined, warnings: []
  })
})
