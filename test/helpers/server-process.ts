// A server in a process of its own, on a port that it keeps, with a folder.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export class ServerProcess {
  readonly port: number
  readonly folder: string
  readonly #command: string
  #process: ChildProcess | null = null
  #guard: ChildProcess | null = null

  constructor (command: string, port: number) {
    this.#command = command
    this.port = port
    this.folder = mkdtempSync(join(tmpdir(), `${command}-`))
  }

  /** @param ready what it prints once it listens */
  async run (args: readonly string[], output: 'stdout' | 'stderr', ready: string): Promise<void> {
    const child = spawn(this.#command, args, { stdio: ['ignore', output === 'stdout' ? 'pipe' : 'ignore', output === 'stderr' ? 'pipe' : 'inherit'] })
    this.#process = child
    this.#guard = guard(child, this.folder)
    const lines: string[] = []
    for await (const line of createInterface({ input: child[output]! })) {
      lines.push(line)
      if (line.includes(ready)) break
    }
    child[output]!.resume()
    if (child.exitCode !== null || !lines.at(-1)?.includes(ready)) throw new Error(`${this.#command} did not start:\n${lines.join('\n')}`)
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

  async remove (): Promise<void> {
    await this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Ends a server, and removes its folder, when this process has ended without doing so, in whatever way. */
export function guard (server: ChildProcess, folder: string): ChildProcess {
  const shell = spawn('sh', ['-c', 'read line; kill -9 "$0"; sleep 1; rm -rf "$1"', String(server.pid), folder], { stdio: ['pipe', 'ignore', 'ignore'] })
  shell.unref()
  ;(shell.stdin as unknown as { unref: () => void }).unref()
  return shell
}
