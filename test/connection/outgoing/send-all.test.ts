import { test } from 'tap'
import { isAsyncGenerator } from '../../../lib/connection/outgoing/send-all.ts'
import { connect } from '../../../lib/index.ts'
import { serve } from '../../helpers/http.ts'

test('an async generator is told from what only looks like one', t => {
  t.equal(isAsyncGenerator((async function * () { yield 1 })()), true)
  for (const other of [(function * () { yield 1 })(), { next () {} }, [], null, Promise.resolve()]) t.equal(isAsyncGenerator(other), false)
  t.end()
})

test('what is yielded is sent, in order and with room for it, and the return closes with 1000', async t => {
  let isReturned = false
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: { highWaterMark: 1000 } }, async function * (connection) {
      try {
        for (let count = 0; count < 300; count++) {
          yield Buffer.alloc(500, count)
          if (connection.bufferedAmount > 2000) throw new Error('there was no room')
        }
      } finally {
        isReturned = true
      }
    })
  })
  const client = await connect(`ws://127.0.0.1:${site.port}/ws`)
  let count = 0
  for await (const message of client) if ((message as Buffer)[0] === count % 256) count++
  t.match(await client.closed, { code: 1000, cause: 'peer' })
  t.strictSame([count, isReturned], [300, true])
})

test('a generator that waits is returned when its connection has closed', async t => {
  const events: string[] = []
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, async function * (connection) {
      try {
        yield 'a'
        await new Promise(resolve => { connection.signal.addEventListener('abort', resolve) })
        yield 'nobody hears this'
        events.push('on')
      } finally {
        events.push('returned')
      }
    })
  })
  const client = await connect(`ws://127.0.0.1:${site.port}/ws`)
  t.equal(await client.receive(), 'a')
  client.close(1000)
  await client.closed
  while (app.websocketServer.clients.size > 0 || events.length === 0) await new Promise(resolve => { setImmediate(resolve) })
  t.strictSame(events, ['returned'])
})
