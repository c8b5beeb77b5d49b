import { threeDigits } from './number-format.ts'
import type { WorkloadResult } from './results.ts'
import { WORKLOADS } from './workloads.ts'

/** One line for each workload that has lost its place beside `ws`, as WORKLOADS says it. Ratios within one run only, no times. */
export function guardFailures (results: readonly WorkloadResult[]): string[] {
  return results.flatMap(({ name, ratios }) => {
    const least = WORKLOADS.find(workload => workload.name === name)!.guard
    if (least === undefined || ratios.ws === undefined || ratios.ws.median >= least) return []
    return [`${name}: ws costs ${threeDigits(ratios.ws.median)} times as much, where at least ${least} is expected`]
  })
}
