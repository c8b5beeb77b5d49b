// The plugin option `options`: options named as in `ws`, as in @fastify/websocket.
import type { Server } from 'node:http'
import type { WebSocketPluginOptions, WebSocketRouteOptions } from '../../types/options.ts'
import { checked, describe, isPlainObject, ROUTE_NAMES } from './checks.ts'
import type { Defined } from './defaults.ts'

/** Options that only `ws` has: by name, the value that matches our behaviour anyway, and why others have no effect. */
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

/** The result of reading `options`. */
export interface Alias {
  readonly options: Defined<WebSocketRouteOptions>
  /** Another server to listen to. */
  readonly server: Server | undefined
  /** One for each option without effect, with the reason. */
  readonly warnings: readonly string[]
}

/** @throws TypeError like pluginSettings(), and for noServer */
export function readAlias (alias: NonNullable<WebSocketPluginOptions['options']>): Alias {
  if (typeof alias !== 'object' || alias === null) throw new TypeError(`the WebSocket option options must be an object, not ${describe(alias)}`)
  const { server, noServer, ...given } = alias
  // ws uses null as a default
  const rest = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null))
  if (rest.maxPayload === 0) rest.maxPayload = Number.MAX_SAFE_INTEGER // 0 means no limit in ws
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

/** The compression options of ws; those ignored here change nothing that a peer could see. */
function readDeflateAlias (option: unknown): unknown {
  if (!isPlainObject(option)) return option
  const {
    serverNoContextTakeover, clientNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits, zlibDeflateOptions, zlibInflateOptions,
    concurrencyLimit, maxPayload, ...rest
  } = option as Record<string, unknown>
  const { level, memLevel } = (zlibDeflateOptions ?? {}) as Record<string, unknown>
  // in ws too, false only means not to ask for it
  const contextTakeover = serverNoContextTakeover === false && clientNoContextTakeover === false ? { contextTakeover: true } : {}
  const windowBits = serverMaxWindowBits === 8 ? 9 : serverMaxWindowBits ?? undefined // zlib does the same
  return { ...contextTakeover, windowBits, level, memLevel, concurrency: concurrencyLimit, ...rest }
}
