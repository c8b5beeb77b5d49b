// HTTP/2 sessions shared by the WebSockets of one origin.
import type { ClientHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { sessionWithoutRoom } from '../errors.ts'
import { PooledSession } from './pooled-session.ts'

/** A session whose server accepts WebSockets; otherwise the HTTP/1.1 connection that resulted, if any. */
export type Opened = { readonly session: ClientHttp2Session } | { socket: Socket | null }
export type OpenSession = (signal: AbortSignal) => Promise<Opened>

interface Opening {
  readonly opened: Promise<PooledSession | { socket: Socket | null }>
  readonly controller: AbortController
  waiting: number
}

export class SessionPool {
  readonly #open: OpenSession
  readonly #onEmpty: () => void
  readonly #sessions = new Set<PooledSession>()
  #opening: Opening | null = null

  /** @param onEmpty called when no session is left or being opened */
  constructor (open: OpenSession, onEmpty: () => void) {
    this.#open = open
    this.#onEmpty = onEmpty
  }

  /**
   * @param signal stops waiting
   * @returns a session with one stream taken, to be given back with release(); or the HTTP/1.1 connection, if any
   * @throws the error that opening a session failed with
   */
  async take (signal: AbortSignal): Promise<PooledSession | { socket: Socket | null }> {
    for (;;) {
      signal.throwIfAborted()
      for (const session of this.#sessions) {
        if (!session.hasRoom) continue
        session.take()
        return session
      }
      const opened = await wait(this.#opening ??= this.#begin(), signal)
      if (!(opened instanceof PooledSession)) return opened
    }
  }

  #begin (): Opening {
    const controller = new AbortController()
    const opened = this.#open(controller.signal).then(result => {
      if (!('session' in result)) return result
      const session = new PooledSession(result.session, gone => {
        this.#sessions.delete(gone)
        this.#forget()
      })
      this.#sessions.add(session)
      if (!session.hasRoom) throw sessionWithoutRoom()
      return session
    })
    const over = (): void => {
      this.#opening = null
      this.#forget()
    }
    opened.then(over, over)
    return { opened, controller, waiting: 0 }
  }

  #forget (): void {
    if (this.#sessions.size === 0 && this.#opening === null) this.#onEmpty()
  }
}

/** All waiters share one opening, which is aborted when the last one stops waiting. */
async function wait (opening: Opening, signal: AbortSignal): Promise<PooledSession | { socket: Socket | null }> {
  opening.waiting++
  try {
    return await new Promise((resolve, reject) => {
      const onAbort = (): void => { reject(signal.reason) }
      signal.addEventListener('abort', onAbort)
      opening.opened.finally(() => { signal.removeEventListener('abort', onAbort) }).then(resolve, reject)
    })
  } finally {
    opening.waiting--
    if (opening.waiting === 0) opening.controller.abort()
  }
}
