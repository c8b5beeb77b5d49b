// Messages in and out of an open connection, over a real Fastify app. How connections end: closing.test.ts.
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'tap'
import { WebSocket as UndiciWebSocket } from 'undici'
import { WebSocket as WsWebSocket } from 'ws'
import type { MessageData, SendOptions, WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketHandler } from '../../types/fastify.ts'
import type { WebSocketErrorHandler } from '../../types/options.ts'
import { gate, startApp, startConnection, turn } from '../helpers/app.ts'
import { clientFrame } from '../helpers/frames.ts'
import { binary, close, describe, numbered, openRawClient, ping, text, type RawClient } from '../helpers/raw-client.ts'

const MIB = 1024 * 1024

function echo (connection: WebSocketConnection): void {
  connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
}

/** A handler that returns with a listener attached which notes what comes. */
function collector () {
  const received: string[] = []
  const handler = (connection: WebSocketConnection) => {
    connection.on('message', data => { received.push(String(data)) })
  }
  return { received, handler }
}

/** What the transport of `connection` writes, one entry per call. */
function countWrites (connection: WebSocketConnection): { count: number } {
  const socket = connection._socket as unknown as Record<'_write' | '_writev', (...args: unknown[]) => void>
  const writes = { count: 0 }
  for (const method of ['_write', '_writev'] as const) {
    const original = socket[method]
    socket[method] = function (...args) {
      writes.count++
      original.apply(this, args)
    }
  }
  return writes
}

/** Waits until `measure` gives the same for as long as another client needs for 20 echoes. */
async function settles (other: RawClient, measure: () => number): Promise<number> {
  for (let last = -1; ;) {
    for (let i = 0; i < 20; i++) await other.roundTrip()
    const now = measure()
    if (now === last) return now
    last = now
  }
}

// Both ways

const SIZES = [0, 1, 125, 126, 65535, 65536, 1_000_000]

test('messages of every length form go both ways with ws, as text and as binary', async t => {
  const { url } = await startApp(t, {}, app => { app.get('/', { websocket: true }, echo) })
  const client = new WsWebSocket(url)
  t.teardown(() => { client.terminate() })
  await once(client, 'open')
  for (const size of SIZES) {
    for (const isBinary of [false, true]) {
      const data = Buffer.alloc(size, 'abc')
      client.send(data, { binary: isBinary })
      const [echoed, echoedAsBinary] = await once(client, 'message') as [Buffer, boolean]
      t.equal(echoedAsBinary, isBinary, `${size} bytes, isBinary`)
      t.ok(echoed.equals(data), `${size} bytes`)
    }
  }
  client.close(1000, 'done')
  t.strictSame(await once(client, 'close'), [1000, Buffer.from('done')])
})

test('messages of every length form go both ways with undici, as text and as binary', async t => {
  const { url } = await startApp(t, {}, app => { app.get('/', { websocket: true }, echo) })
  const client = new UndiciWebSocket(url)
  client.binaryType = 'arraybuffer'
  await once(client, 'open')
  for (const size of SIZES) {
    client.send('a'.repeat(size))
    let [event] = await once(client, 'message') as [{ data: unknown }]
    t.ok(event.data === 'a'.repeat(size), `${size} bytes of text`)
    const data = Buffer.alloc(size, 'abc')
    client.send(data)
    ;[event] = await once(client, 'message') as [{ data: unknown }]
    t.ok(event.data instanceof ArrayBuffer && Buffer.from(event.data).equals(data), `${size} bytes`)
  }
  client.close(1000, 'done')
  const [{ code, reason, wasClean }] = await once(client, 'close') as [{ code: number, reason: string, wasClean: boolean }]
  t.strictSame({ code, reason, wasClean }, { code: 1000, reason: 'done', wasClean: true })
})

// Receiving: messages wait for a consumer

test('1,000 messages sent at once are all held, in order, for an async handler that listens late', async t => {
  const start = gate()
  const received: string[] = []
  const { client } = await startConnection(t, {}, async connection => {
    await start.opened
    connection.on('message', data => {
      received.push(String(data))
      connection.send(data, { binary: false })
    })
  }, { early: Buffer.concat(numbered('m', 1000).map(text)) })
  start.open()
  t.strictSame(await client.take(1000), numbered('text m', 1000))
  t.strictSame(received, numbered('m', 1000))
})

test('messages in many chunks are held too, in order, behind a full inbox', async t => {
  const start = gate()
  const { client, connection } = await startConnection(t, { highWaterMark: 1000 }, async connection => {
    await start.opened
    echo(connection)
  })
  const payload = 'x'.repeat(1000)
  const paused = once(connection._socket!, 'pause')
  for (let i = 0; i < 1000; i++) client.write(text(`${i} ${payload}`))
  await paused
  start.open()
  t.strictSame(await client.take(1000), Array.from({ length: 1000 }, (_, i) => `text ${i} ${payload}`))
})

test('a Ping is answered while messages are held', async t => {
  const start = gate()
  const { client } = await startConnection(t, {}, async connection => {
    await start.opened
    echo(connection)
  })
  client.write(text('a'), text('b'), ping('alive?'))
  t.strictSame(await client.take(1), ['pong alive?'])
  start.open()
  t.strictSame(await client.take(2), ['text a', 'text b'])
})

