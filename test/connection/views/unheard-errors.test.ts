import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { test } from 'tap'
import { catchUnheardErrors } from '../../../lib/connection/views/unheard-errors.ts'
import type { Viewed } from '../../../lib/connection/views/viewed.ts'
import { ConnectionClosedError } from '../../../lib/errors.ts'

/** Lets a stream of a connection fail. @returns what the connection is told */
async function fail (error: Error, listen: (stream: PassThrough) => void = () => {}): Promise<unknown[]> {
  const told: unknown[] = []
  const stream = new PassThrough()
  catchUnheardErrors(stream, { viewFailed (error: Error) { told.push(error) } } as Partial<Viewed> as Viewed)
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
