// HAProxy in front of two nodes, which asks each whether it is ready. HTTP/1.1 is balanced as such, HTTP/2 by TCP connection.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../helpers/free-port.ts'
import { guard } from '../helpers/server-process.ts'
import type { Protocol } from './messages.ts'

export interface Proxy {
  readonly port: number
  readonly stop: () => Promise<void>
}

// The first is drained, and has to be noticed within the delay. A check that cannot connect within its interval has failed too, in a busy moment of
// the node that stays.
const FALL = [2, 50]

const configuration = (protocol: Protocol, port: number, nodes: readonly number[]): string => `
global
  maxconn 8000
defaults
  mode ${protocol === 'http1' ? 'http' : 'tcp'}
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  timeout tunnel 1h
  timeout check 2s
frontend all
  bind 127.0.0.1:${port}
  default_backend nodes
backend nodes
  balance roundrobin
  option httpchk GET /ready
${nodes.map((node, i) => `  server node${i} 127.0.0.1:${node} check inter 100ms fall ${FALL[i]} rise 1${protocol === 'http1' ? '' : ' check-ssl verify none check-alpn http/1.1'}`).join('\n')}
`

export async function startHaproxy (protocol: Protocol, nodes: readonly number[]): Promise<Proxy> {
  const folder = mkdtempSync(join(tmpdir(), 'haproxy-'))
  const file = join(folder, 'haproxy.cfg')
  const port = await freePort()
  writeFileSync(file, configuration(protocol, port, nodes))
  const child = spawn('haproxy', ['-db', '-f', file], { stdio: ['ignore', 'ignore', 'pipe'] })
  const lines: string[] = []
  child.stderr.on('data', (chunk: Buffer) => { lines.push(String(chunk)) })
  const exited = once(child, 'exit')
  const shell = guard(child, folder)
  const answers = (): Promise<boolean> => new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => { resolve(true) })
    socket.on('error', () => { resolve(false) })
    socket.on('close', () => { socket.destroy() })
    socket.end()
  })
  while (!await answers()) if (child.exitCode !== null) throw new Error(`haproxy did not start: ${lines.join('')}`)
  return {
    port,
    stop: async () => {
      child.kill()
      await exited
      shell.kill()
      rmSync(folder, { recursive: true })
    }
  }
}