test('held messages are never delivered inside of on(message)', async t => {
  const start = gate()
  const order: string[] = []
  const { client } = await startConnection(t, {}, async connection => {
    await start.opened
    connection.on('message', data => { order.push(`first listener: ${data}`) })
    order.push('between')
    connection.on('message', data => {
      order.push(`second listener: ${data}`)
      connection.send('done')
    })
    order.push('end')
  })
  client.write(text('held'))
  await client.roundTrip()
  start.open()
  await client.take(1)
  t.strictSame(order, ['between', 'end', 'first listener: held', 'second listener: held'])
})

test('no message is delivered before the synchronous part of the handler is over', async t => {
  const order: string[] = []
  const { client } = await startConnection(t, {}, connection => {
    connection.on('message', data => {
      order.push(String(data))
      connection.send('done')
    })
    connection.resume()
    connection.send('greeting')
    order.push('end of handler')
  }, { early: text('early') })
  t.strictSame(await client.take(2), ['text greeting', 'text done'])
  t.strictSame(order, ['end of handler', 'early'])
})

test('messages are discarded once a handler has returned without a listener, and reach one that is attached later from then on', async t => {
  const { received, handler } = collector()
  const { client, connection } = await startConnection(t, {}, () => {}, { early: text('early') })
  client.write(text('discarded'))
  await client.roundTrip()
  handler(connection)
  await client.roundTrip()
  client.write(text('delivered'))
  await client.roundTrip()
  t.strictSame(received, ['delivered'])
})

test('messages that were held for an async handler are discarded when it settles without a listener', async t => {
  for (const rejects of [false, true]) {
    const end = gate()
    const { received, handler } = collector()
    const { client, connection } = await startConnection(t, { errorHandler () {} }, async () => {
      await end.opened
      if (rejects) throw new Error('rejected')
    })
    client.write(text('held'))
    await client.roundTrip()
    end.open()
    await client.roundTrip()
    handler(connection)
    client.write(text('next'))
    await client.roundTrip()
    t.strictSame(received, ['next'], rejects ? 'rejected' : 'resolved')
  }
})

test('a listener that is taken off while the handler still runs leaves messages to the next one', async t => {
  const start = gate()
  const order: string[] = []
  const { client } = await startConnection(t, {}, async connection => {
    connection.once('message', data => { order.push(`first ${data}`) })
    await start.opened
    connection.on('message', data => {
      order.push(`second ${data}`)
      connection.send(data)
    })
  })
  client.write(text('a'), text('b'), text('c'))
  await client.roundTrip()
  t.strictSame(order, ['first a'])
  start.open()
  await client.take(2)
  t.strictSame(order, ['first a', 'second b', 'second c'])
})

test('a listener taken off by the k-th of n messages in one chunk gets no more, and the rest is discarded', async t => {
  const received: string[] = []
  const { client } = await startConnection(t, {}, connection => {
    connection.on('message', function listener (data) {
      received.push(String(data))
      if (received.length === 3) connection.off('message', listener)
    })
  })
  client.write(...numbered('m', 10).map(text))
  await client.roundTrip()
  t.strictSame(received, ['m0', 'm1', 'm2'])
})

test('a text arrives as a Buffer with isBinary false, and fragments are joined around control frames', async t => {
  const seen: unknown[] = []
  const { client } = await startConnection(t, {}, connection => {
    connection.on('message', (data, isBinary) => { seen.push(data, isBinary) })
    connection.on('ping', data => { seen.push(`ping ${data}`) })
  })
  client.write(
    text('héllo'),
    clientFrame({ opcode: 0x1, fin: false, payload: 'a' }),
    ping('inside'),
    clientFrame({ opcode: 0x0, fin: false, payload: 'b' }),
    clientFrame({ opcode: 0x0, payload: 'c' }),
    binary('bytes')
  )
  t.strictSame(await client.take(1), ['pong inside'])
  await client.roundTrip()
  t.strictSame(seen.slice(0, -1), [Buffer.from('héllo'), false, 'ping inside', Buffer.from('abc'), false, Buffer.from('bytes'), true])
})

test('a Pong is emitted and not answered', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  const pong = once(connection, 'pong')
  client.write(clientFrame({ opcode: 0xa, payload: 'unasked' }))
  t.strictSame(await pong, [Buffer.from('unasked')])
  await client.roundTrip()
  t.equal(client.frames.length, 1)
})

// Receiving: pause and resume

test('nothing is delivered while paused, and nothing is lost', async t => {
  const { received, handler } = collector()
  const { client, connection } = await startConnection(t, {}, handler)
  t.equal(connection.isPaused, false)
  connection.pause()
  connection.pause()
  t.equal(connection.isPaused, true)
  client.write(text('a'), text('b'))
  await client.roundTrip()
  client.write(text('c'))
  await client.roundTrip()
  t.strictSame(received, [])
  connection.resume()
  t.equal(connection.isPaused, false)
  t.strictSame(received, [], 'not inside of resume()')
  await turn()
  t.strictSame(received, ['a', 'b', 'c'])
})

