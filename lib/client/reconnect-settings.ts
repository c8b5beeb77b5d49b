// Validates the options of reconnect() and fills in defaults.
import type { ReconnectBackoff, ReconnectOptions } from '../../types/client.ts'
import type { ConnectOptions } from '../../types/options.ts'
import { describe, isPlainObject, MAX_TIMEOUT, withoutUndefined } from '../options/checks.ts'
import { connectSettings } from '../options/settings.ts'
import type { BackoffSettings } from './backoff.ts'

export interface ReconnectSettings extends Pick<ReconnectOptions, 'headers' | 'retry' | 'signal' | 'onState' | 'errorHandler'> {
  readonly backoff: BackoffSettings
  readonly stableAfter: number
  readonly ref: boolean
  readonly handshakeTimeout: number
  readonly closeTimeout: number
  /** Options for connect() of each attempt. */
  readonly connect: ConnectOptions
}

const DEFAULT_BACKOFF: BackoffSettings = { min: 1_000, max: 30_000, factor: 2 }
const LONGEST_BACKOFF = 10 * 60_000
// The holdTimeout of server handlers, and a shorter heartbeat, as nothing else would notice a dead connection.
const CONNECT_DEFAULTS = { heartbeat: { interval: 15_000, timeout: 10_000 }, holdTimeout: 10_000 }

/** @throws TypeError that names the option that is unknown, of a wrong type or out of range */
export function reconnectSettings (options: ReconnectOptions): ReconnectSettings {
  const { backoff = {}, stableAfter = 10_000, ref = true, headers, retry, signal, onState, errorHandler, ...others } = options
  for (const [name, value] of Object.entries({ retry, onState })) {
    if (value !== undefined && typeof value !== 'function') throw wrong(name, 'a function', value)
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw wrong('signal', 'an AbortSignal', signal)
  if (typeof ref !== 'boolean') throw wrong('ref', 'true or false', ref)
  if (!isNumberFrom(stableAfter, 0, MAX_TIMEOUT)) throw wrong('stableAfter', `a number from 0 to ${MAX_TIMEOUT}`, stableAfter)
  const connect = { ...CONNECT_DEFAULTS, ...withoutUndefined(others) }
  const { handshakeTimeout, closeTimeout } = connectSettings({ ...connect, ...(errorHandler === undefined ? {} : { errorHandler }) })
  return { backoff: backoffSettings(backoff), stableAfter, ref, headers, retry, signal, onState, errorHandler, handshakeTimeout, closeTimeout, connect }
}

function backoffSettings (options: ReconnectBackoff): BackoffSettings {
  if (!isPlainObject(options)) throw wrong('backoff', 'an object of min, max and factor', options)
  const settings = { ...DEFAULT_BACKOFF, ...withoutUndefined(options) }
  for (const [name, value] of Object.entries(settings)) {
    if (!Object.hasOwn(DEFAULT_BACKOFF, name)) throw new TypeError(`unknown WebSocket option backoff.${name}: there are min, max, factor`)
    const most = name === 'factor' ? Number.MAX_VALUE : LONGEST_BACKOFF
    if (!isNumberFrom(value, 1, most)) throw wrong(`backoff.${name}`, name === 'factor' ? 'a number from 1' : `a number from 1 to ${most}`, value)
  }
  return settings
}

function isNumberFrom (value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && value >= least && value <= most
}

function wrong (name: string, expected: string, value: unknown): TypeError {
  return new TypeError(`the WebSocket option ${name} must be ${expected}, not ${describe(value)}`)
}
