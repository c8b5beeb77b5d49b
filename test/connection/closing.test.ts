// The closing handshake, and what becomes of a connection that is closing or closed.
import { once } from 'node:events'
import { test } from 'tap'
import { WebSocket as UndiciWebSocket } from 'undici'
import { WebSocket as WsWebSocket } from 'ws'
import { startApp, startConnection, turn } from '../helpers/app.ts'
import { closing, echo, NEVER } from '../helpers/endings.ts'
import { binary, close, numbered, openRawClient, ping, text } from '../helpers/raw-client.ts'

test('close() sends code and reason; the peer\'s answer completes the handshake, and the server ends TCP first', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const closed = closing(connection)
  const states = [connection.readyState]
  connection.close(3001, 'séa')
  states.push(connection.readyState)
  t.strictSame(await client.take(1), ['close 3001 séa'])
  client.write(close(3002, 'their own'))
  await client.ended
  states.push(connection.readyState)
  client.end()
  t.equal(await closed, '3002 their own')
  states.push(connection.readyState)
  t.strictSame(states, [1, 2, 2, 3])
  t.match(await connection.closed, { code: 3002, reason: 'their own', wasClean: true })
  t.equal(await client.closed, null)
})

test('the peer\'s Close is answered with the same code and reason', async t => {
  for (const [code, reason] of [[1000, 'bye'], [1001, ''], [4999, 'x'.repeat(123)]] as const) {
    const { client, connection } = await startConnection(t, NEVER, () => {})
    const closed = closing(connection)
    client.write(close(code, reason))
    t.strictSame(await client.rest(), [`close ${code} ${reason}`.trimEnd()])
    client.end()
    t.equal(await closed, `${code} ${reason}`.trimEnd())
    t.match(await connection.closed, { code, reason, wasClean: true })
  }
})

test('a Close without a code is answered by one without a code, and reported as 1005', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const closed = closing(connection)
  client.end(close())
  t.strictSame(await client.rest(), ['close'])
  t.equal(await closed, '1005')
  t.match(await connection.closed, { code: 1005, reason: '', wasClean: true })
})

test('close() without a code sends an empty Close, and drops a reason', async t => {
  for (const args of [[], [undefined, undefined], [undefined, 'reason']] as Array<[undefined?, string?]>) {
    const { client, connection } = await startConnection(t, NEVER, () => {})
    connection.close(...args)
    t.strictSame(await client.take(1), ['close'])
    client.end(close())
    t.match(await connection.closed, { code: 1005, wasClean: true })
  }
})

test('clients of ws and undici close cleanly from either side', async t => {
  const { url } = await startApp(t, NEVER, app => {
    app.get('/server', { websocket: true }, connection => { connection.close(3000, 'server') })
    app.get('/client', { websocket: true }, () => {})
  })
  for (const [path, code, reason] of [['/server', 3000, 'server'], ['/client', 3001, 'client']] as const) {
    const ws = new WsWebSocket(url + path)
    if (path === '/client') ws.on('open', () => { ws.close(code, reason) })
    t.strictSame(await once(ws, 'close'), [code, Buffer.from(reason)], `ws ${path}`)

    const undici = new UndiciWebSocket(url + path)
    if (path === '/client') undici.addEventListener('open', () => { undici.close(code, reason) })
    const [event] = await once(undici, 'close') as [{ code: number, reason: string, wasClean: boolean }]
    t.strictSame([event.code, event.reason, event.wasClean], [code, reason, true], `undici ${path}`)
  }
})

test('both ends may start at once', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  connection.close(3000, 'ours')
  client.end(close(3001, 'theirs'))
  t.strictSame(await client.rest(), ['close 3000 ours'])
  t.match(await connection.closed, { code: 3001, reason: 'theirs', wasClean: true })
})

test('what was sent before close() goes out before the Close frame', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  connection.send('a')
  connection.send(Buffer.alloc(1_000_000))
  connection.ping('p')
  connection.close(1000)
  const frames = await client.take(4)
  t.strictSame([frames[0], frames[1]!.length, ...frames.slice(2)], ['text a', 1_000_000 + 'binary '.length, 'ping p', 'close 1000'])
  client.end(close(1000))
  t.match(await connection.closed, { wasClean: true })
})

test('close() in the handler\'s first line, with the client\'s first messages already there', async t => {
  const received: string[] = []
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('message', data => { received.push(String(data)) })
    connection.close(1000)
  }, { early: text('early') })
  t.strictSame(await client.take(1), ['close 1000'])
  client.end(text('before my Close'), close(1000))
  await connection.closed
  t.strictSame(received, ['early', 'before my Close'])
})

