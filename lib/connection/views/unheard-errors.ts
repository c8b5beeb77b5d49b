import type { Stream } from 'node:stream'
import { ConnectionClosedError } from '../../errors.ts'
import type { Viewed } from './viewed.ts'

/**
 * An 'error' event without a listener would end the process. Ignores it if the peer just left; any other error becomes an
 * 'error' of the connection.
 */
export function catchUnheardErrors (stream: Stream, viewed: Viewed): void {
  stream.on('error', error => {
    if (stream.listenerCount('error') === 1 && !(error instanceof ConnectionClosedError)) viewed.viewFailed(error)
  })
}
