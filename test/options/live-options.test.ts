import { test } from 'tap'
import { liveOptions } from '../../lib/options/live-options.ts'
import { pluginSettings } from '../../lib/options/settings.ts'

test('what is changed while it runs is checked as at the registration', async t => {
  let changes = 0
  const settings = pluginSettings({ maxPayload: 5 })
  const options = liveOptions(settings, () => { changes++ }) as Record<string, unknown>
  t.strictSame({ ...options }, { ...settings })
  for (const [name, value, message] of [
    ['shutdownCode', 1005, 'the WebSocket option shutdownCode must be a close code that can be sent, not 1005'],
    ['maxPayload', '5', /^the WebSocket option maxPayload must be an integer/],
    ['perMessageDeflate', { level: 10 }, /^the WebSocket option perMessageDeflate.level must be/],
    ['errorHandler', 'x', 'invalid errorHandler function']
  ] as const) t.throws(() => { options[name] = value }, { name: 'TypeError', message }, name)
  t.strictSame([{ ...options }, changes], [{ ...settings }, 0], 'and stays as it was')

  options.maxPayload = 6
  options.handleProtocols = () => false
  t.strictSame([options.maxPayload, settings.maxPayload, changes], [6, 5, 2])
  options.maxPayload = undefined
  delete options.handleProtocols
  t.strictSame([options.maxPayload, options.handleProtocols, changes], [5, undefined, 4], 'back to what the registration said')
  options.path = '/what is no option of ours'
  t.equal(options.path, '/what is no option of ours')
})