test('a second close() does nothing, whatever its arguments, nor does one after the peer\'s or after the end', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const events: string[] = []
  connection.on('close', () => { events.push('close') })
  connection.close(1000, 'first')
  connection.close(1001, 'second')
  connection.close()
  t.strictSame(await client.take(1), ['close 1000 first'])
  client.end(close(1000))
  await connection.closed
  connection.close(1001)
  connection.close()
  connection.terminate()
  t.equal(connection.readyState, 3)
  await turn()
  t.equal(client.frames.length, 1)
  t.strictSame(events, ['close'])
})

test('a code or reason that no Close frame can carry throws and leaves the connection open', async t => {
  const { client, connection } = await startConnection(t, NEVER, echo)
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, NaN, 1000.5]) {
    t.throws(() => { connection.close(code) }, { name: 'RangeError' }, String(code))
  }
  t.throws(() => { connection.close('1000' as never) }, { name: 'TypeError' })
  t.throws(() => { connection.close(1000, 'x'.repeat(124)) }, { name: 'RangeError' })
  t.throws(() => { connection.close(1000, Buffer.from([0xff])) }, { name: 'TypeError' })
  t.throws(() => { connection.close(1000, 5 as never) }, { name: 'TypeError' })
  t.equal(connection.readyState, 1)
  client.write(text('still open'))
  t.strictSame(await client.take(1), ['text still open'])
  connection.close(1000, Buffer.from('as bytes'))
  t.strictSame(await client.take(1), ['close 1000 as bytes'])
  client.end(close(1000))
  await connection.closed
})

test('what comes behind a Close frame is ignored, broken frames too', async t => {
  const received: string[] = []
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('message', data => { received.push(String(data)) })
    connection.on('ping', data => { received.push(`ping ${data}`) })
    connection.on('error', error => { received.push(error.message) })
  })
  client.write(text('before'), close(1000), text('behind'), ping('behind'), close(1001), Buffer.from([0xff, 0xff]))
  client.write(text('another chunk'))
  t.strictSame(await client.rest(), ['close 1000'])
  client.end(text('and another'))
  t.match(await connection.closed, { code: 1000, wasClean: true })
  t.strictSame(received, ['before'])
})

test('after close() messages still go to listeners until the peer\'s Close, but Pings are no longer answered and pause() does not apply', async t => {
  const received: string[] = []
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('message', data => { received.push(String(data)) })
  })
  connection.pause()
  client.write(text('held'))
  await client.roundTrip()
  t.strictSame(received, [])
  connection.close(1000)
  t.equal(connection.isPaused, false)
  connection.pause()
  t.equal(connection.isPaused, false)
  await turn()
  t.strictSame(received, ['held'])
  t.strictSame(await client.take(1), ['close 1000'])
  client.write(text('later'), ping())
  client.end(close(1000))
  t.strictSame(await client.rest(), [])
  await connection.closed
  t.strictSame(received, ['held', 'later'])
})

test('after close() messages that nobody listens for are discarded, so that the peer\'s Close is seen behind any number of them', async t => {
  const { client, connection } = await startConnection(t, NEVER, async () => new Promise(() => {}))
  client.write(text('held'))
  await client.roundTrip()
  connection.close(1000)
  client.write(...Array.from({ length: 50 }, () => binary(Buffer.alloc(20_000))))
  client.end(close(1000))
  t.match(await connection.closed, { code: 1000, wasClean: true })
})

test('after close() the peer is read on, even if it does not read what was sent before', async t => {
  const { client, connection } = await startConnection(t, NEVER, connection => {
    for (let i = 0; i < 32; i++) connection.send(Buffer.alloc(1024 * 1024))
    connection.close(1000)
  })
  client.pause()
  client.write(text('a'))
  const [data] = await once(connection, 'message') as [Buffer]
  t.equal(String(data), 'a')
  t.ok(connection.bufferedAmount > 1024 * 1024, `${connection.bufferedAmount} bytes are unsent`)
  client.write(close(1000))
  client.resume()
  t.equal((await client.rest()).at(-1), 'close 1000')
  client.end()
  t.match(await connection.closed, { wasClean: true })
})

test('close() by the k-th of n messages in one chunk: replies before it go out, the listener gets the rest', async t => {
  const received: string[] = []
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('message', data => {
      received.push(String(data))
      connection.send(`reply to ${data}`)
      if (received.length === 2) connection.close(1000, 'enough')
    })
  })
  client.write(...numbered('m', 4).map(text))
  t.strictSame(await client.take(3), ['text reply to m0', 'text reply to m1', 'close 1000 enough'])
  client.end(close(1000))
  await connection.closed
  t.strictSame(received, numbered('m', 4))
})

