import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Library } from './comparison.ts'
import type { ServerSample } from './server.ts'

const script = fileURLToPath(new URL('server.js', import.meta.url)) // beside this file once both are compiled

const running = new Set<ChildProcess>()
process.once('exit', () => { for (const child of running) child.kill('SIGKILL') })

/** A server in a process of its own. None of them outlives this process. */
export class ServerProcess {
  readonly port: number
  /** Rejects when the process ends before `stop()`; otherwise stays pending. */
  readonly died: Promise<never>
  readonly #child: ChildProcess

  private constructor (child: ChildProcess, died: Promise<never>, port: number) {
    this.#child = child
    this.died = died
    this.port = port
  }

  static async start (library: Library): Promise<ServerProcess> {
    const child = fork(script, [library], { execArgv: [] })
    running.add(child)
    const died = new Promise<never>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code, signal) => {
        running.delete(child)
        reject(new Error(`the server with ${library} ended: ${signal ?? code}`))
      })
    })
    died.catch(() => {}) // also when nobody waits any more
    const [port] = await Promise.race([once(child, 'message'), died]) as [number]
    return new ServerProcess(child, died, port)
  }

  /** Asks the server how it is. One that stands still answers when it goes on. */
  async sample (): Promise<ServerSample> {
    this.#child.send('sample')
    const [sample] = await Promise.race([once(this.#child, 'message'), this.died])
    return sample
  }

  async stop (): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.died.catch(() => {})
  }
}
