// The options of drain().
import type { DrainOptions } from '../../types/fastify.ts'
import { SERVICE_RESTART } from '../protocol/close-code.ts'
import { createClose } from '../protocol/close.ts'
import { describe, integer, isPlainObject, MAX_TIMEOUT } from './checks.ts'

export interface DrainSettings {
  /** Milliseconds during which handshakes are still accepted. */
  readonly delay: number
  /** Milliseconds over which connections are closed. */
  readonly spread: number
  readonly code: number
  readonly reason: Buffer
  readonly signal: AbortSignal | undefined
}

const NAMES = ['delay', 'spread', 'code', 'reason', 'signal']

/** @throws TypeError or RangeError that names the option that is unknown, of a wrong type or out of range */
export function drainSettings (options: DrainOptions = {}): DrainSettings {
  if (!isPlainObject(options)) throw new TypeError(`the options of drain() must be an object, not ${describe(options)}`)
  for (const name of Object.keys(options)) {
    if (!NAMES.includes(name)) throw new TypeError(`unknown option ${name} of drain(): there are ${NAMES.join(', ')}`)
  }
  const { delay = 0, spread = 10_000, code = SERVICE_RESTART, reason = '', signal } = options
  for (const [name, value] of Object.entries({ delay, spread })) {
    const expected = integer(0, MAX_TIMEOUT)(value)
    if (expected !== null) throw new TypeError(`the option ${name} of drain() must be ${expected}, not ${describe(value)}`)
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError(`the option signal of drain() must be an AbortSignal, not ${describe(signal)}`)
  }
  return { delay, spread, ...createClose(code, reason), signal }
}