test('pause() by the k-th of n messages in one chunk holds the rest', async t => {
  const { received, handler } = collector()
  const { client, connection } = await startConnection(t, {}, connection => {
    handler(connection)
    connection.on('message', data => { if (String(data) === 'm2') connection.pause() })
  })
  client.write(...numbered('m', 10).map(text))
  await client.roundTrip()
  t.strictSame(received, ['m0', 'm1', 'm2'])
  connection.resume()
  await client.roundTrip()
  t.strictSame(received, numbered('m', 10))
})

test('pause() by a message that was held itself holds the rest of them', async t => {
  const { received, handler } = collector()
  const { client, connection } = await startConnection(t, {}, connection => {
    connection.pause()
    handler(connection)
    connection.on('message', data => { if (String(data) === 'm2') connection.pause() })
  })
  client.write(...numbered('m', 10).map(text))
  await client.roundTrip()
  connection.resume()
  await client.roundTrip()
  t.strictSame(received, ['m0', 'm1', 'm2'])
  connection.resume()
  await client.roundTrip()
  t.strictSame(received, numbered('m', 10))
})

test('pause() and resume() in one go change nothing', async t => {
  const { received, handler } = collector()
  const { client, connection } = await startConnection(t, {}, handler)
  connection.pause()
  connection.resume()
  client.write(text('a'))
  await client.roundTrip()
  t.strictSame(received, ['a'])
})

test('a callback-style handler that pauses gets what comes until it listens and resumes', async t => {
  const { received, handler } = collector()
  const { client, connection } = await startConnection(t, {}, connection => { connection.pause() }, { early: text('early') })
  client.write(text('a'))
  await client.roundTrip()
  handler(connection)
  await client.roundTrip()
  t.strictSame(received, [], 'still paused')
  connection.resume()
  await client.roundTrip()
  t.strictSame(received, ['early', 'a'])
})

test('resume() without a listener discards what is held', async t => {
  const { received, handler } = collector()
  const { client, connection } = await startConnection(t, {}, connection => { connection.pause() })
  client.write(text('held'))
  await client.roundTrip()
  connection.resume()
  await client.roundTrip()
  handler(connection)
  client.write(text('next'))
  await client.roundTrip()
  t.strictSame(received, ['next'])
})

test('resume() without a listener discards also while the handler still runs', async t => {
  const end = gate()
  const { received, handler } = collector()
  const { client, connection } = await startConnection(t, {}, async connection => {
    await end.opened
    handler(connection)
  })
  client.write(text('held'))
  await client.roundTrip()
  connection.resume()
  client.write(text('next'))
  await client.roundTrip()
  end.open()
  await client.roundTrip()
  client.write(text('last'))
  await client.roundTrip()
  t.strictSame(received, ['last'])
})

test('a paused connection makes the sender wait, and gets everything in order after resume()', async t => {
  const count = 512
  const payload = Buffer.alloc(32 * 1024, 'x')
  let received = 0
  let inOrder = true
  const all = gate()
  const { client, connection, port } = await startConnection(t, {}, connection => {
    connection.pause()
    connection.on('message', data => {
      inOrder &&= data.readUInt32BE(0) === received && data.length === payload.length
      if (++received === count) all.open()
    })
  })
  const other = await openRawClient(t, port)
  const socket = connection._socket as Socket
  const paused = once(socket, 'pause')
  for (let i = 0; i < count; i++) {
    payload.writeUInt32BE(i)
    client.write(binary(payload))
  }
  await paused
  const read = await settles(other, () => socket.bytesRead)
  t.ok(read < 4 * 64 * 1024, `${read} bytes were read`)
  t.ok(client.socket.writableLength > 0, 'the client waits')
  t.equal(received, 0)
  connection.resume()
  await all.opened
  t.ok(inOrder)
})

// Sending

test('every type of data is sent: text for strings and numbers, else binary, and as `binary` says', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  const memory = new Uint8Array([0, 97, 98, 99, 0, 0]).buffer
  const shared = new SharedArrayBuffer(3)
  new Uint8Array(shared).set([97, 98, 99])
  const cases: Array<[MessageData, SendOptions | undefined, string]> = [
    ['abc', undefined, 'text abc'],
    ['', undefined, 'text'],
    ['héllo', undefined, 'text héllo'],
    [42, undefined, 'text 42'],
    [Buffer.from('abc'), undefined, 'binary abc'],
    [new Uint8Array(memory, 1, 3), undefined, 'binary abc'],
    [new DataView(memory, 1, 3), {}, 'binary abc'],
    [memory.slice(1, 4), { compress: true }, 'binary abc'],
    [shared, { compress: false }, 'binary abc'],
    [new Blob(['abc']), undefined, 'binary abc'],
    ['abc', { binary: true }, 'binary abc'],
    [Buffer.from('abc'), { binary: false }, 'text abc'],
    [new Blob(['abc']), { binary: false }, 'text abc'],
    ['abc', { binary: undefined, fin: true }, 'text abc']
  ]
  for (const [data, options] of cases) t.equal(connection.send(data, options), true)
  t.strictSame(await client.take(cases.length), cases.map(([, , expected]) => expected))
})

