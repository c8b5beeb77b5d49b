import { createRequire } from 'node:module'
import { cpus, loadavg } from 'node:os'
import type { Pinning } from './pinning.ts'
import { bunRuntime, type Runtime } from './runtimes.ts'
import type { Peer } from './workloads.ts'

/** Where and with what a run was made. */
export interface Environment {
  readonly date: string
  /** What the servers ran on. */
  readonly node: string
  readonly processor: string
  readonly pinning: Pinning | null
  /** Processes that wanted to run in the minute before. */
  readonly load: number
  readonly versions: Readonly<Record<string, string>>
}

export function environment (pinning: Pinning | null, nodes: readonly Runtime[], peers: readonly Peer[]): Environment {
  const require = createRequire(import.meta.url)
  const version = (name: string): string => (require(`${name}/package.json`) as { version: string }).version
  return {
    date: new Date().toISOString().slice(0, 10),
    node: nodes.map(node => node.version).join(', '),
    processor: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    pinning,
    load: Math.round(loadavg()[0]! * 10) / 10,
    versions: {
      ...Object.fromEntries(['fastify-websocket-stream', 'ws', '@fastify/websocket', 'fastify'].map(name => [name, version(name)])),
      ...(peers.includes('socket.io') ? { 'socket.io': version('socket.io') } : {}),
      ...(peers.includes('bun') ? { bun: bunRuntime().version } : {})
    }
  }
}
