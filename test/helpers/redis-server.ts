// A real redis-server on a free port, in a folder of its own.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createClient } from 'redis'

const isMissing = spawnSync('redis-server', ['--version']).status !== 0

/** What is to be left out: where there is no redis-server, except in CI. One line says so. */
export const withoutRedis: string | false = isMissing && process.env['CI'] === undefined ? 'redis-server is not installed' : false

export class RedisServer {
  readonly port: number
  readonly #folder = mkdtempSync(join(tmpdir(), 'redis-'))
  readonly #options: readonly string[]
  #process: ChildProcess | null = null
  #guard: ChildProcess | null = null

  private constructor (port: number, options: readonly string[]) {
    this.port = port
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
    const child = spawn('redis-server', [
      '--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#folder, '--save', '', '--appendonly', 'no', '--enable-debug-command', 'local', ...this.#options
    ], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#process = child
    this.#guard = guard(child, this.#folder)
    const lines: string[] = []
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line)
      if (line.includes('Ready to accept connections')) break
    }
    child.stdout.resume()
    if (child.exitCode !== null || !lines.at(-1)?.includes('Ready')) throw new Error(`redis-server did not start:\n${lines.join('\n')}`)
  }

  async kill (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    this.#process = null
    if (child === null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
    this.#guard?.kill()
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

  /** It answers nothing until it may go on. */
  freeze (): void { this.#process?.kill('SIGSTOP') }
  thaw (): void { this.#process?.kill('SIGCONT') }

  async remove (): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Ends a server, and removes its folder, when this process has ended without doing so, in whatever way. */
export function guard (server: ChildProcess, folder: string): ChildProcess {
  const shell = spawn('sh', ['-c', 'read line; kill -9 "$0"; sleep 1; rm -rf "$1"', String(server.pid), folder], { stdio: ['pipe', 'ignore', 'ignore'] })
  shell.unref()
  ;(shell.stdin as unknown as { unref: () => void }).unref()
  return shell
}

export async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
