import { ServerProcess, type ServerOptions } from './server-process.ts'
import { bunRuntime, type Runtime } from './runtimes.ts'
import type { Peer, Workload } from './workloads.ts'

/** The servers that run. */
export class ServerPool {
  readonly #options: Pick<ServerOptions, 'pinning' | 'profile'>
  readonly #reuse: boolean
  readonly #servers = new Map<string, ServerProcess>()

  /** @param reuse whether servers go on with the next workload, warm but with its traces, or each gets processes of its own */
  constructor ({ reuse, ...options }: Pick<ServerOptions, 'pinning' | 'profile'> & { readonly reuse: boolean }) {
    this.#options = options
    this.#reuse = reuse
  }

  /** @throws Unavailable when it does not start */
  async take (peer: Peer, node: Runtime, workload: Workload): Promise<ServerProcess> {
    const name = `${peer} ${node.path} ${workload.deflate} ${workload.carrier}`
    const server = this.#servers.get(name) ?? await this.fresh(peer, node, workload)
    if (this.#reuse) this.#servers.set(name, server)
    return server
  }

  /** A server that nobody else uses, before or afterwards: its taker stops it. @throws Unavailable as take() does */
  fresh (peer: Peer, node: Runtime, { deflate, carrier }: Pick<Workload, 'deflate' | 'carrier'>): Promise<ServerProcess> {
    return ServerProcess.start(peer, { runtime: peer === 'bun' ? bunRuntime() : node, deflate: deflate === true, carrier, ...this.#options })
  }

  /** Takes a server back whose connections are closed. */
  async giveBack (server: ServerProcess): Promise<void> {
    if (this.#reuse) await server.settle()
    else await server.stop()
  }

  async stop (): Promise<void> {
    await Promise.all([...this.#servers.values()].map(server => server.stop()))
  }
}