test('app.close() says 1001 to every client', async t => {
  const { app, client, port } = await startConnection(t, NEVER, echo)
  const other = await openRawClient(t, port)
  const closed = app.close()
  for (const each of [client, other]) {
    t.strictSame(await each.take(1), ['close 1001'])
    each.end(close(1001))
  }
  await closed
  t.equal(app.websocketServer.clients.size, 0)
})

test('echoes by a slow listener go out before the Close: each message is answered before the next is taken', async t => {
  const { client, connection } = await startConnection(t, NEVER, async connection => {
    for (let i = 0; i < 3; i++) {
      const [data] = await once(connection, 'message') as [Buffer]
      await turn()
      connection.send(`slowly ${data}`)
    }
  })
  client.end(text('a'), text('b'), text('c'), close(1000))
  t.strictSame((await client.rest()).slice(0, 2), ['text slowly a', 'text slowly b'])
  t.match(await connection.closed, { code: 1000 })
})

test('a message listener can still send while the Close waits behind it, one message later it cannot', async t => {
  const sent: boolean[] = []
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('message', () => { sent.push(connection.send('x')) })
    connection.on('close', () => { sent.push(connection.send('x')) })
  })
  client.end(text('a'), close(1000))
  t.strictSame(await client.rest(), ['text x', 'close 1000'])
  await connection.closed
  t.strictSame(sent, [true, false])
})

// Time-outs

test('a peer that never answers close() is dropped after closeTimeout', async t => {
  const { client, connection } = await startConnection(t, { closeTimeout: 30 }, () => {})
  const start = performance.now()
  connection.close(1000)
  t.strictSame(await client.take(1), ['close 1000'])
  t.match(await connection.closed, { code: 1006, reason: '', wasClean: false })
  t.ok(performance.now() - start >= 29)
  t.strictSame(await client.rest(), [])
})

test('a peer that goes on sending and never answers close() is dropped after closeTimeout', async t => {
  const { client, connection } = await startConnection(t, { closeTimeout: 30 }, connection => {
    connection.on('message', () => {})
  })
  connection.close(1000)
  while (!client.isOver) {
    client.write(text('more'), ping())
    await turn()
  }
  t.match(await connection.closed, { code: 1006 })
})

test('a peer that never ends TCP is dropped closeTimeout after the handshake, with the code of its Close', async t => {
  for (const starts of ['server', 'client'] as const) {
    const { client, connection } = await startConnection(t, { closeTimeout: 30 }, () => {})
    if (starts === 'server') {
      connection.close(1000)
      await client.take(1)
    }
    client.write(close(1000))
    await client.ended
    t.match(await connection.closed, { code: 1000, reason: '', wasClean: true })
  }
})

test('a peer that does not read the Close frame is dropped after closeTimeout', async t => {
  const { client, connection } = await startConnection(t, { closeTimeout: 30 }, () => {})
  client.pause()
  const errors: Array<Error | undefined> = []
  for (let i = 0; i < 32; i++) connection.send(Buffer.alloc(1024 * 1024), error => { errors.push(error) })
  connection.close(1000)
  t.match(await connection.closed, { code: 1006 })
  t.equal(errors.length, 32)
  t.match(errors.at(-1), { name: 'ConnectionClosedError' })
})

test('what was sent before close() goes out to a slow reader, as long as it reads', async t => {
  const closeTimeout = 1500
  const { client, connection } = await startConnection(t, { closeTimeout }, () => {})
  const start = performance.now()
  const count = 128
  const payload = Buffer.alloc(512 * 1024)
  for (let i = 0; i < count; i++) connection.send(payload)
  connection.close(1000, 'done')
  // 64 MiB in 2 s, with progress all the time
  client.socket.on('data', () => {
    const due = start + 2000 * client.socket.bytesRead / (count * payload.length)
    const early = due - performance.now()
    if (early > 2) {
      client.pause()
      setTimeout(() => { client.resume() }, early)
    }
  })
  for (let i = 0; i < count; i++) await client.next()
  t.ok(performance.now() - start > closeTimeout)
  t.strictSame(await client.take(1), ['close 1000 done'])
  client.end(close(1000))
  t.match(await connection.closed, { wasClean: true })
})

// A connection that is not open

