// The slots of a cluster and the nodes that have them.
import type { Address } from './connection.ts'

const SLOTS = 16_384

/** The slot of a key: CRC-16 (polynomial 0x1021) of the hash tag in braces, or of the whole key. */
export function slotOf (key: string): number {
  const open = key.indexOf('{')
  const close = open < 0 ? -1 : key.indexOf('}', open)
  const hashed = Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key)
  let crc = 0
  for (const byte of hashed) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff
  }
  return crc % SLOTS
}

export interface Topology {
  /** The primary that has a slot; null if none has. */
  ownerOf (slot: number): Address | null
  /** All nodes, including replicas. */
  readonly nodes: readonly Address[]
}

interface Range {
  readonly from: number
  readonly to: number
  readonly owner: Address
}

/**
 * Parses the answer of CLUSTER SLOTS: [from, to, [host, port, ...], [host, port, ...] ...] ...
 * @param asked the address used for a node that does not know its own host
 * @returns null for anything else
 */
export function parseSlots (reply: unknown, asked: Address, map: (address: Address) => Address): Topology | null {
  if (!Array.isArray(reply)) return null
  const ranges: Range[] = []
  const nodes = new Map<string, Address>()
  for (const item of reply as unknown[]) {
    if (!Array.isArray(item)) return null
    const [from, to, ...given] = item as unknown[]
    const [owner, ...replicas] = given.map(node => addressOf(node, asked))
    if (!Number.isInteger(from) || !Number.isInteger(to) || owner === undefined || owner === null) return null
    const mapped = map(owner)
    ranges.push({ from: from as number, to: to as number, owner: mapped })
    for (const node of [mapped, ...replicas.filter(replica => replica !== null).map(map)]) nodes.set(nameOf(node), node)
  }
  return {
    ownerOf: slot => ranges.find(({ from, to }) => slot >= from && slot <= to)?.owner ?? null,
    nodes: [...nodes.values()]
  }
}

function addressOf (node: unknown, asked: Address): Address | null {
  const [host, port] = Array.isArray(node) ? node as unknown[] : []
  if (!Number.isInteger(port)) return null
  const name = host === null || host === undefined ? '' : String(host as Buffer)
  return { host: name === '' || name === '?' ? asked.host : name, port: port as number }
}

export function nameOf ({ host, port }: Address): string {
  return `${host}:${port}`
}
