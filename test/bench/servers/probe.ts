// The measured side of a ServerProcess: tells its port, then what the process has used whenever it is asked.

/** What a process has used since it began. */
export interface Usage {
  /** Microseconds of all its threads, in user code and in the kernel. */
  readonly cpu: number
  /** Resident bytes after a full garbage collection; 0 when only the CPU was asked for. */
  readonly rss: number
}

export type ServerMessage = { readonly port: number } | { readonly unavailable: string } | Usage
export type Question = 'cpu' | 'memory'

/** Starts a server and says so; when it does not start, says why instead. */
export async function serve (start: () => Promise<number>): Promise<void> {
  try {
    const port = await start()
    process.on('message', (question: Question) => { process.send!(usage(question)) })
    process.send!({ port } satisfies ServerMessage)
  } catch (error) {
    process.send!({ unavailable: (error as Error).message } satisfies ServerMessage)
  }
  process.on('disconnect', () => { process.exit() })
}

function usage (question: Question): Usage {
  const { user, system } = process.cpuUsage()
  if (question === 'cpu') return { cpu: user + system, rss: 0 }
  // twice: what finalizers let go of in the first round is freed in the second
  for (let i = 0; i < 2; i++) globalThis.gc!()
  return { cpu: user + system, rss: process.memoryUsage.rss() }
}
