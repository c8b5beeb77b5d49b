// How connections end: closing handshakes, failures, resets, time-outs, and that nothing is left behind.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { test } from 'tap'
import { WebSocket as UndiciWebSocket } from 'undici'
import { WebSocket as WsWebSocket } from 'ws'
import { Connection } from '../../lib/connection/connection.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { aborted, gate, startApp, startConnection, turn } from '../helpers/app.ts'
import { clientFrame, closePayload, readFrames, serverFrame } from '../helpers/frames.ts'
import { memoryTransport, OWNER, SETTINGS } from '../helpers/memory.ts'
import { cuts, integer, random } from '../helpers/random.ts'
import { binary, close, describe, numbered, openRawClient, ping, text, type RawClient } from '../helpers/raw-client.ts'

// for tests in which nothing may wait for it
const NEVER = { closeTimeout: 60_000 }

function echo (connection: WebSocketConnection): void {
  connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
}

/** 'close' as 'code reason'. */
function closing (connection: WebSocketConnection): Promise<string> {
  return new Promise(resolve => {
    connection.on('close', (code, reason) => { resolve(`${code} ${reason}`.trimEnd()) })
  })
}

/** The timers that keep the process alive. */
function timers (): number {
  return process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
}

// The closing handshake

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

// The Close frame keeps its place behind the messages before it

for (const how of ['awaits', 'is paused'] as const) {
  test(`messages and the Close behind them, while the handler ${how}: both echoes go out, then the Close`, async t => {
    const start = gate()
    const { client, connection } = await startConnection(t, NEVER, async connection => {
      if (how === 'is paused') connection.pause()
      else await start.opened
      echo(connection)
    })
    client.write(text('a'), text('b'), close(1000, 'bye'))
    await once(connection._socket!, 'data')
    t.equal(connection.readyState, 1)
    if (how === 'is paused') connection.resume()
    else start.open()
    t.strictSame(await client.rest(), ['text a', 'text b', 'close 1000 bye'])
    t.equal(connection.readyState, 2)
    client.end()
    t.match(await connection.closed, { code: 1000, reason: 'bye', wasClean: true })
  })

  test(`messages, Close and FIN, while the handler ${how}: the same`, async t => {
    const start = gate()
    const { client, connection } = await startConnection(t, NEVER, async connection => {
      if (how === 'is paused') connection.pause()
      else await start.opened
      echo(connection)
    })
    client.end(text('a'), text('b'), close(1000, 'bye'))
    await once(connection._socket!, 'end')
    if (how === 'is paused') connection.resume()
    else start.open()
    t.strictSame(await client.rest(), ['text a', 'text b', 'close 1000 bye'])
    t.match(await connection.closed, { code: 1000, reason: 'bye', wasClean: true })
    t.equal(await client.closed, null)
  })

  test(`messages and FIN without a Close, while the handler ${how}: the echoes go out, and the code is 1006`, async t => {
    const start = gate()
    const { client, connection } = await startConnection(t, NEVER, async connection => {
      if (how === 'is paused') connection.pause()
      else await start.opened
      echo(connection)
    })
    client.end(text('a'), text('b'))
    await once(connection._socket!, 'end')
    t.equal(connection.readyState, 1)
    if (how === 'is paused') connection.resume()
    else start.open()
    t.strictSame(await client.rest(), ['text a', 'text b'])
    t.match(await connection.closed, { code: 1006, reason: '', wasClean: false })
    t.equal(await client.closed, null)
  })

  test(`when the handler ${how} and never takes the messages, closeTimeout bounds it: Close is answered, the messages are dropped`, async t => {
    const received: string[] = []
    const { client, connection } = await startConnection(t, { closeTimeout: 20 }, async connection => {
      if (how === 'awaits') await new Promise(() => {})
      connection.on('message', data => { received.push(String(data)) })
      connection.pause()
    })
    client.write(text('a'), text('b'), close(1000, 'bye'))
    t.strictSame(await client.rest(), ['close 1000 bye'])
    client.end()
    t.match(await connection.closed, { code: 1000, reason: 'bye', wasClean: true })
    t.strictSame(received, [])
  })

  test(`when the handler ${how} and never takes the messages, closeTimeout bounds a FIN without a Close too`, async t => {
    const { client, connection } = await startConnection(t, { closeTimeout: 20 }, async connection => {
      if (how === 'awaits') await new Promise(() => {})
      connection.pause()
    })
    client.end(text('a'), text('b'))
    t.strictSame(await client.rest(), [])
    t.match(await connection.closed, { code: 1006 })
  })
}

