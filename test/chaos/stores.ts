// What the nodes of a chaos run have behind them, how it is killed, and what it has afterwards.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectToNats, type NatsConnection } from '@nats-io/transport-node'
import { Redis as Ioredis } from 'ioredis'
import { Layout, tokenOf } from '../../lib/brokers/nats/layout.ts'
import { Session, Unanswered } from '../../lib/brokers/nats/session.ts'
import { Stream } from '../../lib/brokers/nats/stream.ts'
import { NODE } from '../../lib/topics/environment.ts'
import { NatsServer } from '../helpers/nats-server.ts'
import { integer } from '../helpers/random.ts'
import { RedisCluster } from '../helpers/redis-cluster.ts'
import { RedisServer } from '../helpers/redis-server.ts'

export interface Store {
  /** Where nodes find it: a server, or some of a cluster. */
  readonly ports: readonly number[]
  readonly kind: 'redis' | 'redis-cluster' | 'nats-file' | 'nats-memory'
  /** Kills what can be written to. @returns when that was there again */
  kill (chance: () => number): Promise<number>
  save (): Promise<void>
  /** As it would be in a position; null for a topic that is not known. */
  headOf (topic: string): Promise<string | null>
  remove (): Promise<void>
}

const OPTIONS = { none: [], rdb: ['--dbfilename', 'chaos.rdb'], aof: ['--appendonly', 'yes'] } as const

/**
 * What is left when it is killed. `none`: nothing. `rdb`: what it had a while ago. `aof`: all but the last second. `replica`: what its replica has, which
 * lacks the newest in half of the cases, as the address leads to that then. `cluster`: the same, of one of three primaries, by the cluster's own election.
 * `nats-file`: all of it. `nats-memory`: nothing. `nats-older`: what it had at the last of the saves.
 */
export const STORES = {
  none: () => OneServer.start(OPTIONS.none),
  rdb: () => OneServer.start(OPTIONS.rdb),
  aof: () => OneServer.start(OPTIONS.aof),
  replica: () => Pair.start(),
  cluster: () => ClusterOfPairs.start(),
  'nats-file': () => OneNatsServer.start('nats-file'),
  'nats-older': () => OneNatsServer.start('nats-file', true),
  'nats-memory': () => OneNatsServer.start('nats-memory')
} satisfies Record<string, () => Promise<Store>>

export type StoreKind = keyof typeof STORES

function adminOf (port: number): Ioredis {
  const admin = new Ioredis({ port, host: '127.0.0.1', retryStrategy: () => 20, maxRetriesPerRequest: null })
  admin.on('error', () => {})
  return admin
}

async function headAt (admin: Ioredis, topic: string): Promise<string | null> {
  const key = (await admin.keys(`*:n:${topic}`))[0]
  return key === undefined ? null : (await admin.get(key))?.replaceAll(' ', '.') ?? null
}

async function until (isDone: () => Promise<boolean>): Promise<void> {
  while (!await isDone()) await sleep(5)
}

/** Its replica is cut off while messages come, in half of the cases. */
async function outdate (admin: Ioredis, replica: RedisServer, chance: () => number): Promise<void> {
  if (chance() < 0.5) return
  replica.freeze()
  await admin.call('CLIENT', 'KILL', 'TYPE', 'REPLICA')
  await sleep(integer(chance, 10, 100))
}

class OneServer implements Store {
  readonly kind = 'redis'
  readonly #server: RedisServer
  readonly #admin: Ioredis

  private constructor (server: RedisServer) {
    this.#server = server
    this.#admin = adminOf(server.port)
  }

  static async start (options: readonly string[]): Promise<OneServer> {
    return new OneServer(await RedisServer.start(...options))
  }

