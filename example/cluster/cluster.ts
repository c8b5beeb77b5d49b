// The example on three nodes: each a process, with Redis between them and a balancer in front of them. Who ends is started again.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { createClient } from 'redis'
import { redisBroker } from '../../lib/brokers/redis/index.ts'
import type { Topics } from '../../lib/index.ts'
import { newTopics } from '../app.ts'
import { Balancer } from './balancer.ts'
import { startRedis } from './redis.ts'

const NAMES = ['node A', 'node B', 'node C']
const RESTART_DELAY = 3_000 // ms
const COUNT_INTERVAL = 100 // ms

interface ClusterOptions {
  host?: string
  port?: number
  log?: (line: string) => void
}

export class Cluster {
  readonly #balancer = new Balancer()
  readonly #processes = new Set<ChildProcess>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #log: (line: string) => void
  #redis!: Awaited<ReturnType<typeof startRedis>>
  #topics!: Topics
  #isClosing = false

  private constructor (log: (line: string) => void) {
    this.#log = log
  }

  static async start ({ host = '127.0.0.1', port = 0, log = () => {} }: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(log)
    cluster.#redis = await startRedis()
    await Promise.all(NAMES.map(name => cluster.#startNode(name)))
    await cluster.#balancer.listen({ host, port })
    await cluster.#count()
    return cluster
  }

  get port (): number { return this.#balancer.port }

  async close (): Promise<void> {
    this.#isClosing = true
    this.#timers.forEach(clearTimeout)
    this.#balancer.close()
    await this.#topics.close()
    await Promise.all(Array.from(this.#processes, async child => {
      const exited = once(child, 'exit')
      child.kill()
      await exited
    }))
    await this.#redis.stop()
  }

  async #startNode (name: string): Promise<void> {
    const child = fork(new URL(`./node${extname(import.meta.url)}`, import.meta.url), {
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env: { ...process.env, NODE_NAME: name, NODE_COUNT: String(NAMES.length), REDIS_PATH: this.#redis.path }
    })
    this.#processes.add(child)
    const [{ port }] = await once(child, 'message') as [{ port: number }]
    this.#balancer.add(port)
    this.#log(`${name} is process ${child.pid}, on port ${port}`)
    child.once('exit', (_code, signal) => {
      this.#processes.delete(child)
      this.#balancer.remove(port)
      if (this.#isClosing) return
      this.#log(`${name} has ended (${signal}), and is started again in ${RESTART_DELAY / 1000} s`)
      this.#timers.add(setTimeout(() => { void this.#startNode(name) }, RESTART_DELAY))
    })
  }

  /** Publishes 1, 2, 3 ... beside what members say, so that pages can tell when one is missing. */
  async #count (): Promise<void> {
    const client = createClient({ socket: { path: this.#redis.path, tls: false } })
    this.#topics = newTopics({ broker: redisBroker({ client }) })
    await this.#topics.start()
    let count = 0
    this.#timers.add(setInterval(() => { void this.#topics.publish('chat', JSON.stringify({ type: 'count', count: ++count })) }, COUNT_INTERVAL))
  }
}
