// What the options may be and what they default to; everything behind this file works with complete, checked options.
import type { IncomingMessage, OutgoingHttpHeaders, Server } from 'node:http'
import type { ConnectionOptions, ConnectOptions, PerMessageDeflateOptions, UpgradeOptions, WebSocketPluginOptions, WebSocketRouteOptions } from '../../types/options.ts'
import type { AdmissionRules } from '../handshake/admission.ts'
import { GOING_AWAY, isWireCloseCode } from '../protocol/close-code.ts'
import { isToken } from '../protocol/header-field.ts'
import { isOrigin } from '../protocol/origin.ts'

type Optional = 'handleProtocols' | 'protocols' | 'errorHandler' | 'verifyClient' | 'preClose'
type Complete<Options> = Required<Omit<Options, Optional>> & Pick<Options, Extract<Optional, keyof Options>>

export type RouteSettings = Readonly<Complete<WebSocketRouteOptions>>
export type DeflateSettings = Readonly<Required<PerMessageDeflateOptions>>
export type PluginSettings = Readonly<Complete<Omit<WebSocketPluginOptions, 'options'>>>

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
  perMessageDeflate: false,
  shutdownTimeout: 5_000,
  origin: 'same-origin',
  shutdownCode: GOING_AWAY,
  closeLogLevel: 'info'
}

const DEFLATE_DEFAULTS: DeflateSettings = {
  contextTakeover: false,
  windowBits: 15,
  level: 3,
  memLevel: 8,
  threshold: 1024,
  concurrency: 4
}

// what setTimeout() can do
const MAX_TIMEOUT = 2 ** 31 - 1

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

const CHECKS: { readonly [Name in keyof Required<Omit<WebSocketPluginOptions, 'options'>>]: Check } = {
  maxPayload: integer(0, Number.MAX_SAFE_INTEGER),
  highWaterMark: integer(1, Number.MAX_SAFE_INTEGER),
  maxBufferedAmount: integer(0, Number.MAX_SAFE_INTEGER),
  stallTimeout: integer(1, MAX_TIMEOUT),
  heartbeat: value => value === false || isHeartbeat(value) ? null : `false or { interval, timeout } in integers from 1 to ${MAX_TIMEOUT}`,
  maxConnections: integer(0, Number.MAX_SAFE_INTEGER),
  messageConcurrency: integer(1, Number.MAX_SAFE_INTEGER),
  closeTimeout: integer(1, MAX_TIMEOUT),
  perMessageDeflate: value => typeof value === 'boolean' || isPlainObject(value) ? null : 'true, false or an object of its own options',
  handleProtocols: A_FUNCTION,
  protocols: value => Array.isArray(value) && value.every(name => typeof name === 'string' && isToken(name)) ? null : 'a list of tokens',
  origin: value => typeof value === 'function' || (Array.isArray(value) ? value : [value]).every(isOriginPattern)
    ? null
    : "'same-origin', '*', 'null', an origin such as 'https://example.com', a RegExp, a list of these or a function",
  verifyClient: A_FUNCTION,
  errorHandler: A_FUNCTION,
  closeLogLevel: value => typeof value === 'string' ? null : "the name of a log level, or 'silent'",
  preClose: A_FUNCTION,
  shutdownCode: value => isWireCloseCode(value as number) ? null : 'a close code that can be sent',
  handshakeTimeout: integer(1, MAX_TIMEOUT),
  shutdownTimeout: integer(1, MAX_TIMEOUT)
}
const PLUGIN_ONLY = ['handshakeTimeout', 'shutdownTimeout', 'shutdownCode', 'preClose']
const NAMES = Object.keys(CHECKS)
const ROUTE_NAMES = NAMES.filter(name => !PLUGIN_ONLY.includes(name))

