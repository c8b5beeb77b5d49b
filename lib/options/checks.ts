// Validation of options.
import type { RateLimitOptions, WebSocketPluginOptions } from '../../types/options.ts'
import { isWireCloseCode } from '../protocol/close-code.ts'
import { isToken } from '../protocol/header-field.ts'
import { isOriginPattern } from '../protocol/origin.ts'
import type { Defined, DeflateSettings } from './defaults.ts'

// the longest delay of setTimeout(), in milliseconds
export const MAX_TIMEOUT = 2 ** 31 - 1

type Check = (value: unknown) => string | null

const A_FUNCTION: Check = value => typeof value === 'function' ? null : 'a function'

const DEFLATE_CHECKS: { readonly [Name in keyof DeflateSettings]: Check } = {
  contextTakeover: value => typeof value === 'boolean' ? null : 'true or false',
  windowBits: integer(9, 15),
  level: integer(0, 9),
  memLevel: integer(1, 9),
  threshold: integer(0, Number.MAX_SAFE_INTEGER),
  concurrency: integer(1, Number.MAX_SAFE_INTEGER)
}

const A_RATE: Check = value => typeof value === 'number' && value > 0 && value < Infinity ? null : 'a number over 0'

const RATE_LIMIT_CHECKS: { readonly [Name in keyof Required<RateLimitOptions>]: Check } = {
  messages: A_RATE,
  bytes: A_RATE,
  burst: A_RATE,
  onExceeded: value => value === 'close' || value === 'wait' ? null : "'close' or 'wait'",
  maxWait: integer(1, MAX_TIMEOUT)
}

const PER_ADDRESS_CHECKS: { readonly max: Check, readonly key: Check } = {
  max: integer(1, Number.MAX_SAFE_INTEGER),
  key: A_FUNCTION
}

/** The options of those options that may be objects. */
const PARTS: Readonly<Record<string, Readonly<Record<string, Check>>>> = {
  perMessageDeflate: DEFLATE_CHECKS, rateLimit: RATE_LIMIT_CHECKS, maxConnectionsPerAddress: PER_ADDRESS_CHECKS
}

const CHECKS: { readonly [Name in keyof Required<Omit<WebSocketPluginOptions, 'options'>>]: Check } = {
  maxPayload: integer(0, Number.MAX_SAFE_INTEGER),
  highWaterMark: integer(1, Number.MAX_SAFE_INTEGER),
  maxBufferedAmount: integer(0, Number.MAX_SAFE_INTEGER),
  stallTimeout: integer(1, MAX_TIMEOUT),
  holdTimeout: integer(1, MAX_TIMEOUT),
  heartbeat: value => value === false || isHeartbeat(value) ? null : `false or { interval, timeout, rtt } (rtt may be left out) in integers from 1 to ${MAX_TIMEOUT}`,
  maxConnections: integer(0, Number.MAX_SAFE_INTEGER),
  maxConnectionsPerAddress: value => isPlainObject(value) || integer(1, Number.MAX_SAFE_INTEGER)(value) === null
    ? null
    : 'an integer from 1, or { max, key }',
  rateLimit: value => value === false || isPlainObject(value) ? null : 'false or an object of its own options',
  messageConcurrency: integer(1, Number.MAX_SAFE_INTEGER),
  closeTimeout: integer(1, MAX_TIMEOUT),
  perMessageDeflate: value => typeof value === 'boolean' || isPlainObject(value) ? null : 'true, false or an object of its own options',
  handleProtocols: A_FUNCTION,
  protocols: value => Array.isArray(value) && value.every(isProtocol) ? null : 'a list of tokens',
  origin: value => typeof value === 'function' || (Array.isArray(value) ? value : [value]).every(isOriginRule)
    ? null
    : "'same-origin', '*', 'null', an origin such as 'https://example.com', a RegExp, a list of these or a function",
  verifyClient: A_FUNCTION,
  errorHandler: A_FUNCTION,
  onInvalidMessage: A_FUNCTION,
  closeLogLevel: value => typeof value === 'string' ? null : "the name of a log level, or 'silent'",
  preClose: A_FUNCTION,
  topics: value => isPlainObject(value) ? null : 'an object of options, or a Topics',
  shutdownCode: value => isWireCloseCode(value as number) ? null : 'a close code that can be sent',
  handshakeTimeout: integer(1, MAX_TIMEOUT),
  shutdownTimeout: integer(1, MAX_TIMEOUT)
}
// checks for elements of the options that may be lists
const ELEMENTS: Readonly<Record<string, (value: unknown) => boolean>> = { protocols: isProtocol, origin: isOriginRule }
const PLUGIN_ONLY = ['handshakeTimeout', 'shutdownTimeout', 'shutdownCode', 'preClose', 'topics']
export const PLUGIN_NAMES = Object.keys(CHECKS)
export const ROUTE_NAMES = PLUGIN_NAMES.filter(name => !PLUGIN_ONLY.includes(name))