test('closeTimeout bounds it also while the server goes on sending and the client goes on reading', async t => {
  const { client, connection } = await startConnection(t, { closeTimeout: 20 }, connection => {
    connection.pause()
    const push = () => { if (connection.send('pushed')) setImmediate(push) }
    push()
  })
  client.write(text('held'), close(1000, 'bye'))
  for (;;) {
    const frame = describe(await client.next())
    if (frame === 'text pushed') continue
    t.equal(frame, 'close 1000 bye')
    break
  }
  client.end()
  t.match(await connection.closed, { code: 1000 })
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

// Without a closing handshake

test('FIN, RST and terminate() end with 1006 and an empty reason, without an error event', async t => {
  const ways: Array<[string, (client: RawClient, connection: WebSocketConnection) => void]> = [
    ['FIN', client => { client.end() }],
    ['RST', client => { client.reset() }],
    ['FIN in the middle of a header', client => { client.end(Buffer.from([0x81])) }],
    ['FIN in the middle of a frame', client => { client.end(clientFrame({ opcode: 0x1, payload: 'cut off' }).subarray(0, 9)) }],
    ['FIN in the middle of a message', client => { client.end(clientFrame({ opcode: 0x1, fin: false, payload: 'a' })) }],
    ['FIN in the middle of a Close frame', client => { client.end(close(1000).subarray(0, 7)) }],
    ['terminate()', (_client, connection) => { connection.terminate() }],
    ['terminate() twice', (_client, connection) => {
      connection.terminate()
      connection.terminate()
    }],
    ['terminate() after close()', (_client, connection) => {
      connection.close(1000)
      connection.terminate()
    }],
    ['terminate() after send()', (_client, connection) => {
      connection.send(Buffer.alloc(10_000_000))
      connection.terminate()
    }],
    ['a destroyed _socket', (_client, connection) => { connection._socket!.destroy() }]
  ]
  for (const [name, end] of ways) {
    const errors: Error[] = []
    const { client, connection, app } = await startConnection(t, NEVER, connection => {
      connection.on('error', error => { errors.push(error) })
    })
    const closed = closing(connection)
    end(client, connection)
    t.equal(await closed, '1006', name)
    t.match(await connection.closed, { code: 1006, reason: '', wasClean: false }, name)
    t.strictSame(errors, [], name)
    t.equal(app.websocketServer.clients.size, 0, name)
    await client.rest()
  }
})

test('after a FIN without a Close what was sent before goes out, and nothing more can be sent', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  client.pause()
  for (let i = 0; i < 32; i++) connection.send(Buffer.alloc(1024 * 1024))
  client.end()
  await once(connection._socket!, 'end')
  t.equal(connection.readyState, 2)
  t.equal(connection.send('too late'), false)
  client.resume()
  const frames = await client.rest()
  t.equal(frames.length, 32)
  t.match(await connection.closed, { code: 1006 })
})

test('RST in the middle of a frame ends with 1006', async t => {
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('error', error => { t.fail(error) })
    connection.send('ready')
  })
  client.write(ping('here'), clientFrame({ opcode: 0x1, payload: 'cut off' }).subarray(0, 9))
  await client.take(2)
  client.reset()
  t.match(await connection.closed, { code: 1006 })
})

test('terminate() by the k-th of n messages in one chunk: nothing more is delivered; what was sent before goes out, what is sent after does not', async t => {
  const events: string[] = []
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('message', data => {
      events.push(String(data))
      connection.send('reply')
      if (events.length === 3) {
        connection.terminate()
        events.push(`readyState ${connection.readyState}`, `sent ${connection.send('x')}`)
      }
    })
    connection.on('close', code => { events.push(`close ${code}`) })
  })
  client.write(...numbered('m', 10).map(text), close(1000))
  t.strictSame(await client.rest(), ['text reply', 'text reply', 'text reply'])
  await connection.closed
  t.strictSame(events, ['m0', 'm1', 'm2', 'readyState 2', 'sent false', 'close 1006'])
})

test('terminate() drops held messages', async t => {
  const received: string[] = []
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.pause()
    connection.on('message', data => { received.push(String(data)) })
  })
  client.write(text('held'), close(1000))
  await once(connection._socket!, 'data')
  connection.terminate()
  connection.resume()
  t.match(await connection.closed, { code: 1006 })
  t.strictSame(received, [])
})

test('messages that were read before a reset can still be taken, and sends are refused', async t => {
  const start = gate()
  const events: string[] = []
  const { client, connection } = await startConnection(t, NEVER, async connection => {
    await start.opened
    connection.on('message', data => { events.push(`${data} ${connection.send(data)}`) })
    connection.on('close', code => { events.push(`close ${code}`) })
  })
  client.write(text('a'), text('b'))
  await client.roundTrip()
  const gone = new Promise(resolve => { connection._socket!.once('close', resolve) })
  client.reset()
  await gone
  t.equal(connection.readyState, 2)
  start.open()
  t.match(await connection.closed, { code: 1006 })
  t.strictSame(events, ['a false', 'b false', 'close 1006'])
  t.equal(connection.bufferedAmount, 0)
})