/** What `ws` has besides: by name the one value that says nothing else than what is done anyway, and why. */
const FOREIGN: Readonly<Record<string, readonly [idle: unknown, reason: string]>> = {
  path: [undefined, 'it is the URL of a route that decides'],
  host: [undefined, 'it is Fastify that listens'],
  port: [undefined, 'it is Fastify that listens'],
  backlog: [undefined, 'it is Fastify that listens'],
  WebSocket: [undefined, 'there is one class of connections'],
  skipUTF8Validation: [false, 'text is always checked'],
  clientTracking: [true, 'websocketServer.clients is always there'],
  autoPong: [true, 'a Ping is always answered'],
  allowSynchronousEvents: [true, 'messages of one chunk come in one turn']
}

/**
 * @param defaults that differ from the usual ones
 * @throws TypeError that names the option which is unknown, of a wrong type or out of range
 */
export function pluginSettings (options: WebSocketPluginOptions, defaults: Partial<PluginSettings> = {}): PluginSettings {
  const { options: alias, ...own } = options
  return { ...DEFAULTS, ...defaults, ...(alias === undefined ? {} : readAlias(alias).options), ...checked(own, NAMES) }
}

const CONNECTION_NAMES = [
  'maxPayload', 'highWaterMark', 'maxBufferedAmount', 'stallTimeout', 'heartbeat', 'messageConcurrency', 'closeTimeout', 'handshakeTimeout',
  'errorHandler', 'protocols', 'perMessageDeflate'
]

type StandaloneSettings = Complete<ConnectionOptions> & { readonly handshakeTimeout: number }

/** @throws TypeError as pluginSettings() does */
export function upgradeSettings ({ headers = {}, ...options }: UpgradeOptions): StandaloneSettings & UpgradeOptions &
  AdmissionRules<IncomingMessage> & { readonly headers: OutgoingHttpHeaders } {
  return { ...DEFAULTS, ...checked(options, [...CONNECTION_NAMES, 'handleProtocols', 'origin', 'verifyClient']), headers }
}

/** What connect() takes beside `headers` and `request`. */
export const CONNECT_NAMES: ReadonlySet<string> = new Set([...CONNECTION_NAMES, 'signal'])

/** @throws TypeError as pluginSettings() does */
export function connectSettings ({ headers = {}, signal, request = {}, ...options }: ConnectOptions): StandaloneSettings & ConnectOptions &
  Required<Pick<ConnectOptions, 'headers' | 'request'>> {
  return { ...DEFAULTS, ...checked(options, CONNECTION_NAMES), headers, request, ...(signal === undefined ? {} : { signal }) }
}

/** What is meant by the option perMessageDeflate, which is checked already. */
export function deflateSettings (option: boolean | PerMessageDeflateOptions): DeflateSettings | false {
  if (option === false) return false
  return option === true ? DEFLATE_DEFAULTS : { ...DEFLATE_DEFAULTS, ...withoutUndefined(option) }
}

/** Checks the options of a route. @throws TypeError as pluginSettings() does */
export function routeOptions (options: WebSocketRouteOptions): WebSocketRouteOptions {
  return checked(options, ROUTE_NAMES)
}

/** What stands under `options`, as for @fastify/websocket. */
export interface Alias {
  readonly options: WebSocketRouteOptions
  /** Another server to listen to. */
  readonly server: Server | undefined
  /** One for each option that has no effect, and why. */
  readonly warnings: readonly string[]
}

