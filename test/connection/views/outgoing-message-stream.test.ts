// createMessageStream(): a message that is sent while it is made.
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { test } from 'tap'
import WebSocket from 'ws'
import { Connection } from '../../../lib/connection/connection.ts'
import { ConnectionClosedError } from '../../../lib/index.ts'
import { OWNER, SETTINGS } from '../../helpers/memory.ts'
import { writeFromOneMemory } from '../../helpers/memory-reuse.ts'
import { gate, startApp, startConnection, turn } from '../../helpers/app.ts'
import { clientFrame } from '../../helpers/frames.ts'
import { close, ping, PONG, type RawClient } from '../../helpers/raw-client.ts'

const NEVER = { closeTimeout: 60_000, shutdownTimeout: 100 }

/** The lengths of the fragments of the next message. */
async function sizesOf (client: RawClient): Promise<number[]> {
  const sizes: number[] = []
  for (;;) {
    const { fin, payload } = await client.next()
    sizes.push(payload.length)
    if (fin) return sizes
  }
}

test('the writes of a turn are a fragment, what is left at end() is the last, and a Pong may come in between', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const message = connection.createMessageStream()
  message.write('a')
  message.write('')
  t.strictSame(await client.take(1), ['binary... a'])
  client.write(ping('p'))
  t.strictSame(await client.take(1), ['pong p'])
  const closed = once(message, 'close')
  message.end(Buffer.from('b'))
  t.strictSame(await client.take(1), ['continuation b'])
  await closed
  t.equal(connection.stats().messagesSent, 1)
  connection.createMessageStream({ binary: false }).end()
  t.strictSame(await client.take(1), ['text'], 'an empty message is one frame')
})

test('what is sent meanwhile waits behind it, in order, a Blob and a second stream too', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const first = connection.createMessageStream({ binary: false })
  const sent = gate()
  first.write('1')
  connection.send('2')
  connection.send(new Blob(['3']))
  const second = connection.createMessageStream({ binary: false })
  second.end('4')
  connection.send('5', { fin: false })
  connection.send('6', () => { sent.open() })
  await turn()
  t.ok(connection.bufferedAmount >= 4)
  first.end()
  await sent.opened
  t.strictSame(await client.take(6), ['text 1', 'text 2', 'binary 3', 'text 4', 'text... 5', 'continuation 6'])
  t.equal(connection.bufferedAmount, 0)
})

test('inside of a message that was begun with fin: false there is no other', async t => {
  const { connection } = await startConnection(t, NEVER, () => {})
  connection.send('a', { fin: false })
  t.throws(() => connection.createMessageStream(), { message: /fin: false/ })
})

test('what waits behind it does not hold up reading, and may be changed where it is small', async t => {
  const { client, connection } = await startConnection(t, { ...NEVER, highWaterMark: 1000 }, () => {})
  const message = connection.createMessageStream()
  const memory = Buffer.alloc(3000)
  for (const letter of 'abcd') connection.send(memory.fill(letter))
  client.write(ping('p'))
  t.strictSame(await client.take(1), ['pong p'])
  message.end()
  t.strictSame(await client.take(5), ['binary', ...'abcd'.split('').map(letter => `binary ${letter.repeat(3000)}`)])
})

for (const size of [1000, 16 * 1024, 16 * 1024 + 1, 40_000, 63_000, 100_000]) {
  test(`the memory of a fragment of ${size} bytes may be used again when its write is done, also when the peer does not read`, async t => {
    const { client, connection } = await startConnection(t, NEVER, () => {})
    const results = await writeFromOneMemory(connection.createMessageStream(), client, size)
    t.ok(results.length > 1)
    t.ok(results.every(isIntact => isIntact), `${results.length} messages`)
  })
}

test('one that is given up before its first byte leaves no trace', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const message = connection.createMessageStream()
  connection.send('behind')
  await turn()
  message.destroy()
  t.strictSame(await client.take(1), ['text behind'])
  t.equal(connection.readyState, connection.OPEN)
})

test('one that is given up in its middle closes with 1011, and the error goes to the errorHandler', async t => {
  const errors = gate<unknown>()
  const { client, connection } = await startConnection(t, { ...NEVER, errorHandler: errors.open }, () => {})
  const message = connection.createMessageStream()
  const unsent = gate<unknown>()
  message.write('a')
  connection.send('behind', unsent.open)
  t.strictSame(await client.take(1), ['binary... a'])
  message.destroy(new Error('the file is gone'))
  t.strictSame(await client.take(1), ['close 1011'])
  t.match(await unsent.opened, ConnectionClosedError)
  t.match(await errors.opened, { message: 'the file is gone' })
})

test('close() cuts it off, and drops what waits behind it', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const message = connection.createMessageStream()
  const waiting = connection.createMessageStream()
  const unsent = gate<unknown>()
  message.write('a')
  waiting.write('b')
  connection.send('behind', unsent.open)
  t.strictSame(await client.take(1), ['binary... a'])
  const failed = Promise.all([once(message, 'error'), once(waiting, 'error')])
  connection.close(4000)
  for (const [error] of await failed) t.match(error, ConnectionClosedError)
  t.match(await unsent.opened, ConnectionClosedError)
  client.write(close(4000))
  t.strictSame(await client.rest(), ['close 4000'])
})

test('so does the peer\'s Close, and the death of the connection, without an error that nobody listens for', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const message = connection.createMessageStream()
  message.write('a')
  t.strictSame(await client.take(1), ['binary... a'])
  client.write(close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
  t.equal(message.destroyed, true)

  const other = await startConnection(t, { ...NEVER, errorHandler () { t.fail('it is no error of the handler') } }, () => {})
  const unheard = other.connection.createMessageStream()
  unheard.write('a')
  other.connection.terminate()
  await other.connection.closed
  t.match(unheard.errored, ConnectionClosedError)
})

