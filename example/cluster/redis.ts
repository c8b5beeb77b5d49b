import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export function hasRedis (): boolean {
  return spawnSync('redis-server', ['--version']).status === 0
}

/** Starts a redis-server that keeps nothing, on a free port. */
export async function startRedis (): Promise<{ port: number, stop: () => Promise<void> }> {
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'cluster-'))
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(server, 'exit')
  for await (const line of createInterface({ input: server.stdout })) if (line.includes('Ready to accept connections')) break
  server.stdout.resume()
  return {
    port,
    async stop () {
      server.kill()
      await exited
      await rm(folder, { recursive: true })
    }
  }
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
