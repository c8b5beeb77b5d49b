// What breaks the protocol, and handlers that fail.
import { test } from 'tap'
import { aborted, gate, startConnection, turn } from '../helpers/app.ts'
import { closing, echo, NEVER } from '../helpers/endings.ts'
import { clientFrame, closePayload, serverFrame } from '../helpers/frames.ts'
import { close, openRawClient, text } from '../helpers/raw-client.ts'

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
