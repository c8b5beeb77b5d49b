import type { Load } from './load-generator.ts'
import type { Usage } from './servers/probe.ts'

/** One measurement of one server. */
export interface Sample {
  /** Of the server: microseconds of CPU per message, or bytes per connection. */
  readonly cost: number
  /** Absent where memory was measured. */
  readonly speed?: Speed
}

export interface Speed {
  /** Messages (deliveries, handshakes) per second. */
  readonly rate: number
  /** How much of a processor the server used, and the load generator: 1 is all of one. */
  readonly serverBusy: number
  readonly generatorBusy: number
  /** Milliseconds of a round trip; null unless one message was in flight. */
  readonly latency: { readonly p50: number, readonly p99: number } | null
}

/** The same over all rounds: their median and what lies around it. */
export interface Figure {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Takes the time of a load and the CPU of both sides. */
export async function measure (usage: () => Promise<Usage>, load: () => Promise<Load>): Promise<Sample> {
  const before = await usage()
  const ownBefore = process.cpuUsage()
  const { count, elapsed, roundTrips } = await load()
  const own = process.cpuUsage(ownBefore)
  const cpu = (await usage()).cpu - before.cpu
  return {
    cost: cpu / count,
    speed: {
      rate: count / elapsed * 1000,
      serverBusy: cpu / elapsed / 1000,
      generatorBusy: (own.user + own.system) / elapsed / 1000,
      latency: roundTrips.length === 0 ? null : percentiles(roundTrips)
    }
  }
}

export function figure (values: readonly number[]): Figure {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted.at(-1)! }
}

function percentiles (values: readonly number[]): { p50: number, p99: number } {
  const sorted = Float64Array.from(values).sort()
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!
  return { p50: at(0.5), p99: at(0.99) }
}
