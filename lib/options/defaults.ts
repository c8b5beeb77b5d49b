// The default of each option.
import type { PerMessageDeflateOptions } from '../../types/options.ts'
import { GOING_AWAY } from '../protocol/close-code.ts'

/** Options without undefined, which means that an option is not given. */
export type Defined<Options> = { [Name in keyof Options]: Exclude<Options[Name], undefined> }

export type DeflateSettings = Readonly<Defined<Required<PerMessageDeflateOptions>>>

export const DEFAULTS = {
  maxPayload: 1024 * 1024,
  highWaterMark: 64 * 1024,
  handshakeTimeout: 10_000,
  maxBufferedAmount: 16 * 1024 * 1024,
  stallTimeout: 60_000,
  holdTimeout: 10_000,
  heartbeat: { interval: 30_000, timeout: 30_000 },
  maxConnections: Infinity,
  maxConnectionsPerAddress: Infinity,
  messageConcurrency: Infinity,
  rateLimit: false as const,
  closeTimeout: 5_000,
  perMessageDeflate: false,
  shutdownTimeout: 5_000,
  origin: 'same-origin',
  shutdownCode: GOING_AWAY,
  closeLogLevel: 'info'
}

export const RATE_LIMIT_DEFAULTS = {
  burst: 1,
  onExceeded: 'close',
  maxWait: 10_000
}

export const DEFLATE_DEFAULTS: DeflateSettings = {
  contextTakeover: false,
  windowBits: 15,
  level: 3,
  memLevel: 8,
  threshold: 1024,
  concurrency: 4
}
