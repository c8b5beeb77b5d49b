import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export function hasRedis (): boolean {
  return spawnSync('redis-server', ['--version']).status === 0
}

/** Starts a redis-server that keeps nothing, on a socket in a folder of its own: a port that is free now may be taken by the time that it listens. */
export async function startRedis (): Promise<{ path: string, stop: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'cluster-'))
  const path = join(folder, 'redis.sock')
  const server = spawn('redis-server', ['--port', '0', '--unixsocket', path, '--dir', folder, '--save', ''], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(server, 'exit')
  for await (const line of createInterface({ input: server.stdout })) if (line.includes('ready to accept connections')) break
  server.stdout.resume()
  return {
    path,
    async stop () {
      server.kill()
      await exited
      await rm(folder, { recursive: true })
    }
  }
}