test('data of another type throws and sends nothing', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  for (const data of [undefined, null, {}, true]) {
    t.throws(() => connection.send(data as never), { name: 'TypeError' })
  }
  t.equal(connection.bufferedAmount, 0)
  connection.send('next')
  t.strictSame(await client.take(1), ['text next'])
})

test('fin: false sends fragments of one message, between which control frames may stand', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  connection.send('a', { fin: false })
  connection.send('b', { fin: false })
  connection.ping('p')
  connection.send(Buffer.from('c'), { fin: true })
  connection.send(Buffer.from('d'), { fin: false })
  connection.send('', {})
  connection.send('e')
  t.strictSame(await client.take(7),
    ['text... a', 'continuation... b', 'ping p', 'continuation c', 'binary... d', 'continuation', 'text e'])
})

test('callbacks come in order, without an error, and never inside of send()', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  const called: unknown[] = []
  const all = gate()
  connection.send('a', error => { called.push('a', error) })
  connection.send(Buffer.alloc(200_000), {}, error => { called.push('b', error) })
  connection.ping('', false, error => { called.push('ping', error) })
  connection.send('c', undefined, error => {
    called.push('c', error)
    all.open()
  })
  t.strictSame(called, [])
  await all.opened
  t.strictSame(called, ['a', undefined, 'b', undefined, 'ping', undefined, 'c', undefined])
  t.equal((await client.take(4)).length, 4)
})

test('no callback is lost when the socket dies with data unsent: those get an error', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  client.pause()
  const results: Array<[number, string | undefined]> = []
  const count = 32
  const all = gate()
  const note = (i: number) => (error?: Error) => {
    results.push([i, error?.name])
    if (results.length === count + 1) all.open()
  }
  for (let i = 0; i < count; i++) connection.send(Buffer.alloc(MIB), note(i))
  connection.send(new Blob(['never read']), note(count))
  t.ok(connection.bufferedAmount > count * MIB)
  await new Promise<void>(resolve => { connection._socket!.once('drain', resolve) })
  client.reset()
  await all.opened
  t.strictSame(results.map(([i]) => i), Array.from({ length: count + 1 }, (_, i) => i))
  const errors = results.map(([, name]) => name)
  t.equal(errors.at(-1), 'ConnectionClosedError')
  t.equal(errors.lastIndexOf(undefined) < errors.indexOf('ConnectionClosedError'), true, 'first those that were sent')
  t.equal(connection.bufferedAmount, 0)
})

test('send() gives false from highWaterMark on, then there is one drain, and drained() resolves with it', async t => {
  const { client, connection } = await startConnection(t, { highWaterMark: 1000 }, () => {})
  const events: string[] = []
  connection.on('drain', () => { events.push(`drain ${connection.bufferedAmount}`) })
  await connection.drained()
  t.equal(connection.send(Buffer.alloc(900)), true)
  t.equal(connection.bufferedAmount, 904)
  await connection.drained()
  t.equal(connection.bufferedAmount, 904, 'nothing to wait for')
  t.equal(connection.send(Buffer.alloc(94)), false)
  t.equal(connection.bufferedAmount, 1000)
  t.equal(connection.send(''), false)
  const waiting = [connection.drained(), connection.drained()]
  t.strictSame(events, [])
  await Promise.all(waiting)
  t.equal(connection.bufferedAmount, 0)
  t.strictSame(events, ['drain 0'])
  t.equal(connection.send('a'), true)
  t.equal((await client.take(4)).length, 4)
  t.strictSame(events, ['drain 0'])
})

test('a producer that waits for drained() never has more than highWaterMark and one message unsent', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  const left: number[] = []
  connection.on('drain', () => { left.push(connection.bufferedAmount) })
  let most = 0
  const hash = createHash('sha1')
  const sending = (async () => {
    for (let i = 0; i < 500; i++) {
      const payload = Buffer.alloc(20_000, i)
      hash.update(payload)
      if (!connection.send(payload)) await connection.drained()
      most = Math.max(most, connection.bufferedAmount)
    }
  })()
  const received = createHash('sha1')
  for (let i = 0; i < 500; i++) received.update((await client.next()).payload)
  await sending
  t.ok(most < 64 * 1024 + 20_004, `${most} bytes`)
  t.equal(received.digest('hex'), hash.digest('hex'))
  t.ok(left.length > 10)
  t.ok(left.every(bytes => bytes === 0), 'a drain is a drain')
})

test('a drain listener may send again, which does not recurse', async t => {
  const { client, connection } = await startConnection(t, { highWaterMark: 1 }, () => {})
  let drains = 0
  let inListener = false
  connection.on('drain', () => {
    t.equal(inListener, false)
    inListener = true
    if (++drains < 50) connection.send(`m${drains}`)
    inListener = false
  })
  connection.send('m0')
  t.strictSame(await client.take(50), numbered('text m', 50))
})

