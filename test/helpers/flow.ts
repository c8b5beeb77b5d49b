import { fork } from 'node:child_process'
import { on } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const script = fileURLToPath(new URL('flow-server.ts', import.meta.url))

export interface FlowServer {
  port: number
  /** Resolves when the event loop of the server has come round to a question. */
  answer: () => Promise<void>
  /** The bytes that the server holds, garbage not counted. */
  held: () => Promise<number>
  /** The most bytes that the server ever had from the system. */
  most: () => Promise<number>
  /** Resolves when the server says `what`. */
  told: (what: string) => Promise<void>
}

/** The server of flow-server.ts, in a process of its own. */
export async function startFlowServer (t: Test): Promise<FlowServer> {
  const child = fork(script)
  t.teardown(() => child.kill('SIGKILL'))
  const number = async (): Promise<number> => {
    for await (const [answer] of on(child, 'message')) if (typeof answer === 'number') return answer
    throw new Error('the server does not answer')
  }
  const ask = (what: string): Promise<number> => {
    child.send(what)
    return number()
  }
  return {
    port: await number(),
    answer: async () => { await ask('turn') },
    held: () => ask('held'),
    most: () => ask('most'),
    async told (what) {
      for await (const [said] of on(child, 'message')) if (said === what) return
    }
  }
}
