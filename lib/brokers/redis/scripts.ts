// Scripts for atomic operations in Redis. Always sent as EVAL: EVALSHA with a fallback to EVAL could change the order of a publisher's messages.
import type { Head, Rule } from '../../../types/topics.ts'
import { parseHead } from './layout.ts'

/**
 * KEYS head, list. ARGV channel, epoch if it is new, tag, body, size, ttl, headTtl, and SPUBLISH on a cluster. The head is set first: a Redis that is full refuses that, and so
 * the whole. `%d`, as tostring() makes 1e+15 of a number. The list is not cut for each message. An entry names the tag before it.
 */
export const PUBLISH = `
local v = redis.call('GET', KEYS[1])
local e, n, p
if v then e, n, p = string.match(v, '^(%w+) (%d+) ([%w-]+)$') end
local new = not e
if new then e, n, p = ARGV[2], 0, '-' end
local head = e .. ' ' .. string.format('%d', n + 1) .. ' ' .. ARGV[3]
local entry = head .. ' ' .. p .. '\\n' .. ARGV[4]
redis.call('SET', KEYS[1], head, 'PX', ARGV[7])
if new then redis.call('DEL', KEYS[2]) end
if ARGV[5] ~= '0' then
  if redis.call('RPUSH', KEYS[2], entry) > ARGV[5] * 1.1 then redis.call('LTRIM', KEYS[2], -ARGV[5], -1) end
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
redis.call(ARGV[8] or 'PUBLISH', ARGV[1], entry)
return head`

/**
 * KEYS head, list. ARGV epoch if it is new, epoch and number since when, headTtl, how many at most. A head that is there is renewed without being
 * set: a Redis that is full lets that be.
 */
export const READ = `
local v = redis.call('GET', KEYS[1])
local e, n
if v then e, n = string.match(v, '^(%w+) (%d+) [%w-]+$') end
if not e then
  e, n = ARGV[1], 0
  v = e .. ' 0 -'
  redis.call('SET', KEYS[1], v, 'PX', ARGV[4])
  redis.call('DEL', KEYS[2])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local missed = math.min(n - ARGV[3], tonumber(ARGV[5]))
if ARGV[2] ~= e or missed <= 0 then return {v} end
return {v, unpack(redis.call('LRANGE', KEYS[2], -missed, -1))}`

/** Ten years: Redis rejects an expiry beyond 64 bits. */
const MAX_TTL = 10 * 365 * 86_400_000

const milliseconds = (ttl: number): string => String(Math.min(ttl, MAX_TTL))

/** What one of a list may have, before it is cut. */
const longest = (size: number): number => Math.floor(size * 1.1) + 1

export interface Keys {
  readonly head: string
  readonly list: string
}

export function publishCommand (
  { head, list }: Keys, { channel, command }: { channel: string, command: string }, ids: { epoch: string, tag: string }, body: Buffer, { size, ttl, headTtl }: Rule
): Array<string | Buffer> {
  return ['EVAL', PUBLISH, '2', head, list, channel, ids.epoch, ids.tag, body, String(size), milliseconds(ttl), milliseconds(headTtl), command]
}

export function readCommand ({ head, list }: Keys, epoch: string, since: Head | null, { size, headTtl }: Rule): string[] {
  return ['EVAL', READ, '2', head, list, epoch, since?.epoch ?? '-', String(since?.number ?? 0), milliseconds(headTtl), String(longest(size))]
}

/** @returns the head and unparsed entries; null if it is not an answer of the script */
export function readAnswer (reply: unknown): { head: Head, entries: unknown[] } | null {
  if (!Array.isArray(reply)) return null
  const [first, ...entries] = reply as unknown[]
  const head = parseHead(first)
  return head === null ? null : { head, entries }
}
