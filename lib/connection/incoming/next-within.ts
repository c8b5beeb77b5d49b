// A read with a timeout and an AbortSignal.
import type { ReceiveOptions } from '../../../types/connection.ts'
import type { MessageReader } from './message-reader.ts'

// the longest delay of setTimeout(), in milliseconds
const MAX_TIMEOUT = 2 ** 31 - 1

/**
 * Like reader.next(), but null if that rejects. When it gives up it has taken nothing: the message goes to the next call.
 * @throws the signal's reason, a TimeoutError after `timeout` milliseconds, RangeError for an invalid timeout
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
        // false: the message has already been handed over
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
