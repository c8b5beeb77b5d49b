// Handlers that are async generators: what they yield is sent.
import type { MessageData } from '../../../types/connection.ts'
import { NORMAL_CLOSURE } from '../../protocol/close-code.ts'
import { type Connection, coreOf } from '../connection.ts'
import { nextTurn } from '../turn-clock.ts'

export function isAsyncGenerator (value: unknown): value is AsyncGenerator<MessageData> {
  return Object.prototype.toString.call(value) === '[object AsyncGenerator]'
}

/** Sends what a generator handler yields, with backpressure. Its return closes the connection, and a close makes it return. */
export async function sendAll (generator: AsyncGenerator<MessageData>, connection: Connection): Promise<void> {
  let returned: Promise<IteratorResult<MessageData>> | null = null
  // only once, so that an error of its finally block reaches the loop
  const giveBack = (): Promise<IteratorResult<MessageData>> => (returned ??= generator.return(undefined))
  // on close, even while it awaits something else, which connection.signal can interrupt
  void connection.closed.then(giveBack).catch(() => {})
  try {
    for (let result = await generator.next(); result.done !== true; result = await generator.next()) {
      if (!connection.send(result.value)) await connection.drained()
      else if (coreOf(connection).isTurnOver) await nextTurn()
      if (connection.readyState !== connection.OPEN) await giveBack()
    }
  } catch (error) {
    void giveBack().catch(() => {}) // do not wait for its finally block
    throw error
  }
  connection.close(NORMAL_CLOSURE)
}