test('a listener that throws on the first of several messages that were read before a reset is not given the next', async t => {
  const start = gate()
  const errors: unknown[] = []
  const { client, connection, logs } = await startConnection(t, NEVER, async connection => {
    await start.opened
    connection.on('message', data => {
      errors.push(String(data))
      throw new Error('thrown')
    })
  })
  client.write(...numbered('m', 5).map(text))
  await client.roundTrip()
  const gone = new Promise(resolve => { connection._socket!.once('close', resolve) })
  client.reset()
  await gone
  start.open()
  t.match(await connection.closed, { code: 1006 })
  t.strictSame(errors, ['m0'])
  t.equal(logs.length, 1)
})

test('held messages and a Close, then a reset: the code is that of the Close, and nothing counts as unsent', async t => {
  const { client, connection } = await startConnection(t, NEVER, connection => { connection.pause() })
  client.write(text('a'), close(3000, 'bye'))
  await once(connection._socket!, 'data')
  const gone = new Promise(resolve => { connection._socket!.once('close', resolve) })
  client.reset()
  await gone
  connection.resume()
  t.match(await connection.closed, { code: 3000, reason: 'bye' })
  await turn()
  t.equal(connection.bufferedAmount, 0)
})

test('close is the last event also when the socket dies while reading waits for writing', async t => {
  const events: string[] = []
  const { client, connection } = await startConnection(t, { ...NEVER, highWaterMark: 1000 }, connection => {
    connection.on('message', data => {
      events.push(String(data))
      if (String(data) !== 'm2') return
      connection.send(Buffer.alloc(5000))
      connection._socket!.destroy()
    })
    connection.on('close', () => { events.push('close') })
  })
  client.write(...numbered('m', 5).map(text))
  await connection.closed
  await client.rest()
  await turn()
  t.strictSame(events, ['m0', 'm1', 'm2', 'm3', 'm4', 'close'])
})