/** @throws TypeError as pluginSettings() does, and for noServer */
export function readAlias (alias: NonNullable<WebSocketPluginOptions['options']>): Alias {
  if (typeof alias !== 'object' || alias === null) throw new TypeError(`the WebSocket option options must be an object, not ${describe(alias)}`)
  const { server, noServer, ...given } = alias
  // null is a default of ws
  const rest = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null))
  if (rest.maxPayload === 0) rest.maxPayload = Number.MAX_SAFE_INTEGER // as ws says that there is no limit
  if (noServer === true) throw new TypeError('the WebSocket option noServer is not supported: without Fastify there is upgrade()')
  const warnings: string[] = []
  for (const [name, [idle, reason]] of Object.entries(FOREIGN)) {
    const value = rest[name]
    if (value !== undefined && value !== idle) warnings.push(`the WebSocket option ${name} has no effect: ${reason}`)
  }
  if (rest.perMessageDeflate !== undefined) rest.perMessageDeflate = readDeflateAlias(rest.perMessageDeflate)
  const own = Object.fromEntries(Object.entries(rest).filter(([name]) => ROUTE_NAMES.includes(name)))
  for (const name of Object.keys(rest)) {
    if (!ROUTE_NAMES.includes(name) && !Object.hasOwn(FOREIGN, name)) warnings.push(`the WebSocket option ${name} has no effect: it is unknown`)
  }
  return {
    options: checked(own, ROUTE_NAMES),
    server: server ?? undefined,
    warnings
  }
}

/** What ws says about compression; what it has besides changes nothing that a peer could see. */
function readDeflateAlias (option: unknown): unknown {
  if (!isPlainObject(option)) return option
  const {
    serverNoContextTakeover, clientNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits, zlibDeflateOptions, zlibInflateOptions,
    concurrencyLimit, maxPayload, ...rest
  } = option as Record<string, unknown>
  const { level, memLevel } = (zlibDeflateOptions ?? {}) as Record<string, unknown>
  // of ws too, false says only that it is not asked for
  const contextTakeover = serverNoContextTakeover === false && clientNoContextTakeover === false ? { contextTakeover: true } : {}
  const windowBits = serverMaxWindowBits === 8 ? 9 : serverMaxWindowBits ?? undefined // which zlib makes of it
  return { ...contextTakeover, windowBits, level, memLevel, concurrency: concurrencyLimit, ...rest }
}

function checked<Options extends object> (options: Options, allowed: readonly string[]): Options {
  const entries = Object.entries(withoutUndefined(options)) as Array<[name: string, value: unknown]>
  for (const [name, value] of entries) {
    // prefix and the log options are what Fastify itself hands to every plugin
    if (name === 'prefix' || name === 'logLevel' || name === 'logSerializers') continue
    if (!allowed.includes(name)) {
      throw new TypeError(`unknown WebSocket option ${name}: there are ${allowed.join(', ')}`)
    }
    const expected = CHECKS[name as keyof typeof CHECKS](value)
    if (expected !== null) {
      // what @fastify/websocket says, which somebody may match
      if (name === 'errorHandler' || name === 'preClose') throw new TypeError(`invalid ${name} function`)
      throw new TypeError(`the WebSocket option ${name} must be ${expected}, not ${describe(value)}`)
    }
    if (name === 'perMessageDeflate' && isPlainObject(value)) checkDeflate(value)
  }
  return Object.fromEntries(entries) as Options
}

function checkDeflate (options: object): void {
  for (const [name, value] of Object.entries(withoutUndefined(options))) {
    if (!Object.hasOwn(DEFLATE_CHECKS, name)) {
      throw new TypeError(`unknown WebSocket option perMessageDeflate.${name}: there are ${Object.keys(DEFLATE_CHECKS).join(', ')}`)
    }
    const expected = DEFLATE_CHECKS[name as keyof DeflateSettings](value)
    if (expected !== null) throw new TypeError(`the WebSocket option perMessageDeflate.${name} must be ${expected}, not ${describe(value)}`)
  }
}

function withoutUndefined<Options extends object> (options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Options
}

function isPlainObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function integer (min: number, max: number): Check {
  return value => Number.isInteger(value) && (value as number) >= min && (value as number) <= max
    ? null
    : `an integer from ${min} to ${max}`
}

function isOriginPattern (value: unknown): boolean {
  if (value instanceof RegExp) return true
  return typeof value === 'string' && (value === '*' || value === 'same-origin' || isOrigin(value))
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
