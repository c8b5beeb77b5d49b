// Counts connections per client address, if maxConnectionsPerAddress is set.
import { isIPv6 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import type { WebSocketRouteOptions } from '../../types/options.ts'
import { tooManyFromAddress } from '../errors.ts'
import type { Seat } from './seats.ts'

type Option = Exclude<WebSocketRouteOptions['maxConnectionsPerAddress'], undefined>

const GROUPS = 8
const GROUPS_OF_CLIENT = 4

export class AddressSeats {
  /** Connections by address; removed with the last one. */
  readonly taken: Map<string, number> = new Map()
  #hasWarned = false

  /**
   * The key a request is counted under; null: it is not limited.
   * @throws HandshakeError 429 if the limit is reached, TypeError for a key that is not a string, whatever `key` throws
   */
  admit (option: Option, request: FastifyRequest): string | null {
    if (option === Infinity) return null // the default
    const { max, key: keyOf } = typeof option === 'number' ? { max: option } : option
    if (keyOf === undefined) this.#warnOfProxy(request)
    const key: unknown = keyOf === undefined ? addressKey(request.ip) : keyOf(request)
    if (key === null || key === undefined) return null
    if (typeof key !== 'string') throw new TypeError(`maxConnectionsPerAddress.key must return a string or null, not ${typeof key}`)
    if ((this.taken.get(key) ?? 0) >= max) throw tooManyFromAddress(max)
    return key
  }

  /** @param key returned by admit() @param seat left together with the new one */
  take (key: string | null, seat: Seat): Seat {
    if (key === null) return seat
    const count = this.taken.get(key)
    const own = count === undefined ? Buffer.from(key).toString() : key // a copy: a slice of a header field would keep the whole field alive
    this.taken.set(own, (count ?? 0) + 1)
    return new AddressSeat(this.taken, own, seat)
  }

  #warnOfProxy ({ ips, headers, log }: FastifyRequest): void {
    if (this.#hasWarned || ips !== undefined || (headers['x-forwarded-for'] ?? headers.forwarded) === undefined) return
    this.#hasWarned = true
    log.warn('maxConnectionsPerAddress counts all clients of a proxy as one: a handshake came through one, and trustProxy is not set')
  }
}

class AddressSeat implements Seat {
  readonly #taken: Map<string, number>
  readonly #key: string
  readonly #seat: Seat

  constructor (taken: Map<string, number>, key: string, seat: Seat) {
    this.#taken = taken
    this.#key = key
    this.#seat = seat
  }

  leave (): void {
    const left = this.#taken.get(this.#key)! - 1
    if (left === 0) this.#taken.delete(this.#key)
    else this.#taken.set(this.#key, left)
    this.#seat.leave()
  }
}

/** The IPv4 address, also if mapped into IPv6; of IPv6 the /64 network, as clients choose the rest themselves. RFC 4291 §2.5.5.2, RFC 6177. */
export function addressKey (ip: string | undefined): string | null {
  if (ip === undefined || ip === '') return null
  if (!isIPv6(ip)) return ip
  const groups = groupsOf(ip)
  if (groups.slice(0, 5).every(group => group === 0) && groups[5] === 0xffff) {
    return groups.slice(6).flatMap(group => [group >> 8, group & 0xff]).join('.')
  }
  return `${groups.slice(0, GROUPS_OF_CLIENT).map(group => group.toString(16)).join(':')}::/64`
}

/** The eight groups of an IPv6 address in any notation. RFC 4291 §2.2. */
function groupsOf (ip: string): number[] {
  const [address] = ip.split('%') // without its zone
  const [head, tail] = address!.split('::').map(part => part === '' ? [] : part.split(':').flatMap(numbersOf))
  if (tail === undefined) return head!
  return [...head!, ...Array<number>(GROUPS - head!.length - tail.length).fill(0), ...tail]
}

/** A hexadecimal group is one number, an IPv4 address at the end two. */
function numbersOf (group: string): number[] {
  if (!group.includes('.')) return [Number.parseInt(group, 16)]
  const [a, b, c, d] = group.split('.').map(Number)
  return [a! << 8 | b!, c! << 8 | d!]
}
