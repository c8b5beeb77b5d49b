// What the tests of how connections end have in common.
import type { WebSocketConnection } from '../../types/connection.ts'

/** For tests in which nothing may wait for it. */
export const NEVER = { closeTimeout: 60_000 }

export function echo (connection: WebSocketConnection): void {
  connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
}

/** 'close' as 'code reason'. */
export function closing (connection: WebSocketConnection): Promise<string> {
  return new Promise(resolve => {
    connection.on('close', (code, reason) => { resolve(`${code} ${reason}`.trimEnd()) })
  })
}
