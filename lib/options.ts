// What the options may be and what they default to; everything behind this file works with complete, checked options.
import type { WebSocketPluginOptions, WebSocketRouteOptions } from '../types/options.ts'
import { isToken } from './header-field.ts'

type Optional = 'handleProtocols' | 'protocols' | 'errorHandler'
type Complete<Options> = Required<Omit<Options, Optional>> & Pick<Options, Extract<Optional, keyof Options>>

export type RouteSettings = Readonly<Complete<WebSocketRouteOptions>>
export type PluginSettings = Readonly<Complete<WebSocketPluginOptions>>

const DEFAULTS = {
  maxPayload: 1024 * 1024,
  highWaterMark: 64 * 1024,
  handshakeTimeout: 10_000,
  maxBufferedAmount: 16 * 1024 * 1024,
  stallTimeout: 60_000,
  heartbeat: { interval: 30_000, timeout: 30_000 },
  maxConnections: Infinity,
  messageConcurrency: Infinity,
  closeTimeout: 5_000,
  shutdownTimeout: 5_000
}

// what setTimeout() can do
const MAX_TIMEOUT = 2 ** 31 - 1

type Check = (value: unknown) => string | null

const CHECKS: { readonly [Name in keyof Required<WebSocketPluginOptions>]: Check } = {
  maxPayload: integer(0, Number.MAX_SAFE_INTEGER),
  highWaterMark: integer(1, Number.MAX_SAFE_INTEGER),
  maxBufferedAmount: integer(0, Number.MAX_SAFE_INTEGER),
  stallTimeout: integer(1, MAX_TIMEOUT),
  heartbeat: value => value === false || isHeartbeat(value) ? null : `false or { interval, timeout } in integers from 1 to ${MAX_TIMEOUT}`,
  maxConnections: integer(0, Number.MAX_SAFE_INTEGER),
  messageConcurrency: integer(1, Number.MAX_SAFE_INTEGER),
  closeTimeout: integer(1, MAX_TIMEOUT),
  handleProtocols: value => typeof value === 'function' ? null : 'a function',
  protocols: value => Array.isArray(value) && value.every(name => typeof name === 'string' && isToken(name)) ? null : 'a list of tokens',
  errorHandler: value => typeof value === 'function' ? null : 'a function',
  handshakeTimeout: integer(1, MAX_TIMEOUT),
  shutdownTimeout: integer(1, MAX_TIMEOUT)
}
const PLUGIN_ONLY = ['handshakeTimeout', 'shutdownTimeout']

/** @throws TypeError that names the option which is unknown, of a wrong type or out of range */
export function pluginSettings (options: WebSocketPluginOptions): PluginSettings {
  return { ...DEFAULTS, ...checked(options, Object.keys(CHECKS)) }
}

/** The options of a route over those of the plugin. @throws TypeError as pluginSettings() does */
export function routeSettings (plugin: PluginSettings, options: WebSocketRouteOptions): RouteSettings {
  return { ...plugin, ...checked(options, Object.keys(CHECKS).filter(name => !PLUGIN_ONLY.includes(name))) }
}

function checked<Options extends object> (options: Options, allowed: readonly string[]): Options {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined)
  for (const [name, value] of entries) {
    // prefix and the log options are what Fastify itself hands to every plugin
    if (name === 'prefix' || name === 'logLevel' || name === 'logSerializers') continue
    if (!allowed.includes(name)) {
      throw new TypeError(`unknown WebSocket option ${name}: there are ${allowed.join(', ')}`)
    }
    const expected = CHECKS[name as keyof WebSocketPluginOptions](value)
    if (expected !== null) throw new TypeError(`the WebSocket option ${name} must be ${expected}, not ${describe(value)}`)
  }
  return Object.fromEntries(entries) as Options
}

function integer (min: number, max: number): Check {
  return value => Number.isInteger(value) && (value as number) >= min && (value as number) <= max
    ? null
    : `an integer from ${min} to ${max}`
}

function isHeartbeat (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { interval, timeout, ...rest } = value as { interval?: unknown, timeout?: unknown }
  const check = integer(1, MAX_TIMEOUT)
  return check(interval) === null && check(timeout) === null && Object.keys(rest).length === 0
}

function describe (value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  return typeof value === 'object' || typeof value === 'function' ? typeof value : String(value as number)
}