test('a Blob keeps its place before later messages and the Close frame, and counts as unsent', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  const called: string[] = []
  connection.send('before', () => { called.push('before') })
  connection.send(new Blob(['x'.repeat(1000)]), () => { called.push('blob') })
  t.ok(connection.bufferedAmount >= 1000 + 8)
  connection.send('behind', () => { called.push('behind') })
  connection.ping('overtakes')
  connection.close(1000, 'done')
  t.strictSame(await client.take(5), ['text before', 'ping overtakes', `binary ${'x'.repeat(1000)}`, 'text behind', 'close 1000 done'])
  t.strictSame(called, ['before', 'blob', 'behind'])
  client.end(close(1000))
  await connection.closed
})

test('a Blob that cannot be read: its callback gets the error, the errorHandler too, and the client Close 1011 in any case', async t => {
  for (const keeps of [false, true]) {
    const path = join(t.testdir({ file: 'abc' }), 'file')
    const blob = await openAsBlob(path)
    await writeFile(path, 'changed since')
    const errors: unknown[] = []
    const options = keeps ? { errorHandler (error: unknown) { errors.push(error) } } : {}
    const { client, connection, logs } = await startConnection(t, { closeTimeout: 60_000, ...options }, () => {})
    const called: Array<string | undefined> = []
    connection.send('before', error => { called.push(error?.name) })
    connection.send(blob, error => { called.push(error?.name) })
    connection.send('behind')
    const frames = await client.rest()
    t.equal(frames[0], 'text before')
    t.equal(frames.at(-1), 'close 1011')
    t.strictSame(called.sort(), ['NotReadableError', undefined])
    t.equal(errors.length + logs.length, 1)
    client.end()
    await connection.closed
  }
})

test('TCP looks for a lost peer too, once it is silent; without a heartbeat from the start', async t => {
  const calls = t.capture(Socket.prototype, 'setKeepAlive')
  const { client } = await startConnection(t, { heartbeat: { interval: 100, timeout: 5000 } }, () => {})
  t.strictSame(calls(), [])
  t.strictSame(await client.take(1), ['ping'])
  t.match(calls(), [{ args: [true] }])
  await startConnection(t, { heartbeat: false }, () => {})
  t.match(calls(), [{ args: [true] }])
})

test('ping() and pong() take data of every type up to 125 bytes, and a callback at any place', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  const called: string[] = []
  connection.ping()
  connection.ping('text')
  connection.ping(Buffer.alloc(125, 'x'), true)
  connection.ping(() => { called.push('first') })
  connection.pong(1, () => { called.push('second') })
  connection.pong(new Uint8Array([97]), undefined, () => { called.push('third') })
  connection.pong(undefined, undefined, () => { called.push('fourth') })
  t.strictSame(called, [])
  t.strictSame(await client.take(7), ['ping', 'ping text', `ping ${'x'.repeat(125)}`, 'ping', 'pong 1', 'pong a', 'pong'])
  t.strictSame(called, ['first', 'second', 'third', 'fourth'])
  t.throws(() => { connection.ping('x'.repeat(126)) }, { name: 'RangeError', message: /126 bytes/ })
  t.throws(() => { connection.pong('é'.repeat(63)) }, { name: 'RangeError' })
  t.throws(() => { connection.ping(new Blob(['a'])) }, { name: 'TypeError' })
  t.throws(() => { connection.ping({} as never) }, { name: 'TypeError' })
  connection.send('next')
  t.strictSame(await client.take(1), ['text next'])
})

test('null in place of options or a callback is as good as nothing, as with ws', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  connection.send('a', null as never)
  connection.send('b', {}, null as never)
  connection.send(new Blob(['c']), null as never, null as never)
  connection.ping('d', null as never, null as never)
  t.strictSame((await client.take(4)).sort(), ['binary c', 'ping d', 'text a', 'text b'])
  await client.roundTrip()
  connection.close(1000)
  connection.send('e', {}, null as never)
  t.strictSame(await client.take(1), ['close 1000'])
  client.end(close(1000))
  await connection.closed
})

test('100 sends in one tick leave in one write', async t => {
  const { client, connection } = await startConnection(t, {}, () => {})
  const writes = countWrites(connection)
  for (let i = 0; i < 100; i++) connection.send(`m${i}`)
  t.equal(writes.count, 0)
  t.strictSame(await client.take(100), numbered('text m', 100))
  t.equal(writes.count, 1)
})

test('the echoes of the 50 messages in one chunk leave in one write', async t => {
  const { client, connection } = await startConnection(t, {}, echo)
  const writes = countWrites(connection)
  let chunks = 0
  connection._socket!.on('data', () => { chunks++ })
  client.write(...numbered('m', 50).map(text))
  t.strictSame(await client.take(50), numbered('text m', 50))
  t.equal(writes.count, chunks)
  t.ok(chunks <= 2, 'TCP did not tear them apart')
})

// Reading waits for writing

