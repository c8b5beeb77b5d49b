// Two nodes behind HAProxy, with Redis for what is missed meanwhile: all clients connect, one node is drained, and its clients go to the other.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { get as getHttp } from 'node:http'
import { get as getHttps } from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import type { ConnectOptions } from '../../types/index.ts'
import { CERTIFICATE } from '../helpers/certificate.ts'
import { RedisServer } from '../helpers/redis-server.ts'
import { Follower, Report } from './follower.ts'
import { startHaproxy } from './haproxy.ts'
import type { FromNode, Order, Protocol } from './messages.ts'

export interface RehearsalOptions {
  readonly protocol: Protocol
  readonly clients: number
  /** Milliseconds, as of drain(). */
  readonly delay: number
  readonly spread: number
  /** Milliseconds between two messages of the topic. */
  readonly interval: number
}

export interface Rehearsal {
  readonly drained: number
  readonly refused: number
  readonly same: number
  readonly missed: number
  readonly doubles: number
  readonly notRecovered: number
  /** Closes with another code than 1012. */
  readonly otherCloses: number
  /** Of each bin of half a second of the spread, how many per cent of the closes it has seen. */
  readonly bins: number[]
  /** Answers to a GET each 50 ms, by status: through HAProxy, and of the node that is drained. */
  readonly http: Record<string, number>
  readonly httpOfDrained: Record<string, number>
  readonly gap: { readonly p50: number, readonly p99: number, readonly max: number }
  readonly drainedAfter: number
}

const BIN = 500
const BETWEEN_GETS = 50
const AT_A_TIME = 100

async function startNode (name: string, redis: RedisServer, protocol: Protocol): Promise<{ child: ChildProcess, port: number }> {
  const child = fork(new URL('node.ts', import.meta.url), [name, String(redis.port), protocol], { execArgv: ['--disable-warning=ExperimentalWarning'] })
  const exited = once(child, 'exit').then(() => { throw new Error(`node ${name} did not start`) })
  const [{ port }] = await Promise.race([once(child, 'message') as Promise<[{ port: number }]>, exited])
  exited.catch(() => {})
  return { child, port }
}

const order = (child: ChildProcess, given: Order): void => { child.send(given) }

/** Asks for / again and again, each time over a connection of its own. */
class Asker {
  readonly #counts: Record<string, number> = {}
  readonly #timer: NodeJS.Timeout

  constructor (protocol: Protocol, port: number) {
    const options = { port, host: '127.0.0.1', agent: false, ca: CERTIFICATE.cert, servername: 'localhost', timeout: 5000 } as const
    const count = (key: string): void => { this.#counts[key] = (this.#counts[key] ?? 0) + 1 }
    this.#timer = setInterval(() => {
      const request = (protocol === 'http1' ? getHttp : getHttps)(options, response => {
        count(String(response.statusCode))
        response.resume()
      })
      request.on('timeout', () => { request.destroy(new Error('timeout')) })
      request.on('error', (error: NodeJS.ErrnoException) => { count(error.code ?? error.message) })
    }, BETWEEN_GETS)
  }

  stop (): Record<string, number> {
    clearInterval(this.#timer)
    return { ...this.#counts } // without those on their way, which end with their node
  }
}

export async function rehearse (options: RehearsalOptions): Promise<Rehearsal> {
  const redis = await RedisServer.start()
  const nodes = await Promise.all(['a', 'b'].map(name => startNode(name, redis, options.protocol)))
  const proxy = await startHaproxy(options.protocol, nodes.map(({ port }) => port))
  const report = new Report()
  const followers: Follower[] = []
  try {
    return await drainOne(options, proxy.port, nodes, report, followers)
  } finally {
    for (const follower of followers) follower.stop()
    for (const { child } of nodes) child.disconnect()
    await Promise.all([proxy.stop(), ...nodes.map(({ child }) => once(child, 'exit'))])
    await redis.remove()
  }
}

async function drainOne (
  { protocol, clients, interval, ...times }: RehearsalOptions, port: number, [a, b]: Array<{ child: ChildProcess, port: number }>, report: Report, followers: Follower[]
): Promise<Rehearsal> {
  const url = `${protocol === 'http1' ? 'ws' : 'wss'}://127.0.0.1:${port}/news`
  const connectOptions: ConnectOptions = protocol === 'http1' ? {} : { http2: true, request: { ca: CERTIFICATE.cert, servername: 'localhost' } }
  while (followers.length < clients) {
    await Promise.all(Array.from({ length: Math.min(AT_A_TIME, clients - followers.length) }, () => {
      const follower = new Follower(report, url, connectOptions)
      followers.push(follower)
      return new Promise<void>((resolve, reject) => { follower.run(resolve).catch(reject) })
    }))
  }
  let number = 0
  const publishing = setInterval(() => { order(b!.child, { publish: ++number }) }, interval)
  const askers = [new Asker(protocol, port), new Asker(protocol, a!.port)]
  await delay(1000)
  report.refused = 0
  const drained = followers.filter(({ node }) => node === 'a').length
  const begin = performance.now()
  order(a!.child, { drain: times })
  const [{ drainedAfter }] = await once(a!.child, 'message') as [Extract<FromNode, { drainedAfter: number }>]
  while (!followers.every(({ isOpen }) => isOpen)) await delay(50)
  clearInterval(publishing)
  while (!followers.every(follower => follower.number === number)) await delay(50)
  const [http, httpOfDrained] = askers.map(asker => asker.stop())
  const closes = report.closes.filter(({ code }) => code === 1012)
  const bins = Array.from({ length: Math.ceil(times.spread / BIN) }, (_, i) => {
    const [from, to] = [begin + times.delay + i * BIN, begin + times.delay + (i + 1) * BIN]
    return closes.filter(({ at }) => at >= from && at < to).length / closes.length * 100
  })
  const gaps = report.gaps.toSorted((a, b) => a - b)
  const quantile = (share: number): number => Math.round(gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * share))] ?? 0)
  const { refused, same, missed, doubles, notRecovered } = report
  return {
    drained,
    refused,
    same,
    missed,
    doubles,
    notRecovered,
    otherCloses: report.closes.length - closes.length,
    bins: bins.map(share => Math.round(share * 10) / 10),
    http: http!,
    httpOfDrained: httpOfDrained!,
    gap: { p50: quantile(0.5), p99: quantile(0.99), max: quantile(1) },
    drainedAfter: Math.round(drainedAfter)
  }
}
