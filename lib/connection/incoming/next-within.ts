// A read with a limit to its patience.
import type { ReceiveOptions } from '../../../types/connection.ts'
import type { MessageReader } from './message-reader.ts'

// what setTimeout() can do
const MAX_TIMEOUT = 2 ** 31 - 1

/**
 * As reader.next(), or null where that rejects. When it gives up it has taken nothing: what comes then is for who asks next.
 * @throws the signal's reason, a TimeoutError after `timeout` milliseconds, RangeError for another timeout
 */
export async function nextWithin<Item> (reader: MessageReader<Item>, { signal, timeout }: ReceiveOptions): Promise<Item | null> {
  signal?.throwIfAborted()
  if (timeout !== undefined && !(typeof timeout === 'number' && timeout >= 0 && timeout <= MAX_TIMEOUT)) {
    throw new RangeError(`the timeout of receive() must be a number from 0 to ${MAX_TIMEOUT}, not ${String(timeout)}`)
  }
  let timer: NodeJS.Timeout | undefined
  let onAbort: (() => void) | undefined
  try {
    return await new Promise<Item | null>((resolve, reject) => {
      const giveUp = (reason: Error): void => {
        // else it has its message already
        if (reader.withdraw()) reject(reason)
      }
      reader.next().then(resolve, () => { resolve(null) })
      if (signal !== undefined) {
        onAbort = () => { giveUp(signal.reason) }
        signal.addEventListener('abort', onAbort)
      }
      if (timeout !== undefined) timer = setTimeout(() => { giveUp(new DOMException(`no message came within ${timeout} ms`, 'TimeoutError')) }, timeout)
    })
  } finally {
    clearTimeout(timer)
    if (onAbort !== undefined) signal!.removeEventListener('abort', onAbort)
  }
}