test('an echo to a client that never reads is bounded, makes the client wait, and comes whole and in order when it reads', async t => {
  const highWaterMark = 64 * 1024
  const count = 2048
  const size = 16 * 1024
  let most = 0
  const { client, connection, port } = await startConnection(t, { highWaterMark }, connection => {
    connection.on('message', data => {
      connection.send(data)
      most = Math.max(most, connection.bufferedAmount)
    })
  })
  const other = await openRawClient(t, port)
  const socket = connection._socket as Socket
  client.pause()
  for (let i = 0; i < count; i++) {
    const payload = Buffer.alloc(size)
    payload.writeUInt32BE(i)
    client.write(binary(payload))
  }
  const read = await settles(other, () => socket.bytesRead)
  t.ok(client.socket.writableLength > 0, 'the client waits')
  t.ok(read < count * size, `${read} bytes were read`)
  t.ok(most <= 2 * highWaterMark + size + 4, `${most} bytes were unsent`)
  t.ok(most > highWaterMark, 'it was tried')
  client.resume()
  for (let i = 0; i < count; i++) {
    const { payload } = await client.next()
    if (payload.length !== size || payload.readUInt32BE(0) !== i) throw new Error(`message ${i} is not what it was`)
  }
  t.ok(most <= 2 * highWaterMark + size + 4)
})

test('Pings whose Pongs fill the buffer are answered in turns, and what is behind them is read', async t => {
  const { client } = await startConnection(t, { highWaterMark: 1024 }, echo)
  const pings = Array.from({ length: 100 }, () => ping('x'.repeat(125)))
  client.write(...pings, text('behind'))
  let pongs = 0
  let frame = describe(await client.next())
  while (frame.startsWith('pong')) {
    pongs++
    frame = describe(await client.next())
  }
  t.equal(frame, 'text behind')
  t.equal(pongs, 100)
})

test('a flood of Pings to which nobody reads the Pongs is bounded too', async t => {
  const highWaterMark = 16 * 1024
  const { client, connection, port } = await startConnection(t, { highWaterMark }, connection => {
    connection.on('ping', () => { most = Math.max(most, connection.bufferedAmount) })
  })
  let most = 0
  const other = await openRawClient(t, port)
  const socket = connection._socket as Socket
  client.pause()
  const pings = Buffer.concat(Array.from({ length: 10_000 }, () => ping('x'.repeat(125))))
  for (let i = 0; i < 20; i++) client.write(pings)
  await settles(other, () => socket.bytesRead)
  t.ok(most <= 2 * highWaterMark + 127, `${most} bytes were unsent`)
  t.ok(client.socket.writableLength > 0, 'the client waits')
})

test('two ends that both send, and wait when they are told to, do not block each other', async t => {
  const count = 1024
  const size = 32 * 1024
  let received = 0
  const { url } = await startApp(t, {}, app => {
    app.get('/', { websocket: true }, async connection => {
      connection.on('message', () => { received++ })
      for (let i = 0; i < count; i++) if (!connection.send(Buffer.alloc(size, i))) await connection.drained()
    })
  })
  const client = new WsWebSocket(url)
  t.teardown(() => { client.terminate() })
  let receivedByClient = 0
  const all = gate()
  client.on('message', () => { if (++receivedByClient === count) all.open() })
  await once(client, 'open')
  for (let i = 0; i < count; i++) {
    await new Promise<void>((resolve, reject) => {
      client.send(Buffer.alloc(size, i), error => { if (error) reject(error); else resolve() })
    })
  }
  await all.opened
  client.close()
  await once(client, 'close')
  t.equal(received, count)
})

// Errors of the application

interface Failures {
  errors: unknown[]
  errorHandler: WebSocketErrorHandler
}

function failures (): Failures {
  const errors: unknown[] = []
  return { errors, errorHandler (error) { errors.push(error) } }
}

const thrown = new Error('thrown')
function throws (): never { throw thrown }

test('a listener that throws on the k-th of n messages in one chunk: by default the replies so far go out, then Close 1011', async t => {
  const received: string[] = []
  const { client, connection, logs } = await startConnection(t, {}, connection => {
    connection.on('message', data => {
      received.push(String(data))
      connection.send(`reply to ${data}`)
      if (String(data) === 'm2') throw thrown
    })
    connection.on('message', data => { received.push(`second listener: ${data}`) })
  })
  client.write(...numbered('m', 10).map(text))
  t.strictSame(await client.rest(), ['text reply to m0', 'text reply to m1', 'text reply to m2', 'close 1011'])
  t.strictSame(received, ['m0', 'second listener: m0', 'm1', 'second listener: m1', 'm2'])
  t.strictSame(logs.map(({ err }) => err?.message), ['thrown'])
  client.end(close(1011))
  t.match(await connection.closed, { code: 1006 })
})

test('a listener that throws on the first of several held messages is not given the next', async t => {
  for (const paused of [false, true]) {
    const start = gate()
    let calls = 0
    const { client, connection, logs } = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
      if (paused) connection.pause()
      await start.opened
      connection.on('message', () => {
        calls++
        throw thrown
      })
      if (paused) connection.resume()
    })
    client.write(...numbered('m', 5).map(text))
    await client.roundTrip()
    start.open()
    t.strictSame(await client.rest(), ['close 1011'])
    t.equal(calls, 1)
    t.equal(logs.length, 1)
    client.end()
    await connection.closed
  }
})

