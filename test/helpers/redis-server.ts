// A real redis-server.
import { spawnSync } from 'node:child_process'
import { createClient } from 'redis'
import { freePort } from './free-port.ts'
import { ServerProcess } from './server-process.ts'

const isMissing = spawnSync('redis-server', ['--version']).status !== 0

/** What is to be left out: where there is no redis-server, except in CI. One line says so. */
export const withoutRedis: string | false = isMissing && process.env['CI'] === undefined ? 'redis-server is not installed' : false

export class RedisServer extends ServerProcess {
  readonly #options: readonly string[]

  private constructor (port: number, options: readonly string[]) {
    super('redis-server', port)
    this.#options = options
  }

  /** @param options as on its command line */
  static async start (...options: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), options)
    await server.start()
    return server
  }

  async start (): Promise<void> {
    if (isMissing) throw new Error('redis-server is not installed, and CI leaves nothing out')
    await this.run([
      '--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder, '--save', '', '--appendonly', 'no', '--enable-debug-command', 'local', ...this.#options
    ], 'stdout', 'Ready to accept connections')
  }

  /** Since it began: how often each command came, and its CPU time. */
  async usage (): Promise<{ calls: Record<string, number>, microseconds: number }> {
    const client = createClient({ url: `redis://127.0.0.1:${this.port}` })
    await client.connect()
    const info = await client.info('all')
    client.destroy()
    const calls = Object.fromEntries([...info.matchAll(/^cmdstat_(\S+):calls=(\d+)/gm)].map(([, command, count]) => [command!, Number(count)]))
    const seconds = (field: string): number => Number(new RegExp(`^${field}:(.*)$`, 'm').exec(info)![1])
    return { calls, microseconds: (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6 }
  }
}
