import { fork } from 'node:child_process'
import { on } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const script = fileURLToPath(new URL('flow-server.ts', import.meta.url))

/** The server of flow-server.ts, in a process of its own. */
export async function startFlowServer (t: Test): Promise<{
  port: number
  rss: (what?: 'collect') => Promise<number>
  /** Resolves when the server says `what`. */
  told: (what: string) => Promise<void>
}> {
  const child = fork(script)
  t.teardown(() => child.kill('SIGKILL'))
  const ask = async (): Promise<number> => {
    for await (const [answer] of on(child, 'message')) if (typeof answer === 'number') return answer
    throw new Error('the server does not answer')
  }
  const told = async (what: string): Promise<void> => {
    for await (const [said] of on(child, 'message')) if (said === what) return
  }
  const port = await ask()
  const rss = async (what: string = 'rss'): Promise<number> => {
    child.send(what)
    return ask()
  }
  return { port, rss, told }
}
