// A handler that is an async generator: what it yields is sent.
import type { MessageData } from '../../../types/connection.ts'
import { NORMAL_CLOSURE } from '../../protocol/close-code.ts'
import type { Connection } from '../connection.ts'
import { nextTurn } from '../turn-clock.ts'

export function isAsyncGenerator (value: unknown): value is AsyncGenerator<MessageData> {
  return Object.prototype.toString.call(value) === '[object AsyncGenerator]'
}

/** Sends what a generator handler yields, each when there is room for it. Its return closes, a close returns it. */
export async function sendAll (generator: AsyncGenerator<MessageData>, connection: Connection): Promise<void> {
  let returned: Promise<IteratorResult<MessageData>> | null = null
  // once; what its finally block then rejects with reaches the loop
  const giveBack = (): Promise<IteratorResult<MessageData>> => (returned ??= generator.return(undefined))
  // also while it awaits something else, which connection.signal can end
  void connection.closed.then(giveBack).catch(() => {})
  try {
    for (let result = await generator.next(); result.done !== true; result = await generator.next()) {
      if (!connection.send(result.value)) await connection.drained()
      else if (connection.isTurnOver) await nextTurn()
      if (connection.readyState !== connection.OPEN) await giveBack()
    }
  } catch (error) {
    void giveBack().catch(() => {}) // whatever it does then must not hold this up
    throw error
  }
  connection.close(NORMAL_CLOSURE)
}