export const CONNECTION_NAMES = [
  'maxPayload', 'highWaterMark', 'maxBufferedAmount', 'stallTimeout', 'holdTimeout', 'heartbeat', 'messageConcurrency', 'closeTimeout', 'handshakeTimeout',
  'errorHandler', 'protocols', 'perMessageDeflate', 'rateLimit'
]

/**
 * Checks options; only those in `allowed` may be given.
 * @throws TypeError that names the option that is unknown, of a wrong type or out of range
 */
export function checked<Options extends object> (options: Options, allowed: readonly string[]): Defined<Options> {
  const entries = Object.entries(withoutUndefined(options)) as Array<[name: string, value: unknown]>
  for (const [name, value] of entries) {
    // Fastify itself passes prefix and the log options to every plugin
    if (name === 'prefix' || name === 'logLevel' || name === 'logSerializers') continue
    if (!allowed.includes(name)) {
      throw new TypeError(`unknown WebSocket option ${name}: there are ${allowed.join(', ')}`)
    }
    checkOption(name, value)
  }
  return Object.fromEntries(entries) as Defined<Options>
}

/** @param name of a known option @throws TypeError for a value of a wrong type or out of range */
export function checkOption (name: string, value: unknown): void {
  const expected = CHECKS[name as keyof typeof CHECKS](value)
  if (expected !== null) {
    // the messages of @fastify/websocket, which applications may match
    if (name === 'errorHandler' || name === 'preClose') throw new TypeError(`invalid ${name} function`)
    throw new TypeError(`the WebSocket option ${name} must be ${expected}, not ${describeWrong(name, value)}`)
  }
  const parts = PARTS[name]
  if (parts === undefined || !isPlainObject(value)) return
  checkParts(name, value, parts)
  const isLimit = name === 'rateLimit' && (value as RateLimitOptions).messages === undefined && (value as RateLimitOptions).bytes === undefined
  if (isLimit) throw new TypeError('the WebSocket option rateLimit needs messages, bytes or both')
  if (name === 'maxConnectionsPerAddress' && (value as { max?: unknown }).max === undefined) {
    throw new TypeError('the WebSocket option maxConnectionsPerAddress needs max')
  }
}

function checkParts (option: string, options: object, checks: Readonly<Record<string, Check>>): void {
  for (const [name, value] of Object.entries(withoutUndefined(options))) {
    if (!Object.hasOwn(checks, name)) {
      throw new TypeError(`unknown WebSocket option ${option}.${name}: there are ${Object.keys(checks).join(', ')}`)
    }
    const expected = checks[name]!(value)
    if (expected !== null) throw new TypeError(`the WebSocket option ${option}.${name} must be ${expected}, not ${describe(value)}`)
  }
}

export function withoutUndefined<Options extends object> (options: Options): Defined<Options> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Defined<Options>
}

export function isPlainObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function integer (min: number, max: number): Check {
  return value => Number.isInteger(value) && (value as number) >= min && (value as number) <= max
    ? null
    : `an integer from ${min} to ${max}`
}

function isProtocol (value: unknown): boolean {
  return typeof value === 'string' && isToken(value)
}

function isOriginRule (value: unknown): boolean {
  if (value instanceof RegExp) return true
  return typeof value === 'string' && (value === '*' || value === 'same-origin' || isOriginPattern(value))
}

function isHeartbeat (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { interval, timeout, rtt, ...rest } = value as { interval?: unknown, timeout?: unknown, rtt?: unknown }
  const check = integer(1, MAX_TIMEOUT)
  return check(interval) === null && check(timeout) === null && (rtt === undefined || check(rtt) === null) && Object.keys(rest).length === 0
}

/** Describes the value or, for a list, its first invalid element. */
function describeWrong (name: string, value: unknown): string {
  const isRight = ELEMENTS[name]
  if (!Array.isArray(value) || isRight === undefined) return describe(value)
  const index = value.findIndex(element => !isRight(element))
  return `${describe(value[index])} (element ${index} of the list)`
}

export function describe (value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  return typeof value === 'object' || typeof value === 'function' ? typeof value : String(value as number)
}
