import { EventEmitter, once } from 'node:events'
import { PassThrough } from 'node:stream'
import { test } from 'tap'
import { catchUnheardErrors } from '../../../lib/connection/views/unheard-errors.ts'
import { ConnectionClosedError } from '../../../lib/errors.ts'
import type { WebSocketConnection } from '../../../types/connection.ts'

/** Lets a stream of a connection fail. @returns what the connection emits */
async function fail (error: Error, listen: (stream: PassThrough) => void = () => {}): Promise<unknown[]> {
  const connection = new EventEmitter()
  const told: unknown[] = []
  connection.on('error', error => { told.push(error) })
  const stream = new PassThrough()
  catchUnheardErrors(stream, connection as unknown as WebSocketConnection)
  listen(stream)
  const closed = new Promise<void>(resolve => { stream.once('close', resolve) })
  stream.destroy(error)
  await closed
  return told
}

test('an error of a stream that nobody listens for is one of its connection', async t => {
  const error = new Error('x')
  t.strictSame(await fail(error), [error])
})

test('an error that somebody listens for is his', async t => {
  const error = new Error('x')
  let heard: Promise<unknown[]>
  t.strictSame(await fail(error, stream => { heard = once(stream, 'error') }), [])
  t.strictSame(await heard!, [error])
})

test('a peer that leaves is no error of the connection', async t => {
  t.strictSame(await fail(new ConnectionClosedError('closed')), [])
})
