import { figure, type Figure, type Sample } from './measurement.ts'
import type { Environment } from './environment.ts'
import type { Peer, Rival, Workload } from './workloads.ts'

/** What one run has found out, as it is written to a file. */
export interface Results {
  readonly environment: Environment
  /** Per workload and server. */
  readonly rounds: number
  /** Milliseconds of each measurement. */
  readonly duration: number
  readonly workloads: readonly WorkloadResult[]
}

export interface WorkloadResult {
  /** What the servers ran on, but for Bun's. */
  readonly node: string
  readonly name: string
  readonly kind: Workload['kind']
  readonly goals: Workload['goals']
  readonly servers: Partial<Record<Peer, ServerResult>>
  /** What each rival costs, ours being 1: over 1, ours is cheaper. Of measurements in the same round. */
  readonly ratios: Partial<Record<Rival, Figure>>
  /** What was left out, and why. */
  readonly notes: readonly string[]
}

export interface ServerResult {
  /** Microseconds of CPU per message, or bytes per connection. */
  readonly cost: Figure
  /** As in Sample, the medians. Null where memory was measured. */
  readonly rate: number | null
  readonly serverBusy: number | null
  readonly generatorBusy: number | null
  readonly latency: { readonly p50: number, readonly p99: number } | null
}

export function workloadResult (
  { name, kind, goals }: Workload, node: string, samples: ReadonlyMap<Peer, readonly Sample[]>, notes: readonly string[]
): WorkloadResult {
  const servers: Partial<Record<Peer, ServerResult>> = {}
  const ratios: Partial<Record<Rival, Figure>> = {}
  const ours = samples.get('ours')
  for (const [peer, rounds] of samples) {
    servers[peer] = serverResult(rounds)
    if (peer !== 'ours' && ours !== undefined) ratios[peer] = figure(rounds.map(({ cost }, i) => cost / ours[i]!.cost))
  }
  return { node, name, kind, goals, servers, ratios, notes }
}

function serverResult (samples: readonly Sample[]): ServerResult {
  const median = (values: Array<number | undefined>): number | null => {
    const known = values.filter(value => value !== undefined)
    return known.length === 0 ? null : figure(known).median
  }
  const p50 = median(samples.map(({ speed }) => speed?.latency?.p50))
  const p99 = median(samples.map(({ speed }) => speed?.latency?.p99))
  return {
    cost: figure(samples.map(({ cost }) => cost)),
    rate: median(samples.map(({ speed }) => speed?.rate)),
    serverBusy: median(samples.map(({ speed }) => speed?.serverBusy)),
    generatorBusy: median(samples.map(({ speed }) => speed?.generatorBusy)),
    latency: p50 === null || p99 === null ? null : { p50, p99 }
  }
}