test('with an errorHandler that keeps the connection, the remaining messages of the chunk are delivered', async t => {
  const { errors, errorHandler } = failures()
  const received: string[] = []
  const { client } = await startConnection(t, { errorHandler }, connection => {
    connection.on('message', data => {
      received.push(String(data))
      if (received.length === 3) throw thrown
      connection.send(data, { binary: false })
    })
  })
  client.write(...numbered('m', 5).map(text))
  t.strictSame(await client.take(4), ['text m0', 'text m1', 'text m3', 'text m4'])
  t.strictSame(received, numbered('m', 5))
  t.strictSame(errors, [thrown])
})

test('the errorHandler gets error, connection, request and reply, with the instance as this; that of the route goes before the plugin\'s', async t => {
  const calls: unknown[][] = []
  const fromRoute = gate()
  let instance: unknown
  const { app, port } = await startApp(t, { errorHandler () { t.fail('the route has its own') } }, app => {
    app.register(async scope => {
      instance = scope
      const errorHandler: WebSocketErrorHandler = function (error, connection, request, reply) {
        calls.push([this, error, request.url, reply.statusCode])
        connection.close(4000, 'handled')
        fromRoute.open()
      }
      scope.get('/scope', { websocket: { errorHandler } }, throws)
    })
  })
  const client = await openRawClient(t, port, { path: '/scope' })
  await fromRoute.opened
  t.strictSame(await client.take(1), ['close 4000 handled'])
  t.equal(calls.length, 1)
  const [self, ...rest] = calls[0]!
  t.equal(self, instance)
  t.not(self, app)
  t.strictSame(rest, [thrown, '/scope', 101])
})

const FAILURES: Array<[string, (connection: WebSocketConnection, client: () => RawClient) => ReturnType<WebSocketHandler>]> = [
  ['a message listener that throws', connection => { connection.on('message', throws) }],
  ['a message listener that rejects', connection => { connection.on('message', async () => throws()) }],
  ['a message listener given to addEventListener that throws', connection => { connection.addEventListener('message', throws) }],
  ['an onmessage that rejects', connection => { connection.onmessage = async () => throws() }],
  ['a ping listener that throws', connection => { connection.on('ping', throws) }],
  ['a ping listener that rejects', connection => { connection.on('ping', async () => throws()) }],
  ['a pong listener that throws', connection => { connection.on('pong', throws) }],
  ['a drain listener that throws', connection => {
    connection.on('drain', throws)
    connection.send(Buffer.alloc(100_000))
  }],
  ['an error listener that throws, when a stream fails that nobody listens to', connection => {
    connection.on('error', throws)
    connection.createMessageStream().destroy(new Error('of the stream'))
  }],
  ['a send callback that throws', connection => { connection.send('a', throws) }],
  ['a send callback that rejects', connection => { connection.send('a', async () => throws()) }],
  ['a send callback that returns a thenable which rejects', connection => {
    // oxlint-disable-next-line unicorn/no-thenable
    connection.send('a', () => ({ then (_: unknown, reject: (error: Error) => void) { reject(thrown) } }))
  }],
  ['a ping callback that throws', connection => { connection.ping(throws) }],
  ['a handler that throws', throws],
  ['a handler that rejects', async () => throws()],
  ['a handler that rejects late', async () => {
    await turn()
    throws()
  }],
  // oxlint-disable-next-line unicorn/no-thenable
  ['a handler whose thenable throws', () => ({ then: throws })]
]
const EVENTS = [text('message'), ping('ping'), clientFrame({ opcode: 0xa, payload: 'pong' })]

test('what a listener, a callback or the handler throws or rejects with reaches the errorHandler once, and the connection can go on', async t => {
  for (const [name, fails] of FAILURES) {
    const failed = gate<unknown>()
    let calls = 0
    const { client, connection } = await startConnection(t, {
      errorHandler (error) {
        calls++
        failed.open(error)
      }
    }, connection => fails(connection, () => client))
    client.write(...EVENTS)
    t.equal(await failed.opened, thrown, name)
    connection.removeAllListeners()
    await turn()
    connection.send('it lives')
    for (let frame = describe(await client.next()); frame !== 'text it lives'; frame = describe(await client.next()));
    t.equal(calls, 1, name)
  }
})

test('without an errorHandler each of them is logged once and closes with 1011', async t => {
  for (const [name, fails] of FAILURES) {
    const { client, connection, logs } = await startConnection(t, {}, connection => fails(connection, () => client))
    client.write(...EVENTS)
    const frames = await client.rest()
    t.equal(frames.at(-1), 'close 1011', name)
    client.end()
    await connection.closed
    t.strictSame(logs.map(({ msg, err }) => [msg, err?.message]), [['a WebSocket handler or listener failed', 'thrown']], name)
  }
})

test('an errorHandler that throws or rejects: its own error is logged, and the connection closes with 1011', async t => {
  for (const errorHandler of [
    () => { throw new Error('in the errorHandler') },
    async () => { throw new Error('in the errorHandler') }
  ]) {
    const { client, connection, logs } = await startConnection(t, { errorHandler }, throws)
    t.strictSame(await client.rest(), ['close 1011'])
    client.end()
    await connection.closed
    t.strictSame(logs.map(({ err }) => err?.message), ['in the errorHandler'])
  }
})

