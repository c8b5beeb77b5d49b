import type { Stream } from 'node:stream'
import { ConnectionClosedError } from '../../errors.ts'
import type { ViewedConnection } from './viewed-connection.ts'

/**
 * An 'error' of a stream without a listener would end the process. A peer that leaves must not do that, and any other error
 * counts as one of the connection's handler.
 */
export function catchUnheardErrors (stream: Stream, connection: ViewedConnection): void {
  stream.on('error', error => {
    if (stream.listenerCount('error') === 1 && !(error instanceof ConnectionClosedError)) connection.viewFailed(error)
  })
}
