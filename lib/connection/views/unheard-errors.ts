import type { Stream } from 'node:stream'
import { ConnectionClosedError } from '../../errors.ts'
import type { Viewed } from './viewed.ts'

/**
 * An 'error' of a stream without a listener would end the process. A peer that leaves must not do that, and any other error
 * counts as one of the connection's handler.
 */
export function catchUnheardErrors (stream: Stream, viewed: Viewed): void {
  stream.on('error', error => {
    if (stream.listenerCount('error') === 1 && !(error instanceof ConnectionClosedError)) viewed.viewFailed(error)
  })
}