  get ports (): number[] { return [this.#server.port] }

  async kill (chance: () => number): Promise<number> {
    await this.#server.kill()
    await sleep(integer(chance, 0, 300))
    await this.#server.start()
    return Date.now()
  }

  async save (): Promise<void> { await this.#admin.save() }
  async headOf (topic: string): Promise<string | null> { return await headAt(this.#admin, topic) }

  async remove (): Promise<void> {
    this.#admin.disconnect()
    await this.#server.remove()
  }
}

/** A primary and its replica behind one address, as services have it that fail over by themselves. */
class Pair implements Store {
  readonly kind = 'redis'
  readonly #servers: readonly [RedisServer, RedisServer]
  readonly #admins: readonly Ioredis[]
  readonly #relay: Server
  readonly #sockets = new Set<Socket>()
  #primary = 0

  private constructor (servers: [RedisServer, RedisServer]) {
    this.#servers = servers
    this.#admins = servers.map(({ port }) => adminOf(port))
    this.#relay = createServer(socket => { this.#forward(socket) })
  }

  static async start (): Promise<Pair> {
    const pair = new Pair([await RedisServer.start('--repl-diskless-sync-delay', '0'), await RedisServer.start('--repl-diskless-sync-delay', '0')])
    pair.#relay.listen(0, '127.0.0.1')
    await once(pair.#relay, 'listening')
    await pair.#replicate()
    return pair
  }

  get ports (): number[] { return [(this.#relay.address() as AddressInfo).port] }

  #forward (socket: Socket): void {
    const target = connect(this.#servers[this.#primary]!.port, '127.0.0.1')
    for (const [from, to] of [[socket, target], [target, socket]] as const) {
      this.#sockets.add(from)
      from.pipe(to)
      from.on('error', () => {})
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
    }
  }

  async #replicate (): Promise<void> {
    const [primary, replica] = [this.#servers[this.#primary]!, this.#admins[1 - this.#primary]!]
    await replica.replicaof('127.0.0.1', primary.port)
    await until(async () => (await replica.info('replication')).includes('master_link_status:up'))
  }

  async kill (chance: () => number): Promise<number> {
    const [primary, replica] = [this.#servers[this.#primary]!, this.#servers[1 - this.#primary]!]
    await outdate(this.#admins[this.#primary]!, replica, chance)
    await primary.kill()
    replica.thaw()
    this.#primary = 1 - this.#primary
    await this.#admins[this.#primary]!.call('REPLICAOF', 'NO', 'ONE')
    const readyAt = Date.now()
    await primary.start()
    await this.#replicate()
    return readyAt
  }

  async save (): Promise<void> {}
  async headOf (topic: string): Promise<string | null> { return await headAt(this.#admins[this.#primary]!, topic) }

  async remove (): Promise<void> {
    for (const admin of this.#admins) admin.disconnect()
    this.#relay.close()
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(this.#servers.map(server => server.remove()))
  }
}

class ClusterOfPairs implements Store {
  readonly kind = 'redis-cluster'
  readonly #cluster: RedisCluster

  private constructor (cluster: RedisCluster) {
    this.#cluster = cluster
  }

  static async start (): Promise<ClusterOfPairs> {
    return new ClusterOfPairs(await RedisCluster.start({ replicas: 1 }))
  }

  get ports (): number[] { return this.#cluster.ports }

  async #isPrimary (index: number): Promise<boolean> {
    return (await this.#cluster.admin(index).info('replication')).includes('role:master')
  }

  /** Of three pairs, by their indices, as RedisCluster makes them. */
  async kill (chance: () => number): Promise<number> {
    const pair = integer(chance, 0, 2)
    const [primary, replica] = await this.#isPrimary(pair) ? [pair, pair + 3] : [pair + 3, pair]
    const { servers } = this.#cluster
    await outdate(this.#cluster.admin(primary), servers[replica]!, chance)
    await servers[primary]!.kill()
    servers[replica]!.thaw()
    await until(async () => await this.#isPrimary(replica))
    const readyAt = Date.now()
    await servers[primary]!.start()
    await this.#cluster.settled()
    return readyAt
  }

  async save (): Promise<void> {}

  async headOf (topic: string): Promise<string | null> {
    for (const [index] of this.#cluster.servers.entries()) {
      const head = await this.#isPrimary(index) ? await headAt(this.#cluster.admin(index), topic) : null
      if (head !== null) return head
    }
    return null
  }

  async remove (): Promise<void> { await this.#cluster.remove() }
}

/** Of the rule that nodes have. */
export const KEPT = 200

class OneNatsServer implements Store {
  readonly kind: 'nats-file' | 'nats-memory'
  readonly #server: NatsServer
  readonly #admin: NatsConnection
  readonly #stream: Stream
  readonly #isOlder: boolean

  private constructor (kind: 'nats-file' | 'nats-memory', server: NatsServer, admin: NatsConnection, isOlder: boolean) {
    this.kind = kind
    this.#server = server
    this.#admin = admin
    this.#isOlder = isOlder
    this.#stream = new Stream({ layout: new Layout('ws1'), size: KEPT, headTtl: 86_400_000, storage: kind === 'nats-file' ? 'file' : 'memory', replicas: 1 })
  }

  static async start (kind: 'nats-file' | 'nats-memory', isOlder = false): Promise<OneNatsServer> {
    const server = await NatsServer.start()
    return new OneNatsServer(kind, server, await connectToNats({ servers: `127.0.0.1:${server.port}`, maxReconnectAttempts: -1, reconnectTimeWait: 20 }), isOlder)
  }

  get ports (): number[] { return [this.#server.port] }

  async kill (chance: () => number): Promise<number> {
    await this.#server.kill()
    if (this.#isOlder) this.#server.restore()
    await sleep(integer(chance, 0, 300))
    await this.#server.start()
    return Date.now()
  }

  /** As a copy of its disk would be. */
  async save (): Promise<void> { this.#server.save() }

  async headOf (topic: string): Promise<string | null> {
    for (;;) {
      try {
        const session = new Session({ connection: this.#admin, timeout: 500, environment: NODE })
        await this.#stream.open(session)
        const newest = await this.#stream.last(session, tokenOf(topic))
        return newest === null ? null : `${this.#stream.epoch}.${newest.head.number}.${newest.head.tag}`
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error // else it is coming back
      }
    }
  }

  async remove (): Promise<void> {
    await this.#admin.close()
    await this.#server.remove()
  }
}
