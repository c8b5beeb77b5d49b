// What is wired in the core and no other test of a part sees: who tells whom. How messages go: connection.test.ts and behaviour/.
import { channel } from 'node:diagnostics_channel'
import { Duplex } from 'node:stream'
import { test } from 'tap'
import { Connection, coreIn, coreOf } from '../../lib/connection/connection.ts'
import { noTraffic } from '../../lib/connection/observability.ts'
import { ConnectionClosedError } from '../../lib/errors.ts'
import { memoryTransport, OWNER, SETTINGS } from '../helpers/memory.ts'

const open = (settings: Partial<typeof SETTINGS> = {}) => {
  const stream = new Duplex({ read () {}, write (_chunk, _encoding, callback) { callback() } })
  const connection = new Connection({ ...SETTINGS, ...settings }, OWNER)
  coreOf(connection).open(memoryTransport(stream), Buffer.alloc(0))
  return { stream, connection, core: coreOf(connection) }
}

test('an application may set any property on its connection, of whatever name, and nothing inside is reached by it', async t => {
  const { stream, connection, core } = open()
  const names = new Set<string>()
  for (let object: object = core; object !== Object.prototype; object = Object.getPrototypeOf(object)) {
    for (const name of Object.getOwnPropertyNames(object)) names.add(name)
  }
  const ofPublic = new Set<string>()
  for (let object: object = connection; object !== Object.prototype; object = Object.getPrototypeOf(object)) {
    for (const name of Object.getOwnPropertyNames(object)) ofPublic.add(name)
  }
  const own = [...names].filter(name => !ofPublic.has(name))
  t.ok(own.includes('subscriptions'), 'which many applications keep there')
  t.ok(own.length > 40)
  for (const name of own) (connection as unknown as Record<string, unknown>)[name] = 'the application\'s'
  const received: string[] = []
  connection.on('message', data => { received.push(String(data)) })
  connection.send('a')
  await connection.drained()
  stream.push(Buffer.from([0x81, 0x80, 0, 0, 0, 0]))
  stream.push(Buffer.from([0x88, 0x80, 0, 0, 0, 0]))
  stream.push(null)
  t.match(await connection.closed, { code: 1005, wasClean: true })
  t.strictSame(received, [''])
  for (const name of own) t.equal((connection as unknown as Record<string, unknown>)[name], 'the application\'s', name)
})

test('what is no connection has nothing behind it', t => {
  const { connection, core } = open()
  t.equal(coreIn(connection), core)
  for (const other of [undefined, null, 1, {}, Object.create(connection)]) t.equal(coreIn(other), null)
  connection.terminate()
  t.end()
})

test('what went through is added up with what waits', async t => {
  const { stream, connection, core } = open()
  connection.pause()
  stream.push(Buffer.from([0x81, 0x81, 0, 0, 0, 0, 97]))
  await new Promise(resolve => { setImmediate(resolve) })
  connection.send('bc')
  t.match(core.addTo({ ...noTraffic(), messagesSent: 10 }), { messagesReceived: 1, messagesSent: 11, bytesReceived: 7, unsent: 4 })
  t.ok(core.held > 0)
  connection.terminate()
  await connection.closed
})

test('a new connection makes a stream flow that was paused, and pauses one whose peer has too much to read already', async t => {
  const stream = new Duplex({ read () {}, write () {} }) // which takes nothing
  stream.pause()
  const connection = new Connection(SETTINGS, OWNER)
  coreOf(connection).open(memoryTransport(stream), Buffer.alloc(0))
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(stream.isPaused(), false)
  connection.terminate()
  await connection.closed

  const flooded = new Duplex({ read () {}, write () {} })
  const flooding = new Connection(SETTINGS, OWNER)
  coreOf(flooding).open(memoryTransport(flooded), Buffer.alloc(0))
  for (let i = 0; i < 4; i++) flooding.send(Buffer.alloc(SETTINGS.highWaterMark))
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(flooded.isPaused(), true)
  flooding.terminate()
  await flooding.closed
})

test('an error that says no more than that the connection has ended is told from a failure, once it has', async t => {
  const { connection, core } = open()
  const aborted = new DOMException('aborted', 'AbortError')
  const errors = [new ConnectionClosedError('x'), new Error('x', { cause: new ConnectionClosedError('y') }), aborted]
  for (const error of errors) t.equal(core.isDisconnect(error), false)
  connection.terminate()
  for (const error of errors) t.equal(core.isDisconnect(error), true)
  for (const error of [new Error('x'), 'x', null]) t.equal(core.isDisconnect(error), false)
  await connection.closed
})

test('a peer that is given up is told of by a channel at once, and to listeners later', async t => {
  const told: string[] = []
  const onSlow = (): void => { told.push('channel') }
  channel('fastify-websocket-stream:slow').subscribe(onSlow)
  t.teardown(() => { channel('fastify-websocket-stream:slow').unsubscribe(onSlow) })
  const { stream, connection, core } = open()
  connection.on('slow', () => { told.push('listener') })
  core.giveUpSlowPeer()
  t.strictSame(told, ['channel'])
  stream.push(null)
  t.match(await connection.closed, { code: 1006, cause: 'slow', sent: { code: 1013 } })
  t.strictSame(told, ['channel', 'listener'])
})
