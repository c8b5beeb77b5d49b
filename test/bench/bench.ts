// Measures this library beside others: `npm run bench`. USAGE says how.
import { writeFileSync } from 'node:fs'
import { chart } from './chart.ts'
import { curveChart } from './curve-chart.ts'
import { environment } from './environment.ts'
import { guardFailures } from './guard.ts'
import { benchOptions, USAGE, type BenchOptions } from './options.ts'
import { pinGenerator } from './pinning.ts'
import type { Results, WorkloadResult } from './results.ts'
import { run } from './runner.ts'
import { ServerPool } from './server-pool.ts'
import { resultTables } from './table.ts'

let options: BenchOptions
try {
  options = benchOptions(process.argv.slice(2))
} catch (error) {
  console.error(`${(error as Error).message}\n\n${USAGE}`)
  process.exit(2)
}

const pinning = pinGenerator()
const before = environment(pinning, options.nodes, options.peers)
const pool = new ServerPool({ pinning, reuse: options.reuse, profile: options.profile })
const workloads: WorkloadResult[] = []
for (const workload of options.workloads) {
  const started = performance.now()
  workloads.push(...await run(workload, pool, options))
  console.error(`${workload.name}: ${((performance.now() - started) / 1000).toFixed(1)} s`)
}
await pool.stop()
const results: Results = { environment: before, rounds: options.rounds, duration: options.duration, workloads }
console.log(resultTables(results))
if (options.json !== null) writeFileSync(options.json, JSON.stringify(results, null, 2) + '\n')
if (options.svg !== null) writeFileSync(options.svg, options.curve === null ? chart(results) : curveChart(options.curve, results))
if (options.guard) {
  const failures = guardFailures(workloads)
  console.log(failures.length === 0 ? '\nguard: ok' : `\nguard: FAILED\n${failures.join('\n')}`)
  process.exitCode = failures.length === 0 ? 0 : 1
}
