import type { Sample } from './measurement.ts'
import { workloadResult, type WorkloadResult } from './results.ts'
import type { ServerPool } from './server-pool.ts'
import { Unavailable, type ServerProcess } from './server-process.ts'
import { openSession, type Session } from './session.ts'
import type { Peer, Workload } from './workloads.ts'

export interface RunnerOptions {
  readonly peers: readonly Peer[]
  readonly rounds: number
  /** Milliseconds of one measurement, and of what goes before the first. */
  readonly duration: number
  readonly warmUp: number
  /** How much of the connections whose memory is measured is opened. */
  readonly share: number
}

/**
 * Measures all servers under one workload, each in a process of its own. They take turns: A B C D, D C B A and so on, so that what
 * else the machine does meanwhile meets all of them alike.
 */
export async function run (workload: Workload, pool: ServerPool, { peers, rounds, duration, warmUp, share }: RunnerOptions): Promise<WorkloadResult> {
  const deflate = workload.deflate === true
  const servers: ServerProcess[] = []
  const sessions = new Map<Peer, Session>()
  const notes: string[] = []
  for (const peer of workload.peers.filter(name => peers.includes(name))) {
    try {
      const server = await pool.take(peer, deflate)
      servers.push(server)
      sessions.set(peer, await openSession(peer, server, workload, { share, start: () => pool.fresh(peer, deflate) }))
    } catch (error) {
      const { message } = error as Error
      if (!(error instanceof Unavailable)) throw new Error(`${workload.name}, ${peer}: ${message}`, { cause: error })
      notes.push(`${peer} left out: ${message}`)
      // there is nothing to compare with
      if (peer === 'ours') break
    }
  }

  const samples = new Map([...sessions.keys()].map(peer => [peer, [] as Sample[]]))
  // memory varies little, and takes a process for each measurement
  const isMemory = workload.kind === 'memory'
  if (!isMemory) for (const session of sessions.values()) await session.measure(warmUp)
  for (let round = 0; round < (isMemory ? Math.ceil(rounds / 4) : rounds); round++) {
    const order = round % 2 === 0 ? [...sessions] : [...sessions].toReversed()
    for (const [peer, session] of order) samples.get(peer)!.push(await session.measure(duration))
  }

  for (const session of sessions.values()) session.close()
  for (const server of servers) await pool.giveBack(server)
  return workloadResult(workload, samples, notes)
}