test('when held messages are dropped in the end, none behind them is delivered', async t => {
  const received: number[] = []
  const { client, connection } = await startConnection(t, { highWaterMark: 1000, closeTimeout: 20 }, connection => {
    connection.pause()
    connection.on('message', data => { received.push(data.readUInt32BE(0)) })
  })
  const paused = once(connection._socket!, 'pause')
  client.write(...Array.from({ length: 50 }, (_, i) => {
    const payload = Buffer.alloc(500)
    payload.writeUInt32BE(i)
    return binary(payload)
  }))
  await paused // the inbox is full, the parser is not empty
  connection._socket!.destroy()
  t.match(await connection.closed, { code: 1006 })
  t.strictSame(received, [])
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

// Failures

const FAILURES: Array<[string, Buffer, number, string]> = [
  ['an unmasked frame', serverFrame({ opcode: 0x1, payload: 'a' }), 1002, 'WS_ERR_EXPECTED_MASK'],
  ['a reserved bit', clientFrame({ opcode: 0x1, rsv: 4, payload: 'a' }), 1002, 'WS_ERR_UNEXPECTED_RSV_1'],
  ['a reserved opcode', clientFrame({ opcode: 0x3 }), 1002, 'WS_ERR_INVALID_OPCODE'],
  ['a fragmented Ping', clientFrame({ opcode: 0x9, fin: false }), 1002, 'WS_ERR_EXPECTED_FIN'],
  ['a Ping of 126 bytes', clientFrame({ opcode: 0x9, payload: 'x'.repeat(126) }), 1002, 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH'],
  ['a continuation of nothing', clientFrame({ opcode: 0x0 }), 1002, 'WS_ERR_INVALID_OPCODE'],
  ['a message inside a message', Buffer.concat([clientFrame({ opcode: 0x1, fin: false }), text('a')]), 1002, 'WS_ERR_INVALID_OPCODE'],
  ['a padded length', clientFrame({ opcode: 0x2, payload: 'a', lengthBits: 16 }), 1002, 'WS_ERR_INVALID_PAYLOAD_LENGTH'],
  ['text that is not UTF-8', clientFrame({ opcode: 0x1, payload: Buffer.from([0xc0, 0x80]) }), 1007, 'WS_ERR_INVALID_UTF8'],
  ['text that is cut off', clientFrame({ opcode: 0x1, payload: Buffer.from('é').subarray(0, 1) }), 1007, 'WS_ERR_INVALID_UTF8'],
  ['a fragment that is not UTF-8', clientFrame({ opcode: 0x1, fin: false, payload: Buffer.from([0xff]) }), 1007, 'WS_ERR_INVALID_UTF8'],
  ['a message over maxPayload', clientFrame({ opcode: 0x2, length: 1001 }), 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'],
  ['fragments over maxPayload', Buffer.concat([
    clientFrame({ opcode: 0x2, fin: false, payload: Buffer.alloc(600) }), clientFrame({ opcode: 0x0, payload: Buffer.alloc(401) })
  ]), 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'],
  ['a length that no number can hold', clientFrame({ opcode: 0x2, length: 2n ** 60n }), 1009, 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH'],
  ['a Close of one byte', clientFrame({ opcode: 0x8, payload: 'a' }), 1002, 'WS_ERR_INVALID_CLOSE_PAYLOAD'],
  ['a Close with code 1005', clientFrame({ opcode: 0x8, payload: closePayload(1005) }), 1002, 'WS_ERR_INVALID_CLOSE_CODE'],
  ['a Close whose reason is not UTF-8', clientFrame({ opcode: 0x8, payload: closePayload(1000, Buffer.from([0xff])) }), 1007, 'WS_ERR_INVALID_UTF8']
]

test('a broken frame: the replies to what came before it go out, then Close with its code, then messages, error, removal, close in this order', async t => {
  for (const [name, bytes, closeCode, code] of FAILURES) {
    const events: string[] = []
    const { client, connection } = await startConnection(t, { ...NEVER, maxPayload: 1000 }, function (connection) {
      const { clients } = this.websocketServer
      connection.on('message', data => {
        events.push(String(data))
        connection.send(`reply to ${data}`)
      })
      connection.on('error', error => { events.push(`error ${(error as NodeJS.ErrnoException).code}, ${clients.size} client, readyState ${connection.readyState}`) })
      connection.on('close', (code, reason) => { events.push(`close ${code} ${reason}, ${clients.size} clients, readyState ${connection.readyState}`) })
      connection.closed.then(() => { events.push('closed') }, () => {})
      connection.signal.addEventListener('abort', () => { events.push('abort') })
    })
    client.write(text('a'), text('b'), bytes, text('c'), close(1000))
    const frames = await client.rest()
    t.strictSame(frames.slice(0, 2), ['text reply to a', 'text reply to b'], name)
    t.match(frames.slice(2), [new RegExp(`^close ${closeCode} .`)], name)
    t.equal(frames.length, 3, name)
    client.end()
    t.equal(await client.closed, null, name)
    t.match(await connection.closed, { code: 1006, reason: '', wasClean: false }, name)
    await turn()
    t.strictSame(events.sort((a, b) => Number(a === 'closed') - Number(b === 'closed')), [
      'a', 'b', 'abort', `error ${code}, 1 client, readyState 2`, 'close 1006 , 0 clients, readyState 3', 'closed'
    ], name)
  }
})

test('without an error listener a broken frame is survived', async t => {
  const { client, connection, port } = await startConnection(t, NEVER, echo)
  client.end(serverFrame({ opcode: 0x1, payload: 'unmasked' }))
  t.match(await client.rest(), [/^close 1002/])
  t.match(await connection.closed, { code: 1006 })
  const other = await openRawClient(t, port)
  other.write(text('a'))
  t.strictSame(await other.take(1), ['text a'])
})

test('the Close of a failure reaches a client that has much more on its way', async t => {
  const { client, connection } = await startConnection(t, NEVER, echo)
  client.write(text('before'), Buffer.from([0xff, 0xff]))
  for (let i = 0; i < 64; i++) client.write(Buffer.alloc(256 * 1024))
  const frames = await client.rest()
  t.equal(frames[0], 'text before')
  t.match(frames.slice(1), [/^close 1002/])
  client.end()
  t.equal(await client.closed, null, 'no reset')
  await connection.closed
})

test('the Close of a regular closing handshake too', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  client.write(close(1000))
  for (let i = 0; i < 64; i++) client.write(Buffer.alloc(256 * 1024))
  t.strictSame(await client.rest(), ['close 1000'])
  client.end()
  t.equal(await client.closed, null, 'no reset')
  t.match(await connection.closed, { code: 1000 })
})

test('a client that goes on sending after a failure is dropped after closeTimeout', async t => {
  const { client, connection } = await startConnection(t, { closeTimeout: 30 }, () => {})
  client.write(Buffer.from([0xff, 0xff]))
  while (!client.isOver) {
    client.write(text('more'))
    await turn()
  }
  t.match(await connection.closed, { code: 1006 })
})

test('a broken frame while messages are held: they are delivered, then the error, and then it closes', async t => {
  const start = gate()
  const events: string[] = []
  const { client, connection } = await startConnection(t, NEVER, async connection => {
    await start.opened
    connection.on('message', data => {
      events.push(String(data))
      connection.send(data, { binary: false })
    })
    connection.on('error', error => { events.push(error.name) })
    connection.on('close', code => { events.push(`close ${code}`) })
  })
  client.end(text('a'), text('b'), Buffer.from([0xff, 0xff]))
  await aborted(connection)
  t.strictSame(events, [])
  start.open()
  t.match(await client.rest(), ['text a', 'text b', /^close 1002/], 'their answers go out before it')
  await connection.closed
  t.strictSame(events, ['a', 'b', 'ProtocolError', 'close 1006'])
})

test('a broken frame after close(): no second Close frame', async t => {
  const errors: Error[] = []
  const { client, connection } = await startConnection(t, NEVER, connection => {
    connection.on('error', error => { errors.push(error) })
  })
  connection.close(3000)
  client.end(Buffer.from([0xff, 0xff]))
  t.strictSame(await client.rest(), ['close 3000'])
  t.match(await connection.closed, { code: 1006 })
  t.match(errors, [{ name: 'ProtocolError' }])
})

test('close() and terminate() from an error listener do no harm', async t => {
  for (const method of ['close', 'terminate'] as const) {
    const { client, connection } = await startConnection(t, NEVER, connection => {
      connection.on('error', () => { connection[method]() })
    })
    const closed = closing(connection)
    client.end(Buffer.from([0xff, 0xff]))
    t.equal(await closed, '1006')
    await client.rest()
  }
})

test('an error listener that throws reaches the errorHandler, and the connection closes all the same', async t => {
  const errors: unknown[] = []
  const { client, connection } = await startConnection(t, {
    ...NEVER, errorHandler (error) { errors.push(error) }
  }, connection => {
    connection.on('error', error => { throw new Error('from the listener', { cause: error }) })
  })
  client.end(Buffer.from([0xff, 0xff]))
  t.match(await connection.closed, { code: 1006 })
  t.match(errors, [{ message: 'from the listener', cause: { name: 'ProtocolError' } }])
})

test('a handler that fails while its connection is paused with messages: 1011, and closed as soon as the client is gone', async t => {
  const fail = gate()
  const { client, connection } = await startConnection(t, NEVER, async connection => {
    connection.pause()
    await fail.opened
    throw new Error('failed')
  })
  client.write(text('held'))
  await client.roundTrip()
  fail.open()
  t.strictSame(await client.rest(), ['close 1011'])
  client.end(close(1011))
  t.match(await connection.closed, { code: 1006 })
})

test('a handler that fails when its connection is already closing or closed changes nothing', async t => {
  for (const state of ['closing', 'closed'] as const) {
    const fail = gate()
    const { client, connection } = await startConnection(t, NEVER, async connection => {
      connection.close(3000)
      await fail.opened
      throw new Error('failed')
    })
    t.strictSame(await client.take(1), ['close 3000'])
    if (state === 'closing') fail.open()
    client.end(close(3000))
    t.match(await connection.closed, { code: 3000, wasClean: true })
    if (state === 'closed') fail.open()
    await turn()
    t.equal(client.frames.length, 1)
  }
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

// Nothing is left

test('after 200 connections that ended in 10 ways there is no client, no timer and no socket left', async t => {
  const ways: Array<(client: RawClient, connection: WebSocketConnection) => void> = [
    client => { client.end(close(1000)) },
    client => { client.end() },
    client => { client.reset() },
    client => { client.end(Buffer.from([0xff, 0xff])) },
    client => { client.end(text('terminate')) },
    client => { client.end(text('throw')) },
    client => { client.end(text('a'), text('close'), close(1000)) },
    (client, connection) => {
      connection.terminate()
      client.end()
    },
    (client, connection) => {
      connection.close(1000)
      client.end(close(1000))
    },
    (client, connection) => {
      connection.send(Buffer.alloc(10_000_000))
      connection.pause()
      client.write(text('held'), close(1000))
      client.reset()
      connection.terminate()
    }
  ]
  const connections: WebSocketConnection[] = []
  const { app, port } = await startApp(t, NEVER, app => {
    app.get('/', { websocket: true }, connection => {
      connections.push(connection)
      connection.on('message', data => {
        if (String(data) === 'terminate') connection.terminate()
        if (String(data) === 'throw') throw new Error('thrown')
        if (String(data) === 'close') connection.close(1000)
        connection.send(data)
      })
    })
  })
  const before = timers()
  for (let i = 0; i < 20; i++) {
    for (const end of ways) {
      const client = await openRawClient(t, port)
      end(client, connections.at(-1)!)
      await client.rest()
      client.destroy()
    }
  }
  t.equal(connections.length, 200)
  const infos = await Promise.all(connections.map(({ closed }) => closed))
  t.strictSame(new Set(infos.map(({ code }) => code)), new Set([1000, 1006]))
  await turn()
  t.equal(app.websocketServer.clients.size, 0)
  const sockets = await new Promise<number>((resolve, reject) => {
    app.server.getConnections((error, count) => { if (error) reject(error); else resolve(count) })
  })
  t.equal(sockets, 0)
  t.ok(timers() <= before, `${timers()} timers, ${before} before`)
})

test('a connection that its handler terminates at once delivers nothing and leaves no timer', async t => {
  const terminated = gate<WebSocketConnection>()
  const { port } = await startApp(t, NEVER, app => {
    app.get('/', { websocket: true }, connection => {
      connection.on('message', () => { t.fail('it is terminated') })
      connection.terminate()
      terminated.open(connection)
    })
  })
  const before = timers()
  openRawClient(t, port, { early: text('early') }).catch(() => {}) // the 101 may be lost with the socket
  const connection = await terminated.opened
  t.match(await connection.closed, { code: 1006 })
  await turn()
  await turn()
  t.ok(timers() <= before, `${timers()} timers, ${before} before`)
})

// The connection by itself, over memory and in the client role

test('a connection without a transport is CONNECTING: sending throws, and the rest waits', async t => {
  const connection = new Connection({ ...SETTINGS, url: 'ws://localhost/' }, OWNER)
  t.equal(connection.readyState, 0)
  t.equal(connection._socket, null)
  t.equal(connection.bufferedAmount, 0)
  t.strictSame([connection.protocol, connection.extensions, connection.url], ['', '', 'ws://localhost/'])
  t.throws(() => connection.send('a'), { message: /CONNECTING/ })
  t.throws(() => { connection.ping() }, { message: /CONNECTING/ })
  connection.pause()
  t.equal(connection.isPaused, false)
  connection.on('message', () => {})
  connection.resume()
  connection.handlerSettled()
  connection.closeFailed()
  t.equal(connection.readyState, 0)
})

test('a new connection has no protocol, extensions or url, and the constants of the states on class and instance', async t => {
  const connection = new Connection(SETTINGS, OWNER)
  t.strictSame([connection.protocol, connection.extensions, connection.url], ['', '', ''])
  const states = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 }
  for (const [name, value] of Object.entries(states)) {
    t.equal(connection[name as keyof typeof states], value)
    t.equal(Connection[name as keyof typeof states], value)
  }
  const extended = connection as Connection & { isAlive?: boolean }
  extended.isAlive = true
  t.equal(new Map([[connection, 1]]).get(connection), 1)
})

test('terminate() and close() while CONNECTING close with 1006, once and in a later turn', async t => {
  for (const method of ['terminate', 'close'] as const) {
    let closes = 0
    const connection = new Connection(SETTINGS, OWNER)
    connection.on('close', () => { closes++ })
    connection[method]()
    connection[method]()
    t.equal(connection.readyState, 2)
    t.equal(connection.send('a'), false)
    t.equal(closes, 0)
    t.match(await connection.closed, { code: 1006 })
    t.equal(connection.readyState, 3)
    t.equal(closes, 1)
  }
})

test('what came behind the handshake is read first, in a later turn', async t => {
  const [here, there] = duplexPair()
  const connection = new Connection(SETTINGS, OWNER)
  const received: string[] = []
  connection.on('message', data => { received.push(String(data)) })
  there.write(text('second'))
  connection.open(memoryTransport(here), text('first'))
  t.equal(connection.readyState, 1)
  t.equal(connection._socket, here)
  t.strictSame(received, [])
  await turn()
  t.strictSame(received, ['first', 'second'])
  connection.terminate()
  await connection.closed
})

test('a chunk that the connection does not own is not written to', async t => {
  const [here, there] = duplexPair()
  const connection = new Connection(SETTINGS, OWNER)
  const bytes = text('masked')
  const before = Buffer.from(bytes)
  connection.open(memoryTransport(here), bytes)
  const [data] = await once(connection, 'message') as [Buffer]
  t.equal(String(data), 'masked')
  t.strictSame(bytes, before)
  there.destroy()
  connection.terminate()
  await connection.closed
})

test('a transport that is already closed or about to be ends the connection with 1006', async t => {
  for (const closed of [false, true]) {
    const [here] = duplexPair()
    here.on('error', () => {})
    here.destroy(new Error('reset'))
    if (closed) await new Promise(resolve => { here.on('close', resolve) })
    const before = timers()
    const connection = new Connection(SETTINGS, OWNER)
    connection.open(memoryTransport(here), text('never read'))
    const events: string[] = []
    connection.on('message', () => { events.push('message') })
    connection.on('close', code => { events.push(`close ${code}`) })
    t.match(await connection.closed, { code: 1006 })
    await turn()
    t.strictSame(events, ['close 1006'])
    t.equal(timers(), before)
  }
})

test('a transport that has ended before reading began: what came is delivered, then 1006', async t => {
  const [here, there] = duplexPair()
  there.resume()
  there.end()
  here.resume()
  await once(here, 'end')
  const events: string[] = []
  const connection = new Connection(SETTINGS, OWNER)
  connection.on('message', data => { events.push(String(data)) })
  connection.on('close', code => { events.push(`close ${code}`) })
  connection.open(memoryTransport(here), text('last words'))
  await connection.closed
  t.strictSame(events, ['last words', 'close 1006'])
})

test('what arrives from inside of a listener has its turn behind the rest of the chunk', async t => {
  const [here, there] = duplexPair()
  const connection = new Connection(SETTINGS, OWNER)
  const received: string[] = []
  connection.on('message', data => {
    received.push(`${data} begins`)
    // in the same turn, as a stream over memory may do it
    if (String(data) === 'a') here.emit('data', Buffer.concat([text('nested'), text('nested too')]))
    received.push(`${data} ends`)
  })
  connection.open(memoryTransport(here), Buffer.alloc(0))
  await turn()
  there.write(Buffer.concat([text('a'), text('b')]))
  while (received.length < 8) await turn()
  t.strictSame(received, ['a', 'b', 'nested', 'nested too'].flatMap(data => [`${data} begins`, `${data} ends`]))
  connection.terminate()
  await connection.closed
})

test('a client masks what it sends, and leaves it to the server to end TCP', async t => {
  const [here, there] = duplexPair()
  const chunks: Buffer[] = []
  there.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  const connection = new Connection({ ...SETTINGS, role: 'client' }, OWNER)
  connection.on('message', data => { connection.send(`answer to ${data}`) })
  connection.open(memoryTransport(here), Buffer.alloc(0))
  there.write(Buffer.concat([serverFrame({ opcode: 0x1, payload: 'question' }), serverFrame({ opcode: 0x8, payload: closePayload(1000) })]))
  await turn()
  await turn()
  const { frames } = readFrames(Buffer.concat(chunks))
  t.strictSame(frames.map(describe), ['text answer to question', 'close 1000'])
  t.ok(frames.every(({ mask }) => mask !== null))
  t.equal(there.readableEnded, false)
  t.equal(connection.readyState, 2)
  there.end()
  t.match(await connection.closed, { code: 1000, reason: '', wasClean: true })
})

test('a client never stops reading because of what it has not sent yet', async t => {
  const [here, there] = duplexPair({ highWaterMark: 1 })
  const connection = new Connection({ ...SETTINGS, role: 'client' }, OWNER)
  const lengths: number[] = []
  connection.on('message', data => {
    lengths.push(data.length)
    connection.send(data)
  })
  connection.open(memoryTransport(here), Buffer.alloc(0))
  for (let i = 0; i < 100; i++) there.write(serverFrame({ opcode: 0x2, payload: Buffer.alloc(500) }))
  while (lengths.length < 100) await turn()
  t.ok(connection.bufferedAmount > 10_000)
  connection.terminate()
  await connection.closed
})

test('a client answers only the last of the pings whose pongs the server does not take', async t => {
  const [here, there] = duplexPair({ highWaterMark: 1 })
  const connection = new Connection({ ...SETTINGS, role: 'client' }, OWNER)
  const seen: string[] = []
  connection.on('ping', data => { seen.push(String(data)) })
  connection.open(memoryTransport(here), Buffer.alloc(0))
  const names = numbered('p', 1000)
  for (const name of names) there.write(serverFrame({ opcode: 0x9, payload: name }))
  while (seen.length < 1000) await turn()
  t.strictSame(seen, names)
  t.ok(connection.bufferedAmount < 2100, `${connection.bufferedAmount} bytes wait`)
  const chunks: Buffer[] = []
  there.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  while (connection.bufferedAmount > 0) await turn()
  await turn()
  const pongs = readFrames(Buffer.concat(chunks)).frames.map(describe)
  t.ok(pongs.length < 300, `${pongs.length} pongs`)
  t.strictSame(pongs.slice(0, 2), ['pong p0', 'pong p1'])
  t.equal(pongs.at(-1), 'pong p999')
  connection.terminate()
  await connection.closed
})

test('terminate() ends a connection whose transport is closed already and whose reader has not taken all', async t => {
  const [here] = duplexPair()
  const connection = new Connection({ ...SETTINGS, closeTimeout: 60_000 }, OWNER)
  const messages = connection.iterator()
  connection.open(memoryTransport(here), text('a'))
  await turn()
  here.destroy()
  while (!here.closed) await turn()
  connection.terminate()
  t.equal(connection.readyState, 2)
  t.match(await connection.closed, { code: 1006 })
  await t.rejects(messages.next(), { code: 'WS_ERR_CONNECTION_CLOSED' })
})

test('what an owner is told when a listener throws is the connection and the error', async t => {
  const [here] = duplexPair()
  const told: unknown[] = []
  const connection = new Connection(SETTINGS, {
    onError (error, failed) { told.push(error, failed) },
    onClose (closed) { told.push('closed', closed) },
    onWarning () {}
  })
  const error = new Error('thrown')
  connection.on('message', () => { throw error })
  connection.open(memoryTransport(here), text('a'))
  await turn()
  connection.handlerFailed(error)
  connection.terminate()
  await connection.closed
  t.equal(told.length, 6)
  t.ok(told[0] === error && told[1] === connection && told[2] === error && told[3] === connection)
  t.ok(told[4] === 'closed' && told[5] === connection)
})

test('the class can be told apart from a socket: _socket gives the real one', async t => {
  const { connection, client } = await startConnection(t, NEVER, () => {})
  t.equal((connection._socket as Socket).remotePort, client.socket.localPort)
})

// Anything, in any order

interface Run {
  received: string[]
  events: string[]
  echoed: string[]
  callbacks: number
  sends: number
  failed: boolean
  timersLeft: number
}

/** One connection over memory, to which a peer sends `count` messages and Close, while chance pauses, ends and breaks things. */
async function runAtRandom (seed: number, count: number): Promise<Run> {
  const next = random(seed)
  const chance = (probability: number): boolean => next() < probability
  const before = timers()
  const run: Run = { received: [], events: [], echoed: [], callbacks: 0, sends: 0, failed: false, timersLeft: 0 }
  const [here, there] = duplexPair({ highWaterMark: integer(next, 1, 2000) })
  // as TCP does it
  here.on('close', () => { there.destroy() })
  there.on('close', () => { here.destroy() })
  const chunks: Buffer[] = []
  there.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  const connection = new Connection({ ...SETTINGS, highWaterMark: integer(next, 1, 2000), closeTimeout: 60_000 }, {
    onError () { if (chance(0.3)) fail(() => { connection.closeFailed() }) },
    onClose () { run.events.push('removed') },
    onWarning () {}
  })
  const fail = (how: () => void): void => {
    run.failed = true
    how()
  }
  const act = (): void => {
    if (chance(0.05)) {
      connection.pause()
      setImmediate(() => { connection.resume() })
    }
    if (chance(0.001)) fail(() => { connection.terminate() })
    if (chance(0.001)) fail(() => { here.destroy() })
    if (chance(0.001)) fail(() => { there.destroy() })
    if (chance(0.002) && connection.listenerCount('message') > 0) connection.close(1000)
    if (chance(0.01)) throw new Error('a listener fails')
  }
  const send = (data: string | Blob): void => {
    run.sends++
    connection.send(data, () => {
      run.callbacks++
      act()
    })
  }
  connection.on('ping', act)
  connection.on('close', () => { run.events.push('close') })
  connection.open(memoryTransport(here), Buffer.alloc(0))
  const listen = (): void => {
    connection.on('message', data => {
      run.received.push(String(data))
      if (run.events.length > 0) run.events.push('message after the end')
      send(chance(0.1) ? new Blob([data]) : String(data))
      act()
    })
  }
  if (chance(0.5)) listen()
  else setImmediate(listen)

  const frames = numbered('m', count).flatMap(data => chance(0.2) ? [text(data), ping(data)] : [text(data)])
  for (const piece of cuts(Buffer.concat([...frames, close(1000)]), next)) {
    if (there.destroyed) break
    if (!there.write(piece)) await turn()
    if (chance(0.1)) await turn()
  }
  there.end()
  there.once('end', () => { there.end() })
  await connection.closed
  for (let i = 0; i < 3; i++) await turn()
  run.echoed = readFrames(Buffer.concat(chunks)).frames.filter(({ opcode }) => opcode < 3).map(({ payload }) => String(payload))
  run.timersLeft = timers() - before
  return run
}

test('whatever happens in whatever order: messages come in order and once, none is lost without a reason, callbacks and close come once', async t => {
  const count = 60
  const sent = numbered('m', count)
  let unharmed = 0
  for (let seed = 1; seed <= 400; seed++) {
    const { received, events, echoed, callbacks, sends, failed, timersLeft } = await runAtRandom(seed, count)
    const problems = [
      received.every((data, i) => data === sent[i]) ? '' : 'messages out of order',
      echoed.every((data, i) => data === received[i]) ? '' : 'echoes out of order',
      failed || received.length === count ? '' : `${received.length} messages`,
      callbacks === sends ? '' : `${callbacks} callbacks of ${sends}`,
      events.join() === 'removed,close' ? '' : events.join(),
      timersLeft <= 0 ? '' : `${timersLeft} timers`
    ].filter(Boolean)
    if (problems.length > 0) t.fail(`seed ${seed}: ${problems.join('; ')}`)
    if (!failed) unharmed++
  }
  t.ok(unharmed > 100 && unharmed < 300, `${unharmed} runs went to the end`)
})

test('close() on a closing or closed connection does nothing, whatever it is given', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  connection.close(1000)
  connection.close(1006)
  client.end(close(1000))
  await connection.closed
  t.doesNotThrow(() => { connection.close(1006, 'x'.repeat(200)) })
})