test('so does the end of the peer\'s stream, at once', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const message = connection.createMessageStream()
  message.write('a')
  t.strictSame(await client.take(1), ['binary... a'])
  const failed = once(message, 'error') as Promise<[Error]>
  client.end()
  t.match((await failed)[0], ConnectionClosedError)
  t.match(await connection.closed, { code: 1006 })
})

test('on a connection that is closed it fails, on one that is not open yet it throws', async t => {
  const { connection } = await startConnection(t, NEVER, () => {})
  connection.terminate()
  await connection.closed
  const [error] = await once(connection.createMessageStream(), 'error') as [Error]
  t.match(error, ConnectionClosedError)
  const unopened = new Connection(SETTINGS, OWNER)
  t.throws(() => unopened.createMessageStream(), { message: /CONNECTING/ })
  unopened.terminate()
  await unopened.closed
  await t.rejects(once(unopened.createMessageStream(), 'end'), ConnectionClosedError)
})

test('it waits for a peer that does not read, and what was written may be changed once write() is done', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  client.pause()
  const size = 32 * 1024 * 1024
  const chunk = Buffer.alloc(64 * 1024)
  let made = 0
  const message = connection.createMessageStream()
  const write = async (): Promise<void> => {
    for (; made < size; made += chunk.length) {
      chunk.fill(made / chunk.length % 256)
      await new Promise(resolve => { message.write(chunk, resolve) })
    }
    message.end()
  }
  const done = write()
  let before = -1
  while (made !== before) {
    before = made
    for (let i = 0; i < 50; i++) await turn()
  }
  t.ok(made < size)
  t.ok(connection.bufferedAmount < 1024 * 1024)
  client.resume()
  await done
  let position = 0
  for (let frame = await client.next(); frame.payload.length > 0; frame = await client.next()) {
    const wrong = frame.payload.findIndex(byte => byte !== position / chunk.length % 256)
    if (wrong >= 0) t.fail(`byte ${position + wrong} is wrong`)
    position += frame.payload.length
  }
  t.equal(position, size)
})

test('small writes go on while less than highWaterMark is unsent', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const message = connection.createMessageStream({ highWaterMark: 100 })
  const done = Promise.all(Array.from({ length: 20 }, () => new Promise(resolve => { message.write(Buffer.alloc(10), resolve) })))
  t.ok(message.writableNeedDrain)
  await once(message, 'drain')
  await done
  message.end()
  const sizes = await sizesOf(client)
  t.equal(sizes.reduce((sum, size) => sum + size), 200)
  t.ok(sizes.every(size => size <= 100), sizes.join())
})

test('a write of nothing holds up nothing, whatever highWaterMark is', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const message = connection.createMessageStream({ highWaterMark: 0 })
  message.write('')
  message.end('a')
  t.strictSame([await client.next(), await client.next()].map(({ payload }) => String(payload)), ['a', ''])
})

test('many small writes are few fragments, of which ws takes no more than 16,384', async t => {
  const { url } = await startApp(t, NEVER, app => {
    app.get('/', { websocket: true }, async connection => {
      const message = connection.createMessageStream()
      for (let i = 0; i < 100_000; i++) if (!message.write(`${i % 10}`)) await once(message, 'drain')
      message.end()
    })
  })
  const client = new WebSocket(url)
  t.teardown(() => { client.terminate() })
  const [data] = await once(client, 'message') as [Buffer]
  t.equal(String(data), '0123456789'.repeat(10_000))
})

test('a large write between small ones keeps its place, and what is written at once is one fragment up to some 16 KiB', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const message = connection.createMessageStream({ highWaterMark: 1024 * 1024 })
  for (const size of [1, 2, 20_000, 3, 4, 16_000, 500, 5]) message.write(Buffer.alloc(size))
  message.end('end')
  const sizes = await sizesOf(client)
  // a turn that is over may come in between
  const large = sizes.indexOf(20_000)
  const sum = (some: number[]): number => some.reduce((sum, size) => sum + size)
  t.strictSame([sum(sizes.slice(0, large)), sum(sizes.slice(large + 1))], [3, 16_515])
  t.ok(sizes.length < 8, sizes.join())
})

test('in a pipeline, on a connection that is closing or closed, it fails with a ConnectionClosedError', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  connection.close(1000)
  await t.rejects(pipeline(Readable.from(['a', 'b']), connection.createMessageStream()), ConnectionClosedError, 'closing')
  client.end(close(1000))
  await connection.closed
  await t.rejects(pipeline(Readable.from(['a', 'b']), connection.createMessageStream()), ConnectionClosedError, 'closed')
})

test('a stream that waits is not what a stalled peer is', async t => {
  const heartbeat = { interval: 20, timeout: 60_000 }
  const { client, connection } = await startConnection(t, { ...NEVER, stallTimeout: 40, heartbeat }, () => {})
  const message = connection.createMessageStream()
  message.write('a')
  connection.send('behind')
  t.strictSame(await client.take(1), ['binary... a'])
  for (let i = 0; i < 8; i++) { // 160 ms
    t.strictSame(await client.take(1), ['ping'])
    client.write(clientFrame({ opcode: PONG }))
  }
  t.equal(connection.readyState, connection.OPEN)
  message.end()
  const rest: string[] = []
  while (rest.length < 2) rest.push(...(await client.take(1)).filter(frame => frame !== 'ping'))
  t.strictSame(rest, ['continuation', 'text behind'])
})
