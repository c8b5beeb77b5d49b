import { test } from 'tap'
import { drainSettings } from '../../lib/options/drain-settings.ts'

test('without options clients have ten seconds, from now on, and are told that the server restarts', t => {
  t.strictSame(drainSettings(), { delay: 0, spread: 10_000, code: 1012, reason: Buffer.alloc(0), signal: undefined })
  t.strictSame(drainSettings({ delay: undefined, spread: undefined }), drainSettings())
  const { signal } = new AbortController()
  t.strictSame(drainSettings({ delay: 1, spread: 0, code: 4000, reason: 'é', signal }), { delay: 1, spread: 0, code: 4000, reason: Buffer.from('é'), signal })
  t.end()
})

test('what is wrong is named', t => {
  const wrong: Array<[options: unknown, message: string]> = [
    [null, 'the options of drain() must be an object, not object'],
    [5, 'the options of drain() must be an object, not 5'],
    [{ timeout: 5 }, 'unknown option timeout of drain(): there are delay, spread, code, reason, signal'],
    [{ delay: -1 }, 'the option delay of drain() must be an integer from 0 to 2147483647, not -1'],
    [{ spread: '5' }, 'the option spread of drain() must be an integer from 0 to 2147483647, not "5"'],
    [{ spread: Infinity }, 'the option spread of drain() must be an integer from 0 to 2147483647, not Infinity'],
    [{ signal: {} }, 'the option signal of drain() must be an AbortSignal, not object'],
    [{ code: 1006 }, 'close code 1006 cannot be sent'],
    [{ reason: 'x'.repeat(124) }, 'a close reason of 124 bytes cannot be sent, 123 is the limit']
  ]
  for (const [options, message] of wrong) t.throws(() => drainSettings(options as object), { message }, message)
  t.end()
})
