// What is measured, as values: the driver fills it in, the terminal and the page show it, the picture is drawn from it.
import { percentile } from './percentile.ts'

export const LIBRARIES = ['fastify-websocket-stream', '@fastify/websocket'] as const
export type Library = typeof LIBRARIES[number]

export const MIB = 1024 * 1024

/** The load, the same for both. It is bounded in time and in bytes. */
export const LOAD = {
  /** ms that one measurement of memory takes. */
  duration: 8000,
  /** Bytes that are offered at most, by the client that never reads or by the source of a handler that pushes. */
  offered: 256 * MIB,
  /** Bytes per second that are offered at most. */
  rate: 40 * MIB,
  /** Bytes per second that the slow reader reads. */
  readRate: 2 * MIB,
  messageSize: 16 * 1024,
  /** Bytes by which a server's memory may grow; then its measurement is stopped. */
  growthLimit: 320 * MIB,
  /** ms between two small messages of the bystander. */
  bystanderInterval: 20,
  /** Messages to the handler that does not listen yet. */
  earlyMessages: 100,
  /** ms that this handler awaits before it listens. */
  lateBy: 100
} as const

export interface Sample {
  /** Seconds since the load began. */
  at: number
  /** Resident set size in bytes. */
  rss: number
}

/** Memory of one server under one load, and how a bystander on the same server fares meanwhile. */
export interface MemoryRun {
  library: Library
  /** How the handler differs from what the library's users usually write, or null. */
  variant: string | null
  state: 'waiting' | 'running' | 'done'
  /** The first is from right before the load. */
  samples: Sample[]
  /** Payload bytes: those that came to the handler, or that the handler gave to send(). */
  bytes: number
  /** Round trips of the bystander in ms. */
  latency: { p50: number, p99: number } | null
  /** The server came to `growthLimit`. */
  isStopped: boolean
}

/** How many of the early messages came to the handler's listener. */
export interface DeliveryRun {
  library: Library
  state: 'waiting' | 'running' | 'done'
  sent: number
  delivered: number
}

export interface Comparison {
  neverReading: MemoryRun[]
  listeningLate: DeliveryRun[]
  pushing: MemoryRun[]
  /** Versions and machine, a line each. */
  conditions: string[]
}

export function newComparison (conditions: string[]): Comparison {
  const [ours, theirs] = LIBRARIES
  return {
    neverReading: LIBRARIES.map(library => memoryRun(library)),
    listeningLate: LIBRARIES.map(library => ({ library, state: 'waiting', sent: 0, delivered: 0 })),
    pushing: [memoryRun(ours), memoryRun(theirs), memoryRun(theirs, 'awaits each callback')],
    conditions
  }
}

function memoryRun (library: Library, variant: string | null = null): MemoryRun {
  return { library, variant, state: 'waiting', samples: [], bytes: 0, latency: null, isStopped: false }
}

type Samples = Pick<MemoryRun, 'samples'>

/** Returns by how many bytes the memory has grown since before the load, or null before the first sample. */
export function growthOf ({ samples }: Samples): number | null {
  return samples.length === 0 ? null : samples.at(-1)!.rss - samples[0]!.rss
}

/** Returns the most bytes by which it had grown, or null before the first sample. */
export function peakGrowthOf ({ samples }: Samples): number | null {
  return samples.length === 0 ? null : Math.max(...samples.map(({ rss }) => rss)) - samples[0]!.rss
}

export function summarize (latencies: readonly number[]): MemoryRun['latency'] {
  const p50 = percentile(latencies, 0.5)
  const p99 = percentile(latencies, 0.99)
  return p50 === null || p99 === null ? null : { p50, p99 }
}

/** Names a run in lists: the library, and how its handler is unusual. */
export function nameOf ({ library, variant }: { library: Library, variant?: string | null }): string {
  return variant == null ? library : `${library}, ${variant}`
}

/** Shows a growth of memory in whole MiB, as in `+12`. */
export function formatGrowth (bytes: number | null): string {
  if (bytes === null) return '-'
  const mib = Math.round(bytes / MIB)
  return `${mib < 0 ? '−' : '+'}${Math.abs(mib)}`
}

/** Shows median and 99th percentile in ms, as in `0.4 / 12`. */
export function formatLatency (latency: MemoryRun['latency']): string {
  return latency === null ? '-' : `${milliseconds(latency.p50)} / ${milliseconds(latency.p99)}`
}

function milliseconds (value: number): string {
  return value < 10 ? value.toFixed(1) : value.toFixed(0)
}
