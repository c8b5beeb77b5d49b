// The Close frame, a FIN and a reset keep their place behind the messages before them.
import { once } from 'node:events'
import { test } from 'tap'
import type { WebSocketConnection } from '../../types/connection.ts'
import { gate, startConnection, turn } from '../helpers/app.ts'
import { closing, echo, NEVER } from '../helpers/endings.ts'
import { clientFrame } from '../helpers/frames.ts'
import { binary, close, describe, numbered, ping, text, type RawClient } from '../helpers/raw-client.ts'

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
