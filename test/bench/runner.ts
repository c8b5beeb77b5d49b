import type { Sample } from './measurement.ts'
import { workloadResult, type WorkloadResult } from './results.ts'
import type { ServerPool } from './server-pool.ts'
import type { Runtime } from './runtimes.ts'
import { Unavailable, type ServerProcess } from './server-process.ts'
import { openSession, type Session } from './session.ts'
import type { Peer, Workload } from './workloads.ts'

export interface RunnerOptions {
  /** What servers run on, all at the same time and in turns. */
  readonly nodes: readonly Runtime[]
  readonly peers: readonly Peer[]
  readonly rounds: number
  /** Milliseconds of one measurement, and of what goes before the first. */
  readonly duration: number
  readonly warmUp: number
  /** How much of the connections whose memory is measured is opened. */
  readonly share: number
}

// ms; a server that has lost a message would be waited for without end
const PATIENCE = 60_000

/** One that is measured. */
interface Contender {
  readonly peer: Peer
  readonly node: Runtime
  readonly session: Session
  readonly samples: Sample[]
}

/**
 * Measures all servers under one workload, each in a process of its own. They take turns: A B C D, D C B A and so on, so that what
 * else the machine does meanwhile meets all of them alike.
 * @returns a result for each of `nodes`
 */
export async function run (
  workload: Workload, pool: ServerPool, { nodes, peers, rounds, duration, warmUp, share }: RunnerOptions
): Promise<WorkloadResult[]> {
  const servers: ServerProcess[] = []
  const contenders: Contender[] = []
  const notes = new Map(nodes.map(node => [node, [] as string[]]))
  for (const [node, told] of notes) {
    for (const peer of workload.peers.filter(name => peers.includes(name))) {
      try {
        const server = await pool.take(peer, node, workload)
        servers.push(server)
        const session = openSession(peer, server, workload, { share, start: () => pool.fresh(peer, node, workload) })
        contenders.push({ peer, node, session: await within(PATIENCE, session), samples: [] })
      } catch (error) {
        const { message } = error as Error
        if (!(error instanceof Unavailable)) throw new Error(`${workload.name}, ${peer}: ${message}`, { cause: error })
        told.push(`${peer} left out: ${message.split(':', 1)[0]}`)
        // there is nothing to compare with
        if (peer === 'ours') break
      }
    }
  }

  // memory varies little, and takes a process for each measurement; what is delivered takes long
  const isMemory = workload.kind === 'memory'
  const perMeasurement = isMemory ? 4 : workload.kind === 'deliveries' ? 2 : 1
  if (isMemory && share < 1) for (const told of notes.values()) told.push('of fewer connections than usual, which makes each look larger')
  if (perMeasurement === 1) for (const { session } of contenders) await within(PATIENCE, session.measure(warmUp))
  for (let round = 0; round < Math.ceil(rounds / perMeasurement); round++) {
    const order = round % 2 === 0 ? contenders : contenders.toReversed()
    for (const { session, samples } of order) samples.push(await within(PATIENCE, session.measure(duration)))
  }

  for (const { session } of contenders) session.close()
  for (const server of servers) await pool.giveBack(server)
  return nodes.map(node => {
    const samples = contenders.filter(contender => contender.node === node).map(contender => [contender.peer, contender.samples] as const)
    return workloadResult(workload, node.version, new Map(samples), notes.get(node)!)
  })
}

async function within<Value> (limit: number, promise: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new Error(`not everything was answered within ${limit / 1000} s`)) }, limit)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