test('whatever is thrown, the connection closes with 1011 and the process lives', async t => {
  const hostile = new Proxy(new Error('hostile'), { get () { throw new Error('a trap') } })
  for (const value of [undefined, null, 0, 'text', Symbol('symbol'), Object.create(null), hostile]) {
    const { client, connection } = await startConnection(t, {}, connection => { connection.on('message', () => { throw value }) })
    client.write(text('a'))
    t.strictSame(await client.rest(), ['close 1011'])
    client.end()
    await connection.closed
  }
})

test('a close listener that throws or rejects reaches the errorHandler, and closed and signal come nevertheless', async t => {
  for (const listener of [throws, async () => throws()]) {
    const { errors, errorHandler } = failures()
    const { client, connection, app } = await startConnection(t, { errorHandler }, connection => {
      connection.on('close', listener)
      connection.on('close', async () => {})
    })
    const aborted = once(connection.signal, 'abort')
    client.end(close(1000))
    t.match(await connection.closed, { code: 1000 })
    await aborted
    await turn()
    t.strictSame(errors, [thrown])
    t.equal(app.websocketServer.clients.size, 0)
  }
})

test('a connection listener of the server that throws or rejects is a failure of that connection', async t => {
  for (const listener of [throws, async () => throws()]) {
    const { port, logs } = await startApp(t, {}, app => {
      app.websocketServer.on('connection', listener)
      app.get('/', { websocket: true }, echo)
    })
    const client = await openRawClient(t, port)
    t.strictSame(await client.rest(), ['close 1011'])
    t.strictSame(logs.map(({ err }) => err?.message), ['thrown'])
    client.end()
  }
})

test('a failure on one connection does not touch another', async t => {
  const { client, port } = await startConnection(t, {}, connection => {
    connection.on('message', data => {
      if (String(data) === 'fail') throw thrown
      connection.send(data, { binary: false })
    })
  })
  const others = await Promise.all([openRawClient(t, port), openRawClient(t, port)])
  client.write(text('fail'))
  t.strictSame(await client.rest(), ['close 1011'])
  for (const other of others) {
    other.write(text('still here'))
    t.strictSame(await other.take(1), ['text still here'])
  }
})

test('memory that runs out for a message closes the connection, even with an errorHandler that keeps it, and not the process', async t => {
  for (const options of [{}, { errorHandler () {} }]) {
    const received: string[] = []
    const { client, connection } = await startConnection(t, options, connection => {
      connection.on('message', data => { received.push(String(data)) })
    })
    const allocate = Buffer.allocUnsafe.bind(Buffer)
    const failing = t.intercept(Buffer, 'allocUnsafe', {
      value (size: number) {
        if (size === 3000) throw new RangeError('Array buffer allocation failed')
        return allocate(size)
      }
    })
    client.write(clientFrame({ opcode: 0x2, fin: false, payload: 'a'.repeat(3000) }))
    const frames = await client.rest()
    failing.restore()
    t.match(frames, [/^close (1009|1011)/])
    client.end(clientFrame({ opcode: 0x0, payload: 'b' }), text('next'))
    await connection.closed
    t.strictSame(received, [], 'no message with a gap in it')
  }
})

// The request's context

test('listeners, handler and callbacks run in the context of the request', async t => {
  const storage = new AsyncLocalStorage<string>()
  const stores: Array<[string, string | undefined]> = []
  const note = (name: string) => () => { stores.push([name, storage.getStore()]) }
  const { app, port } = await startApp(t, {
    highWaterMark: 1000,
    errorHandler (error) { note(`errorHandler for ${(error as Error).message}`)() }
  }, app => {
    app.addHook('onRequest', (request, _reply, done) => { storage.run((request.query as { id: string }).id, done) })
    app.get('/', { websocket: true }, async connection => {
      note('handler')()
      connection.on('message', note('message'))
      connection.addEventListener('message', note('addEventListener'))
      connection.on('ping', note('ping'))
      connection.on('drain', note('drain'))
      connection.on('error', note('error'))
      connection.on('close', note('close'))
      connection.on('message', () => { throw new Error('message') })
      await turn()
      note('handler, later')()
      connection.pause()
      connection.send(Buffer.alloc(100_000), note('callback'))
      connection.send('', () => { throw new Error('callback') })
      connection.resume()
    })
  })
  let closed = 0
  const all = gate()
  app.websocketServer.on('connection', connection => {
    connection.on('close', () => {
      connection.send('', note('callback after close'))
      if (++closed === 2) all.open()
    })
  })
  const clients = [await openRawClient(t, port, { path: '/?id=a' }), await openRawClient(t, port, { path: '/?id=b' })]
  for (const client of clients) client.write(ping())
  for (const client of clients) {
    await client.take(3)
    client.end(text('message'), Buffer.from([0x81, 0x00]))
  }
  await all.opened
  await turn()
  const names = [
    'handler', 'handler, later', 'ping', 'drain', 'callback', 'errorHandler for callback', 'message', 'addEventListener',
    'errorHandler for message', 'error', 'close', 'callback after close'
  ]
  for (const name of names) {
    t.strictSame(stores.filter(([noted]) => noted === name).map(([, store]) => store).sort(), ['a', 'b'], name)
  }
})
