import { execFileSync } from 'node:child_process'
import type { BenchClient } from './client-connection.ts'
import { broadcastMessage, checkedMessages } from './echo-check.ts'
import { broadcast, deliver, echo, open, type Opening } from './load-generator.ts'
import { measure, type Sample } from './measurement.ts'
import type { ServerProcess } from './server-process.ts'
import type { Broadcast, Deliveries, Echo, Handshakes, Memory, Peer, Workload } from './workloads.ts'

/** One server under one workload, ready to be measured as often as wanted. */
export interface Session {
  /** @param duration milliseconds, where a measurement has one */
  measure (duration: number): Promise<Sample>
  /** Closes what is open. */
  close (): void
}

export interface SessionOptions {
  /** How much of the connections whose memory is measured is opened, and how much of what is delivered is sent. */
  readonly share: number
  /** Gives another server of the same kind. */
  readonly start: () => Promise<ServerProcess>
}

/**
 * Checks that a server does what will be measured, and opens the connections for it.
 * @throws Unavailable when it cannot
 */
export function openSession (peer: Peer, server: ServerProcess, workload: Workload, options: SessionOptions): Promise<Session> {
  switch (workload.kind) {
    case 'echo': return echoSession(peer, server, workload)
    case 'broadcast': return broadcastSession(peer, server, workload)
    case 'deliveries': return deliveriesSession(peer, server, workload, options)
    case 'handshakes': return handshakeSession(peer, server, workload)
    case 'memory': return memorySession(peer, server, workload, options)
  }
}

async function echoSession (peer: Peer, server: ServerProcess, workload: Echo): Promise<Session> {
  const path = (peer === 'ours' ? workload.path : workload.rivalPath) ?? '/echo'
  const opening = openingOf(peer, workload, path)
  const ring = await checkedMessages(peer, server.port, workload, opening)
  const connections = await open(server.port, opening, workload.connections)
  await server.settle()
  return {
    measure: duration => measure(() => server.usage('cpu'), () => echo(connections, ring, workload.inFlight, duration)),
    close () { destroyAll(connections) }
  }
}

async function broadcastSession (peer: Peer, server: ServerProcess, workload: Broadcast): Promise<Session> {
  const path = peer === 'ours' && workload.path !== undefined ? workload.path : workload.times === 1 ? '/broadcast' : '/burst'
  const opening = openingOf(peer, workload, path)
  const ring = await checkedMessages(peer, server.port, broadcastMessage(peer, workload), opening, workload.times)
  const connections = await open(server.port, opening, workload.connections)
  await server.settle()
  return {
    measure: duration => measure(() => server.usage('cpu'), () => broadcast(connections, ring, workload.times, duration)),
    close () { destroyAll(connections) }
  }
}

async function deliveriesSession (peer: Peer, server: ServerProcess, workload: Deliveries, { share }: SessionOptions): Promise<Session> {
  const opening = openingOf(peer, workload, peer === 'ours' ? workload.path : '/broadcast')
  const ring = await checkedMessages(peer, server.port, broadcastMessage(peer, workload), opening)
  return {
    async measure () {
      const connections = await open(server.port, opening, workload.connections)
      await server.settle()
      const sample = await measure(() => server.usage('cpu'), () => deliver(connections, ring, Math.ceil(workload.messages * share), workload.stopped))
      destroyAll(connections)
      await server.settle()
      return sample
    },
    close () {}
  }
}

async function handshakeSession (peer: Peer, server: ServerProcess, workload: Handshakes): Promise<Session> {
  const opening = openingOf(peer, workload, '/echo')
  const limit = openLimit()
  return {
    async measure (duration) {
      let connections: BenchClient[] = []
      const sample = await measure(() => server.usage('cpu'), async () => {
        const started = performance.now()
        connections = await open(server.port, opening, limit, { atATime: workload.connections, deadline: started + duration })
        return { count: connections.length, elapsed: performance.now() - started, roundTrips: [] }
      })
      destroyAll(connections)
      await server.settle()
      return sample
    },
    close () {}
  }
}

async function memorySession (peer: Peer, server: ServerProcess, workload: Memory, { share, start }: SessionOptions): Promise<Session> {
  const { message } = workload
  const opening = openingOf(peer, workload, '/echo')
  const ring = message === null ? null : await checkedMessages(peer, server.port, message, opening)
  const count = Math.min(Math.round(workload.connections * share), openLimit())

  const connect = async (fresh: ServerProcess, connectionCount: number): Promise<BenchClient[]> => {
    const connections = await open(fresh.port, opening, connectionCount)
    if (ring !== null) await echo(connections, ring, 1, 0)
    await fresh.settle()
    return connections
  }
  return {
    // memory that was once used does not all come back, so each measurement has a process of its own
    async measure () {
      const fresh = await start()
      // what a server allocates once is not what a connection costs
      destroyAll(await connect(fresh, 200))
      await fresh.settle()
      const before = await fresh.usage('memory')
      const connections = await connect(fresh, count)
      const after = await fresh.usage('memory')
      destroyAll(connections)
      await fresh.stop()
      return { cost: (after.rss - before.rss) / count }
    },
    close () {}
  }
}

function openingOf (peer: Peer, { deflate, carrier }: Workload, path: string): Opening {
  return { path, deflate: deflate === true, carrier: peer === 'http1' ? undefined : carrier, engineIo: peer === 'socket.io' }
}

function destroyAll (connections: readonly BenchClient[]): void {
  for (const connection of connections) connection.destroy()
}

/** How many connections a process may have open, with some room for what else it opens. */
function openLimit (): number {
  // Node has raised its soft limit to the hard one, and a child inherits that
  const limit = Number(execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }))
  return (Number.isNaN(limit) ? 65_536 : limit) - 500
}
