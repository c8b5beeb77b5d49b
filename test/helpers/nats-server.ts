// A real nats-server with JetStream.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type ConnectionOptions, type NatsConnection } from '@nats-io/transport-node'
import type { Test } from 'tap'
import { freePort } from './free-port.ts'
import { ServerProcess } from './server-process.ts'

const isMissing = spawnSync('nats-server', ['--version']).status !== 0

/** What is to be left out: where there is no nats-server, except in CI. One line says so. */
export const withoutNats: string | false = isMissing && process.env['CI'] === undefined ? 'nats-server is not installed' : false

export class NatsServer extends ServerProcess {
  private constructor (port: number) {
    super('nats-server', port)
  }

  /** @param config besides where it listens and stores. Default: JetStream is enabled */
  static async start (config?: string): Promise<NatsServer> {
    const server = new NatsServer(await freePort())
    await server.start(config)
    return server
  }

  async start (config = 'jetstream {}'): Promise<void> {
    if (isMissing) throw new Error('nats-server is not installed, and CI leaves nothing out')
    const file = join(this.folder, 'server.conf')
    writeFileSync(file, `${config.replace('jetstream {', `jetstream {\n store_dir: ${JSON.stringify(this.#store)}\n`)}\n`)
    await this.run(['-a', '127.0.0.1', '-p', String(this.port), '-c', file], 'stderr', 'Server is ready')
  }

  /** What restore() brings back, while it is running as a copy of a disk may be made. */
  save (): void { cpSync(this.#store, this.#saved, { recursive: true }) }

  /** While it is not running. Nothing has been saved: its streams are gone. */
  restore (): void {
    rmSync(this.#store, { recursive: true, force: true })
    if (existsSync(this.#saved)) cpSync(this.#saved, this.#store, { recursive: true })
  }

  get #store (): string { return join(this.folder, 'store') }
  get #saved (): string { return join(this.folder, 'saved') }

  /** A connection as users bring it, which ends with the test. */
  async connect (t: Pick<Test, 'teardown'>, options: ConnectionOptions = {}): Promise<NatsConnection> {
    const connection = await connect({ servers: `127.0.0.1:${this.port}`, maxReconnectAttempts: -1, reconnectTimeWait: 20, reconnectJitter: 10, ...options })
    t.teardown(() => connection.close())
    return connection
  }
}
