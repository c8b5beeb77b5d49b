// A real nats-server with JetStream on a free port, in a folder of its own.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connect, type ConnectionOptions, type NatsConnection } from '@nats-io/transport-node'
import type { Test } from 'tap'
import { freePort, guard } from './redis-server.ts'

const isMissing = spawnSync('nats-server', ['--version']).status !== 0

/** What is to be left out: where there is no nats-server, except in CI. One line says so. */
export const withoutNats: string | false = isMissing && process.env['CI'] === undefined ? 'nats-server is not installed' : false

export class NatsServer {
  readonly port: number
  readonly #folder = mkdtempSync(join(tmpdir(), 'nats-'))
  #process: ChildProcess | null = null
  #guard: ChildProcess | null = null

  private constructor (port: number) {
    this.port = port
  }

  /** @param config besides where it listens and stores. Default: JetStream is enabled */
  static async start (config?: string): Promise<NatsServer> {
    const server = new NatsServer(await freePort())
    await server.start(config)
    return server
  }

  async start (config = 'jetstream {}'): Promise<void> {
    if (isMissing) throw new Error('nats-server is not installed, and CI leaves nothing out')
    const file = join(this.#folder, 'server.conf')
    writeFileSync(file, `${config.replace('jetstream {', `jetstream {\n store_dir: ${JSON.stringify(this.#store)}\n`)}\n`)
    const child = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(this.port), '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#process = child
    this.#guard = guard(child, this.#folder)
    const lines: string[] = []
    for await (const line of createInterface({ input: child.stderr })) {
      lines.push(line)
      if (line.includes('Server is ready')) break
    }
    child.stderr.resume()
    if (child.exitCode !== null || !lines.at(-1)?.includes('ready')) throw new Error(`nats-server did not start:\n${lines.join('\n')}`)
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

  /** It answers nothing until it may go on. */
  freeze (): void { this.#process?.kill('SIGSTOP') }
  thaw (): void { this.#process?.kill('SIGCONT') }

  /** What restore() brings back, while it is running as a copy of a disk may be made. */
  save (): void { cpSync(this.#store, this.#saved, { recursive: true }) }

  /** While it is not running. Nothing has been saved: its streams are gone. */
  restore (): void {
    rmSync(this.#store, { recursive: true, force: true })
    if (existsSync(this.#saved)) cpSync(this.#saved, this.#store, { recursive: true })
  }

  get #store (): string { return join(this.#folder, 'store') }
  get #saved (): string { return join(this.#folder, 'saved') }

  async remove (): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** A connection as users bring it, which ends with the test. */
  async connect (t: Pick<Test, 'teardown'>, options: ConnectionOptions = {}): Promise<NatsConnection> {
    const connection = await connect({ servers: `127.0.0.1:${this.port}`, maxReconnectAttempts: -1, reconnectTimeWait: 20, reconnectJitter: 10, ...options })
    t.teardown(() => connection.close())
    return connection
  }
}
