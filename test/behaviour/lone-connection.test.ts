// A connection by itself, over memory and in the client role.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { test } from 'tap'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import { startConnection, turn } from '../helpers/app.ts'
import { NEVER } from '../helpers/endings.ts'
import { closePayload, readFrames, serverFrame } from '../helpers/frames.ts'
import { memoryTransport, OWNER, SETTINGS } from '../helpers/memory.ts'
import { describe, numbered, text } from '../helpers/raw-client.ts'

/** The timers that keep the process alive. */
function timers (): number {
  return process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
}

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
  coreOf(connection).handlerSettled()
  coreOf(connection).closeFailed()
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
  coreOf(connection).open(memoryTransport(here), text('first'))
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
  coreOf(connection).open(memoryTransport(here), bytes)
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
    coreOf(connection).open(memoryTransport(here), text('never read'))
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
  coreOf(connection).open(memoryTransport(here), text('last words'))
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
  coreOf(connection).open(memoryTransport(here), Buffer.alloc(0))
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
  coreOf(connection).open(memoryTransport(here), Buffer.alloc(0))
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
  coreOf(connection).open(memoryTransport(here), Buffer.alloc(0))
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
  coreOf(connection).open(memoryTransport(here), Buffer.alloc(0))
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
  coreOf(connection).open(memoryTransport(here), text('a'))
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
  coreOf(connection).open(memoryTransport(here), text('a'))
  await turn()
  coreOf(connection).handlerFailed(error)
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
