import { execFileSync } from 'node:child_process'

/** The processors that servers and load generator have for themselves, by number. */
export interface Pinning {
  readonly server: number
  readonly generator: number
}

/** Pins this process to a processor and leaves another to the servers; null where that cannot be done (no taskset, one processor). */
export function pinGenerator (): Pinning | null {
  try {
    const [generator, server] = allowedProcessors()
    if (generator === undefined || server === undefined) return null
    taskset('--all-tasks', '--cpu-list', '--pid', String(generator), String(process.pid))
    return { server, generator }
  } catch {
    return null
  }
}

/** As `taskset` says it: '0,2-4'. */
function allowedProcessors (): number[] {
  const list = taskset('--cpu-list', '--pid', String(process.pid)).split(':')[1]!.trim()
  return list.split(',').flatMap(range => {
    const [first, last = first] = range.split('-').map(Number)
    return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i)
  })
}

function taskset (...parameters: string[]): string {
  return execFileSync('taskset', parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
}
