// toWeb(): a connection as WHATWG Streams.
import { test, type Test } from 'tap'
import { TransformStream } from 'node:stream/web'
import type { MessageData, MessageWebStreams } from '../../../types/connection.ts'
import { gate, startConnection, turn, type StartedConnection } from '../../helpers/app.ts'
import { binary, close, numbered, text } from '../../helpers/raw-client.ts'

async function startWeb (t: Test, closeTimeout = 60_000): Promise<StartedConnection & { web: MessageWebStreams }> {
  const given = gate<MessageWebStreams>()
  const started = await startConnection(t, { closeTimeout }, connection => { given.open(connection.toWeb()) })
  return { ...started, web: await given.opened }
}

test('messages are read and written: strings for text, bytes for binary', async t => {
  const { client, web } = await startWeb(t)
  client.write(text('a'), binary('b'), close(1000))
  const received: unknown[] = []
  for await (const message of web.readable) received.push(message)
  t.strictSame(received, ['a', Buffer.from('b')])
  const other = await startWeb(t)
  const writer = other.web.writable.getWriter()
  for (const data of ['c', new Uint8Array([100]), new Uint8Array([101]).buffer]) await writer.write(data)
  t.strictSame(await other.client.take(3), ['text c', 'binary d', 'binary e'])
})

test('readable.pipeTo(writable) is an echo, and all of it goes out before the Close is answered', async t => {
  const done = gate<unknown>()
  const { client, connection } = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
    const { readable, writable } = connection.toWeb()
    await readable.pipeTo(writable).then(() => { done.open('done') }, done.open)
  })
  client.write(...numbered('m', 200).map(text), close(4000))
  t.strictSame(await client.rest(), [...numbered('text m', 200), 'close 4000'])
  client.end()
  t.equal(await done.opened, 'done')
  t.match(await connection.closed, { code: 4000, wasClean: true })
})

test('so is a pipe through an async TransformStream', async t => {
  const { client } = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
    const { readable, writable } = connection.toWeb()
    const upperCase = new TransformStream<string | Buffer, MessageData>({
      async transform (message, controller) {
        await turn()
        controller.enqueue(String(message).toUpperCase())
      }
    })
    await readable.pipeThrough(upperCase).pipeTo(writable)
  })
  client.write(...numbered('m', 20).map(text), close(1000))
  t.strictSame(await client.rest(), [...numbered('text M', 20), 'close 1000'])
})

test('closing the writable closes with 1000 and waits for the peer; what comes meanwhile is read', async t => {
  const { client, web } = await startWeb(t)
  const writer = web.writable.getWriter()
  const reader = web.readable.getReader()
  await writer.write('last')
  let isClosed = false
  const closed = writer.close().then(() => { isClosed = true })
  t.strictSame(await client.take(2), ['text last', 'close 1000'])
  t.equal(isClosed, false)
  const late = reader.read()
  client.end(text('late'), close(1000))
  t.strictSame(await late, { value: 'late', done: false })
  t.strictSame(await reader.read(), { value: undefined, done: true })
  await closed
  t.match(await web.closed, { code: 1000, wasClean: true })
})

test('cancelling the readable closes with 1000, aborting the writable with 1011', async t => {
  const one = await startWeb(t)
  await one.web.readable.cancel()
  t.strictSame(await one.client.take(1), ['close 1000'])
  const other = await startWeb(t)
  await other.web.writable.abort(new Error('enough'))
  t.strictSame(await other.client.take(1), ['close 1011'])
})

test('a peer that drops the connection is an error of both, behind what it has sent', async t => {
  const { client, web } = await startWeb(t)
  client.write(text('a'), text('b'))
  await client.roundTrip()
  client.reset()
  const reader = web.readable.getReader()
  t.strictSame([(await reader.read()).value, (await reader.read()).value], ['a', 'b'])
  await t.rejects(reader.read(), { code: 'WS_ERR_CONNECTION_CLOSED' })
  await t.rejects(web.writable.getWriter().write('late'), { code: 'WS_ERR_CONNECTION_CLOSED' })
  t.match(await web.closed, { code: 1006, wasClean: false })
})

test('a write waits for drain, and fails when the connection dies meanwhile', async t => {
  const { client, web } = await startWeb(t)
  client.pause()
  const writer = web.writable.getWriter()
  const large = Buffer.alloc(4 * 1024 * 1024)
  let outcome = 'waits'
  const writing = (async () => { for (;;) await writer.write(large) })().catch(() => { outcome = 'failed' })
  for (let i = 0; i < 50; i++) await turn()
  t.equal(outcome, 'waits')
  client.reset()
  await writing
  t.equal(outcome, 'failed')
})

test('a peer that never answers our Close is an error of close()', async t => {
  const { client, web } = await startWeb(t, 50)
  await t.rejects(web.writable.close(), { code: 'WS_ERR_CONNECTION_CLOSED' })
  await client.rest()
})

test('nothing is pulled that nobody asked for, and a writer that holds nothing up is no reason to wait', async t => {
  const { client, connection, web } = await startWeb(t)
  client.write(...numbered('m', 2000).map(text))
  while (!connection._socket!.isPaused()) await turn()
  let received = 0
  for await (const message of web.readable) if (message === `m${received}` && ++received === 2000) break
  t.equal(received, 2000)
  t.strictSame(await client.take(1), ['close 1000'], 'leaving the loop cancels')
})

test('who writes by hand holds up no Close, and neither does a pipe with preventClose', async t => {
  const { client } = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
    const { readable, writable } = connection.toWeb()
    const writer = writable.getWriter()
    for await (const message of readable) await writer.write(`re ${String(message)}`)
  })
  client.write(text('a'), close(1000))
  t.strictSame(await client.rest(), ['text re a', 'close 1000'])

  const other = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
    const { readable, writable } = connection.toWeb()
    await readable.pipeTo(writable, { preventClose: true })
  })
  other.client.write(text('a'), text('b'), close(1000))
  t.strictSame(await other.client.rest(), ['text a', 'text b', 'close 1000'])
})

test('a TransformStream that throws closes with 1011', async t => {
  const { client } = await startConnection(t, {}, async connection => {
    const { readable, writable } = connection.toWeb()
    await readable.pipeThrough(new TransformStream<string | Buffer, MessageData>({ transform () { throw new Error('oops') } })).pipeTo(writable).catch(() => {})
  })
  client.write(text('a'))
  t.strictSame(await client.take(1), ['close 1011'])
})
