import { test } from 'tap'
import { reconnectSettings } from '../../lib/client/reconnect-settings.ts'
import type { ReconnectOptions } from '../../types/client.ts'

test('defaults, and what is given of backoff joins them', t => {
  t.match(reconnectSettings({}), {
    backoff: { min: 1_000, max: 30_000, factor: 2 },
    stableAfter: 10_000,
    ref: true,
    handshakeTimeout: 10_000,
    closeTimeout: 5_000,
    connect: { heartbeat: { interval: 15_000, timeout: 10_000 }, holdTimeout: 10_000 }
  })
  t.match(reconnectSettings({ backoff: { max: 10_000, min: undefined }, heartbeat: undefined, closeTimeout: 7 }), {
    backoff: { min: 1_000, max: 10_000, factor: 2 }, closeTimeout: 7, connect: { heartbeat: { interval: 15_000, timeout: 10_000 }, closeTimeout: 7 }
  })
  t.strictSame(reconnectSettings({ heartbeat: false, protocols: ['a'] }).connect, { heartbeat: false, holdTimeout: 10_000, protocols: ['a'] })
  t.end()
})

const WRONG: Array<[options: object, message: RegExp]> = [
  [{ backoff: { min: 0 } }, /backoff.min must be a number from 1 to 600000, not 0/],
  [{ backoff: { max: 600_001 } }, /backoff.max must be a number from 1 to 600000, not 600001/],
  [{ backoff: { factor: 0.5 } }, /backoff.factor must be a number from 1, not 0.5/],
  [{ backoff: { min: Number.NaN } }, /backoff.min must be/],
  [{ backoff: { maximum: 5 } }, /unknown WebSocket option backoff.maximum/],
  [{ backoff: 5 }, /backoff must be an object of min, max and factor, not 5/],
  [{ stableAfter: -1 }, /stableAfter must be a number from 0/],
  [{ ref: 1 }, /ref must be true or false/],
  [{ retry: true }, /retry must be a function/],
  [{ onState: {} }, /onState must be a function, not object/],
  [{ signal: {} }, /signal must be an AbortSignal, not object/],
  [{ errorHandler: 1 }, /errorHandler/],
  [{ heartbeat: { interval: 5 } }, /heartbeat must be/],
  [{ maxAttempts: 3 }, /unknown WebSocket option maxAttempts/]
]
for (const [options, message] of WRONG) {
  test(`${JSON.stringify(options)} is a TypeError`, t => {
    t.throws(() => reconnectSettings(options as ReconnectOptions), { name: 'TypeError', message })
    t.end()
  })
}
