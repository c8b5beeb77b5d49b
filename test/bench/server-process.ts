import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Pinning } from './pinning.ts'
import type { Runtime } from './runtimes.ts'
import type { Question, ServerMessage, Usage } from './servers/probe.ts'
import type { Carrier, Peer } from './workloads.ts'

/** Why something cannot be measured, which is no failure. */
export class Unavailable extends Error {}

let profiles = 0

export interface ServerOptions {
  readonly runtime: Runtime
  readonly deflate: boolean
  readonly carrier: Carrier | undefined
  readonly pinning: Pinning | null
  /** The folder for a CPU profile, or null. */
  readonly profile: string | null
}

/** One server in a process of its own: plain compiled JavaScript without any loader. */
export class ServerProcess {
  readonly port: number
  readonly #child: ChildProcess

  /** @throws Unavailable when the server does not start */
  static async start (peer: Peer, { runtime, deflate, carrier, pinning, profile }: ServerOptions): Promise<ServerProcess> {
    const isBun = peer === 'bun'
    const profiler = profile === null || isBun ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${peer}-${++profiles}.cpuprofile`]
    const node = [runtime.path, ...(isBun ? [] : ['--expose-gc']), ...profiler, fileURLToPath(new URL(`servers/${peer === 'http1' ? 'ours' : peer}.js`, import.meta.url))]
    const [command, ...parameters] = pinning === null ? node : ['taskset', '--cpu-list', String(pinning.server), ...node]
    if (deflate) parameters.push('deflate')
    if (carrier !== undefined && peer !== 'http1') parameters.push(carrier)
    const child = spawn(command!, parameters, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const message = await answer(child)
    if ('port' in message) return new ServerProcess(child, message.port)
    child.disconnect()
    throw new Unavailable('unavailable' in message ? message.unavailable : 'the server does not tell its port')
  }

  private constructor (child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  async usage (question: Question): Promise<Usage> {
    this.#child.send(question)
    return await answer(this.#child) as Usage
  }

  /** Waits until the server has nothing left to do from before. */
  async settle (): Promise<void> {
    const interval = 30
    for (let before = (await this.usage('cpu')).cpu; ;) {
      await new Promise(resolve => { setTimeout(resolve, interval) })
      const { cpu } = await this.usage('cpu')
      if (cpu - before < interval * 1000 * 0.1) return
      before = cpu
    }
  }

  async stop (): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    // it exits by itself then, and writes its profile
    this.#child.disconnect()
    await exit
  }
}

async function answer (child: ChildProcess): Promise<ServerMessage> {
  const ended = new AbortController()
  try {
    return await Promise.race([
      once(child, 'message', ended).then(([message]) => message as ServerMessage),
      once(child, 'exit', ended).then(([code, signal]) => { throw new Error(`the server ended with ${code ?? signal}`) })
    ])
  } finally {
    ended.abort()
  }
}
