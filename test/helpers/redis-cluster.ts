// A real cluster of redis-servers.
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis as Ioredis } from 'ioredis'
import { freePort } from './free-port.ts'
import { RedisServer } from './redis-server.ts'

const SLOTS = 16_384
const HOST = '127.0.0.1'

export class RedisCluster {
  readonly servers: readonly RedisServer[]
  readonly #admins: readonly Ioredis[]
  readonly #primaries: number
  readonly #ids: string[] = []

  private constructor (servers: readonly RedisServer[], primaries: number) {
    this.servers = servers
    this.#primaries = primaries
    this.#admins = servers.map(({ port }) => {
      const admin = new Ioredis({ port, host: HOST, retryStrategy: () => 20, maxRetriesPerRequest: null })
      admin.on('error', () => {})
      return admin
    })
  }

  /** @param replicas of each primary */
  static async start ({ primaries = 3, replicas = 0, options = [] }: { primaries?: number, replicas?: number, options?: readonly string[] } = {}): Promise<RedisCluster> {
    const started = await Promise.allSettled(Array.from({ length: primaries * (1 + replicas) }, async () => RedisServer.start(
      '--cluster-enabled', 'yes', '--cluster-port', String(await freePort()), '--cluster-node-timeout', '1000', '--repl-diskless-sync-delay', '0', ...options
    )))
    const servers = started.flatMap(outcome => outcome.status === 'fulfilled' ? [outcome.value] : [])
    const cluster = new RedisCluster(servers, primaries)
    try {
      const failed = started.find(outcome => outcome.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      await cluster.#form()
    } catch (error) {
      await cluster.remove()
      throw error
    }
    return cluster
  }

  get ports (): number[] { return this.servers.map(({ port }) => port) }

  /** A client of one node. */
  admin (index: number): Ioredis { return this.#admins[index]! }

  /** Which primary has a slot, as they were made. */
  ownerOf (slot: number): number {
    return Math.floor(slot * this.#primaries / SLOTS)
  }

  async #form (): Promise<void> {
    const nodes = await Promise.all(this.servers.map(async ({ port }, i) => {
      const [, bus] = await this.admin(i).config('GET', 'cluster-port') as string[]
      return { port, bus: bus!, id: String(await this.admin(i).call('CLUSTER', 'MYID')) }
    }))
    this.#ids.push(...nodes.map(({ id }) => id))
    for (let i = 0; i < this.#primaries; i++) {
      const [from, to] = [i, i + 1].map(j => Math.ceil(j * SLOTS / this.#primaries)) as [number, number]
      await this.admin(i).call('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1))
      await this.admin(i).call('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to - 1))
    }
    for (const { port, bus } of nodes.slice(1)) await this.admin(0).call('CLUSTER', 'MEET', HOST, String(port), bus)
    for (let i = this.#primaries; i < nodes.length; i++) {
      await this.#until(async () => (await this.#nodes(i)).length >= nodes.length)
      await this.admin(i).call('CLUSTER', 'REPLICATE', nodes[i % this.#primaries]!.id)
    }
    await this.settled()
  }

  async #nodes (index: number): Promise<string[]> {
    return String(await this.admin(index).call('CLUSTER', 'NODES')).trim().split('\n')
  }

  async #until (isDone: () => Promise<boolean>): Promise<void> {
    for (let attempt = 0; attempt < 2_000; attempt++) {
      if (await isDone()) return
      await sleep(20)
    }
    throw new Error(`the cluster is not what it should be:\n${(await this.#nodes(0)).join('\n')}`)
  }

  /** All know all, and none is missing. */
  async settled (): Promise<void> {
    await this.#until(async () => {
      for (const [i] of this.servers.entries()) {
        const nodes = await this.#nodes(i)
        if (!String(await this.admin(i).call('CLUSTER', 'INFO')).includes('cluster_state:ok')) return false
        if (nodes.length !== this.servers.length || nodes.some(line => /fail|handshake|disconnected/.test(line))) return false
        if (/role:slave/.test(await this.admin(i).info('replication')) && !/master_link_status:up/.test(await this.admin(i).info('replication'))) return false
      }
      return true
    })
  }

  /** As a resharding does it: key by key. @param meanwhile when some of what is in it may be here, and some there */
  async move (slot: number, from: number, to: number, meanwhile: () => Promise<unknown> = async () => {}): Promise<void> {
    const [source, target] = [this.admin(from), this.admin(to)]
    await target.call('CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', this.#ids[from]!)
    await source.call('CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', this.#ids[to]!)
    await meanwhile()
    for (;;) {
      const keys = await source.call('CLUSTER', 'GETKEYSINSLOT', String(slot), '10') as string[]
      if (keys.length === 0) break
      for (const key of keys) await source.call('MIGRATE', HOST, String(this.servers[to]!.port), key, '0', '5000')
    }
    for (const index of new Set([to, from, ...this.servers.keys()])) await this.admin(index).call('CLUSTER', 'SETSLOT', String(slot), 'NODE', this.#ids[to]!).catch(() => {}) // a replica is not told
    await this.#until(() => this.#agreeOn(slot, this.#ids[to]!))
  }

  /**
   * All know who has a slot, and the latest epoch: whoever takes the next slot numbers its claim by the epoch that it knows, and one with an older number
   * is not believed, so that nobody would have the slot.
   */
  async #agreeOn (slot: number, id: string): Promise<boolean> {
    const views = await Promise.all(this.#admins.map(async admin => {
      const ranges = await admin.call('CLUSTER', 'SLOTS') as Array<[from: number, to: number, primary: [host: string, port: number, id: string]]>
      const owner = ranges.find(([from, to]) => from <= slot && slot <= to)?.[2][2]
      return `${owner} ${/cluster_current_epoch:\d+/.exec(String(await admin.call('CLUSTER', 'INFO')))}`
    }))
    return views.every(view => view === views[0] && view.startsWith(`${id} `))
  }

  async kill (): Promise<void> {
    await Promise.all(this.servers.map(server => server.kill()))
  }

  async restart (): Promise<void> {
    await Promise.all(this.servers.map(server => server.start()))
    await this.settled()
  }

  async remove (): Promise<void> {
    for (const admin of this.#admins) admin.disconnect()
    await Promise.all(this.servers.map(server => server.remove()))
  }
}
