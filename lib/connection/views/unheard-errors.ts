import type { Stream } from 'node:stream'
import { ConnectionClosedError } from '../../errors.ts'
import type { ViewedConnection } from './viewed-connection.ts'

/**
 * An 'error' of a stream that nobody listens for would end the process. A peer that leaves must not do that, and any other error
 * is one of the connection's handler.
 */
export function catchUnheardErrors (stream: Stream, connection: ViewedConnection): void {
  stream.on('error', error => {
    if (stream.listenerCount('error') === 1 && !(error instanceof ConnectionClosedError)) connection.viewFailed(error)
  })
}
