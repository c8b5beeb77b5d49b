// The options as used everywhere else: validated, with defaults filled in.
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type {
  ConnectionOptions, ConnectOptions, HandshakeOptions, PerMessageDeflateOptions, RateLimitOptions, UpgradeOptions, WebSocketPluginOptions, WebSocketRouteOptions
} from '../../types/options.ts'
import type { RateLimit } from '../connection/incoming/rate-limited-frame-reader.ts'
import { checked, CONNECTION_NAMES, describe, PLUGIN_NAMES, ROUTE_NAMES, withoutUndefined } from './checks.ts'
import { Topics } from '../topics/topics.ts'
import { DEFAULTS, DEFLATE_DEFAULTS, RATE_LIMIT_DEFAULTS, type Defined, type DeflateSettings } from './defaults.ts'
import { readAlias } from './ws-alias.ts'

type Optional = 'handleProtocols' | 'protocols' | 'errorHandler' | 'onInvalidMessage' | 'verifyClient' | 'preClose' | 'topics'
type Complete<Options> = Defined<Required<Omit<Options, Optional>> & Pick<Options, Extract<Optional, keyof Options>>>

export type RouteSettings = Readonly<Complete<WebSocketRouteOptions>>
export type PluginSettings = Readonly<Complete<Omit<WebSocketPluginOptions, 'options'>>>

/** @throws TypeError that names the option that is unknown, of a wrong type or out of range */
export function pluginSettings (options: WebSocketPluginOptions): PluginSettings {
  const { options: alias, ...own } = options
  return { ...DEFAULTS, ...(alias === undefined ? {} : readAlias(alias).options), ...checked(own, PLUGIN_NAMES) }
}

// without a handler there is no consumer to miss
const STANDALONE_DEFAULTS = { ...DEFAULTS, holdTimeout: Infinity }

type StandaloneSettings = Complete<ConnectionOptions> & { readonly handshakeTimeout: number }

/** @throws TypeError like pluginSettings() */
export function upgradeSettings ({ headers = {}, topics, ...options }: UpgradeOptions): StandaloneSettings & Defined<Omit<UpgradeOptions, 'topics'> &
  Required<Pick<HandshakeOptions<IncomingMessage>, 'origin'>>> & { readonly headers: OutgoingHttpHeaders, readonly topics: Topics | undefined } {
  if (topics !== undefined && !(topics instanceof Topics)) throw new TypeError(`the WebSocket option topics must be a Topics, not ${describe(topics)}`)
  return { ...STANDALONE_DEFAULTS, ...checked(options, [...CONNECTION_NAMES, 'handleProtocols', 'origin', 'verifyClient']), headers, topics }
}

/** Options of connect() that injectWS() passes on. */
export const CONNECT_NAMES: ReadonlySet<string> = new Set([...CONNECTION_NAMES, 'signal'])

/** @throws TypeError like pluginSettings() */
export function connectSettings ({ headers = {}, signal, request = {}, maxRedirects = 0, proxy = false, http2 = false, ...options }: ConnectOptions): StandaloneSettings &
  Defined<ConnectOptions & Required<Pick<ConnectOptions, 'headers' | 'request' | 'maxRedirects' | 'proxy' | 'http2'>>> {
  if (!Number.isSafeInteger(maxRedirects) || maxRedirects < 0) {
    throw new TypeError(`the WebSocket option maxRedirects must be an integer from 0, not ${describe(maxRedirects)}`)
  }
  if (proxy !== false && typeof proxy !== 'string' && !(proxy instanceof URL)) {
    throw new TypeError(`the WebSocket option proxy must be false, 'env' or a URL, not ${describe(proxy)}`)
  }
  if (proxy !== false && (request.agent !== undefined || request.createConnection !== undefined)) {
    throw new TypeError('the WebSocket options proxy and request.agent or request.createConnection exclude each other: both say how to connect')
  }
  if (typeof http2 !== 'boolean' && http2 !== 'auto') throw new TypeError(`the WebSocket option http2 must be true, false or 'auto', not ${describe(http2)}`)
  return { ...STANDALONE_DEFAULTS, ...checked(options, CONNECTION_NAMES), headers, request, maxRedirects, proxy, http2, ...(signal === undefined ? {} : { signal }) }
}

/** Expands the option perMessageDeflate, already checked. */
export function deflateSettings (option: boolean | PerMessageDeflateOptions): DeflateSettings | false {
  if (option === false) return false
  return option === true ? DEFLATE_DEFAULTS : { ...DEFLATE_DEFAULTS, ...withoutUndefined(option) }
}

/** Expands the option rateLimit, already checked. */
export function rateLimitSettings (option: RateLimitOptions | false): RateLimit | false {
  if (option === false) return false
  const { onExceeded, maxWait, ...limits } = { ...RATE_LIMIT_DEFAULTS, ...withoutUndefined(option) }
  return { ...limits, maxWait: onExceeded === 'wait' ? maxWait : 0 }
}

/** Checks the options of a route. @throws TypeError like pluginSettings() */
export function routeOptions (options: WebSocketRouteOptions): Defined<WebSocketRouteOptions> {
  return checked(options, ROUTE_NAMES)
}
