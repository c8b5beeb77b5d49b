// A handler that is an async generator: what it yields is sent.
import type { MessageData } from '../../../types/connection.ts'
import { NORMAL_CLOSURE } from '../../protocol/close-code.ts'
import { type Connection, coreOf } from '../connection.ts'
import { nextTurn } from '../turn-clock.ts'

export function isAsyncGenerator (value: unknown): value is AsyncGenerator<MessageData> {
  return Object.prototype.toString.call(value) === '[object AsyncGenerator]'
}

/** Sends what a generator handler yields, each when there is room for it. Its return closes the connection, and a close makes it return. */
export async function sendAll (generator: AsyncGenerator<MessageData>, connection: Connection): Promise<void> {
  let returned: Promise<IteratorResult<MessageData>> | null = null
  // only once; what its finally block rejects with then reaches the loop
  const giveBack = (): Promise<IteratorResult<MessageData>> => (returned ??= generator.return(undefined))
  // also while it awaits something else, which connection.signal can interrupt
  void connection.closed.then(giveBack).catch(() => {})
  try {
    for (let result = await generator.next(); result.done !== true; result = await generator.next()) {
      if (!connection.send(result.value)) await connection.drained()
      else if (coreOf(connection).isTurnOver) await nextTurn()
      if (connection.readyState !== connection.OPEN) await giveBack()
    }
  } catch (error) {
    void giveBack().catch(() => {}) // whatever it does then must not delay this
    throw error
  }
  connection.close(NORMAL_CLOSURE)
}
