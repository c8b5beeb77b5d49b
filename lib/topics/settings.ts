// Validates the options of Topics and fills in defaults.
import type { Broker, SlowPolicy, SubscribeOptions, TopicRule, TopicsOptions } from '../../types/topics.ts'
import { unknownTopicsOption, wrongTopic, wrongTopicsOption } from '../errors.ts'

export interface TopicsSettings {
  readonly slow: SlowPolicy
  readonly maxBehind: number
  readonly gap: 'event' | 'close'
  readonly rules: readonly TopicRule[]
  readonly headTtl: number
  readonly memory: number
  readonly maxTopics: number
  readonly broker: Broker | null
  readonly publishTimeout: number
  readonly maxPending: number
  readonly checkInterval: number
}

export const TOPICS_DEFAULTS: TopicsSettings = {
  slow: 'close',
  maxBehind: 1024 * 1024,
  gap: 'event',
  rules: [],
  headTtl: 86_400_000,
  memory: 64 * 1024 * 1024,
  maxTopics: 1_000,
  broker: null,
  publishTimeout: 5_000,
  maxPending: 16 * 1024 * 1024,
  checkInterval: 30_000
}

const MAX_NAME_LENGTH = 1024
/** Redis passes a script at most some 8,000 entries at a time, and a list may exceed its size by a tenth. */
const MAX_SIZE = 5_000
const MAX_TIMEOUT = 2 ** 31 - 1 // the longest delay of setTimeout()

// ES2024, in Node from 20 on
type WellFormed = string & { isWellFormed (): boolean }

/** @returns what the value must be; null if it is valid */
type Check = (value: unknown) => string | null

const integer = (min: number, max: number): Check => value =>
  Number.isInteger(value) && (value as number) >= min && (value as number) <= max ? null : `an integer from ${min} to ${max}`
const oneOf = (...values: string[]): Check => value => values.includes(value as string) ? null : values.map(value => `'${value}'`).join(' or ')
const aFunction: Check = value => typeof value === 'function' ? null : 'a function'

const bytes = integer(0, Number.MAX_SAFE_INTEGER)
const slow = oneOf('close', 'skip', 'latest')

const CHECKS: Readonly<Record<keyof TopicsOptions, Check>> = {
  slow,
  maxBehind: bytes,
  gap: oneOf('event', 'close'),
  rules: value => Array.isArray(value) ? null : 'a list of { topic, size, ttl, plain }',
  headTtl: integer(1, Number.MAX_SAFE_INTEGER),
  memory: bytes,
  maxTopics: integer(1, Number.MAX_SAFE_INTEGER),
  broker: value => isBroker(value) ? null : 'a broker, with start(), stop(), publish(), subscribe() and unsubscribe(), and with read() if it is numbered',
  publishTimeout: integer(1, MAX_TIMEOUT),
  maxPending: bytes,
  checkInterval: integer(1, MAX_TIMEOUT)
}

const RULE_CHECKS: Readonly<Record<keyof TopicRule, Check>> = {
  topic: value => typeof value === 'string' && value !== '' ? null : 'a string that is not empty',
  size: integer(0, MAX_SIZE),
  ttl: integer(1, Number.MAX_SAFE_INTEGER),
  plain: value => typeof value === 'boolean' ? null : 'true or false'
}

// `since` is not checked: it may come from a client, and an invalid one is not the application's mistake
const SUBSCRIBE_CHECKS: Readonly<Record<keyof SubscribeOptions, Check>> = { since: () => null, slow, encode: aFunction, snapshot: aFunction }

/** @throws TypeError that names the option that is unknown, of a wrong type or out of range */
export function topicsSettings (options: TopicsOptions): TopicsSettings {
  const settings = { ...TOPICS_DEFAULTS, ...checked(options, CHECKS, '') } as TopicsSettings
  settings.rules.forEach((rule, index) => {
    const { ttl = 0 } = checked(rule, RULE_CHECKS, `rules[${index}].`)
    if (rule.topic === undefined) throw wrongTopicsOption(`rules[${index}].topic`, 'a string that is not empty', 'undefined')
    if (ttl > settings.headTtl) throw wrongTopicsOption('headTtl', `no less than the ttl of rules[${index}], ${ttl}`, String(settings.headTtl))
  })
  return settings
}

/** @throws TypeError like topicsSettings() */
export function checkSubscribeOptions (options: SubscribeOptions): void {
  checked(options, SUBSCRIBE_CHECKS, '')
}

/** @throws TypeError with the code FST_WS_TOPICS_NAME */
export function checkName (topic: unknown): void {
  if (typeof topic === 'string' && topic.length > 0 && topic.length <= MAX_NAME_LENGTH && (topic as WellFormed).isWellFormed()) return
  const given = typeof topic !== 'string' ? describe(topic) : topic.length <= MAX_NAME_LENGTH && topic !== '' ? 'one with half of a surrogate pair' : `one of ${topic.length}`
  throw wrongTopic(`a string of 1 to ${MAX_NAME_LENGTH} characters`, given)
}

function checked<Options extends object> (options: Options, checks: Readonly<Record<keyof Options, Check>>, path: string): Options {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) throw wrongTopicsOption(path.slice(0, -1), 'an object', describe(options))
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  for (const [name, value] of given) {
    if (!Object.hasOwn(checks, name)) throw unknownTopicsOption(path + name, Object.keys(checks))
    const expected = checks[name as keyof Options](value)
    if (expected !== null) throw wrongTopicsOption(path + name, expected, describe(value))
  }
  return Object.fromEntries(given) as Options
}

function isBroker (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const broker = value as Record<string, unknown>
  const methods = ['start', 'stop', 'publish', 'subscribe', 'unsubscribe', ...(broker.numbered === true ? ['read'] : [])]
  return typeof broker.numbered === 'boolean' && methods.every(name => typeof broker[name] === 'function')
}

function describe (value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (value === null) return 'null'
  return typeof value === 'object' || typeof value === 'function' ? typeof value : String(value as number)
}