test('send(), ping() and pong() on a closing or closed connection: false, an asynchronous error for the callback, no throw, no drain', async t => {
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('drain', () => { t.fail('nothing to drain') })
  })
  const check = async (): Promise<void> => {
    const errors: Array<Error | undefined> = []
    t.equal(connection.send('x'), false)
    t.equal(connection.send('x', error => { errors.push(error) }), false)
    t.equal(connection.send(Buffer.alloc(1_000_000), {}, error => { errors.push(error) }), false)
    connection.ping()
    connection.pong('', false, error => { errors.push(error) })
    connection.ping(error => { errors.push(error) })
    t.strictSame(errors, [], 'not at once')
    await turn()
    t.match(errors, Array.from({ length: 4 }, () => ({ name: 'ConnectionClosedError', code: 'WS_ERR_CONNECTION_CLOSED' })))
    t.equal(errors.length, 4)
  }
  connection.close(1000)
  await check()
  let drained: boolean | null = null
  const waiting = connection.drained().then(mayGoOn => { drained = mayGoOn })
  t.strictSame(await client.take(1), ['close 1000'])
  t.equal(drained, null, 'sending has no point any more, which is no reason to spin')
  client.end(close(1000))
  await connection.closed
  await waiting
  t.equal(drained, false)
  await check()
  t.equal(await connection.drained(), false)
  t.equal(connection.bufferedAmount, 0)
  t.strictSame(await client.rest(), [])
})

test('on a closed connection nothing throws, whatever it is given, as libraries written for ws expect', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  client.end(close(1000))
  await connection.closed
  t.doesNotThrow(() => {
    connection.send(undefined as never)
    connection.send({} as never)
    connection.ping('x'.repeat(126))
    connection.pong(new Blob(['a']))
    connection.pause()
    connection.resume()
    connection.close(1000)
    connection.terminate()
  })
  t.equal(connection.isPaused, false)
})

test('drained() resolves when the connection closes with data unsent', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  client.pause()
  let sent = true
  for (let i = 0; i < 32; i++) sent = connection.send(Buffer.alloc(1024 * 1024))
  t.equal(sent, false)
  let drains = 0
  connection.on('drain', () => { drains++ })
  const drained = connection.drained()
  connection.terminate()
  await drained
  await connection.closed
  t.equal(drains, 0)
  t.equal(connection.bufferedAmount, 0)
})

test('closed and signal can be asked for after the end, and are made once', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const closed = closing(connection)
  client.end(close(1000, 'bye'))
  await closed
  t.equal(connection.closed, connection.closed)
  t.match(await connection.closed, { code: 1000, reason: 'bye', wasClean: true })
  t.equal(connection.signal, connection.signal)
  t.equal(connection.signal.aborted, true)
  t.match(connection.signal.reason, { name: 'ConnectionClosedError' })
})

test('listeners may be added to a closed connection', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  client.end(close(1000))
  await connection.closed
  connection.on('message', () => { t.fail('nothing comes') })
  connection.onmessage = () => { t.fail('nothing comes') }
  connection.once('close', () => { t.fail('it was there already') })
  await turn()
  t.equal(connection.readyState, 3)
})

test('an async send callback that rejects because the connection died, or is closed, reaches the errorHandler', async t => {
  const errors: unknown[] = []
  const { client, connection } = await startConnection(t, {
    ...NEVER, errorHandler (error) { errors.push(error) }
  }, connection => {
    connection.send(Buffer.alloc(50_000_000), async error => { throw new Error('large', { cause: error }) })
    connection.send('', error => { throw new Error('behind', { cause: error }) })
  })
  client.pause()
  connection.terminate()
  connection.send('', async error => { throw new Error('closed', { cause: error }) })
  await connection.closed
  await turn()
  t.match(errors.map(error => (error as Error).message).sort(), ['behind', 'closed', 'large'])
  t.match(errors, Array.from({ length: 3 }, () => ({ cause: { name: 'ConnectionClosedError' } })))
})

test('send callbacks, error and close come in this order when a connection dies with data unsent', async t => {
  const events: string[] = []
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('message', () => {
      connection.send(Buffer.alloc(50_000_000), error => { events.push(`callback ${error?.name}`) })
      connection.terminate()
    })
    connection.on('close', () => { events.push('close') })
  })
  client.write(text('a'))
  await client.rest()
  await connection.closed
  await turn()
  t.strictSame(events, ['callback ConnectionClosedError', 'close'])
})

test('close() on a closing or closed connection does nothing, whatever it is given', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  connection.close(1000)
  connection.close(1006)
  client.end(close(1000))
  await connection.closed
  t.doesNotThrow(() => { connection.close(1006, 'x'.repeat(200)) })
})
