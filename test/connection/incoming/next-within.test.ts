// receive({ signal, timeout }): what gives up takes nothing, and leaves nothing behind.
import { getEventListeners } from 'node:events'
import { test } from 'tap'
import { MessageReader } from '../../../lib/connection/incoming/message-reader.ts'
import { nextWithin } from '../../../lib/connection/incoming/next-within.ts'
import type { WebSocketConnection } from '../../../types/connection.ts'
import { gate, startConnection } from '../../helpers/app.ts'
import { text } from '../../helpers/raw-client.ts'

const NEVER = { closeTimeout: 60_000 }
const MESSAGE = { data: Buffer.from('a'), isBinary: false }

function newReader (): MessageReader {
  return new MessageReader({ onWait () {}, onRelease () {} })
}

test('a read that is aborted rejects with the reason of its signal, and waits no longer', async t => {
  const reader = newReader()
  const controller = new AbortController()
  const read = nextWithin(reader, { signal: controller.signal })
  t.equal(reader.isWaiting, true)
  const reason = new Error('enough')
  controller.abort(reason)
  await t.rejects(read, reason)
  t.equal(reader.isWaiting, false)
  t.strictSame(getEventListeners(controller.signal, 'abort'), [])
})

test('a read whose signal is aborted already asks for nothing', async t => {
  const reader = newReader()
  await t.rejects(nextWithin(reader, { signal: AbortSignal.abort() }), { name: 'AbortError' })
  t.equal(reader.hasAsked, false)
})

test('a read that takes too long rejects with a TimeoutError', async t => {
  const reader = newReader()
  await t.rejects(nextWithin(reader, { timeout: 1 }), { name: 'TimeoutError', message: 'no message came within 1 ms' })
  t.equal(reader.isWaiting, false)
})

test('a read that gets its message in the turn in which it is aborted keeps it', async t => {
  const reader = newReader()
  const controller = new AbortController()
  const read = nextWithin(reader, { signal: controller.signal, timeout: 60_000 })
  reader.deliver(MESSAGE)
  controller.abort()
  t.equal(await read, MESSAGE)
  t.strictSame(getEventListeners(controller.signal, 'abort'), [])
})

test('a read ends with null when no message will come, however that is', async t => {
  for (const error of [null, new Error('gone')]) {
    const reader = newReader()
    const { signal } = new AbortController()
    const read = nextWithin(reader, { signal, timeout: 60_000 })
    reader.end(error)
    t.equal(await read, null)
    t.strictSame(getEventListeners(signal, 'abort'), [])
  }
})

test('a timeout that no timer can have is a RangeError', async t => {
  for (const timeout of [-1, NaN, 2 ** 31, '5' as unknown as number]) {
    await t.rejects(nextWithin(newReader(), { timeout }), { name: 'RangeError', message: /from 0 to 2147483647/ }, String(timeout))
  }
  await t.rejects(nextWithin(newReader(), { timeout: 0 }), { name: 'TimeoutError' })
})

test('what comes after a receive() that gave up is for the next one, and nothing is lost', async t => {
  const results = gate<unknown[]>()
  const arrived = gate()
  const { client } = await startConnection(t, NEVER, async connection => {
    const controller = new AbortController()
    const given = [await connection.receive({ timeout: 1 }).catch(error => (error as Error).name)]
    const read = connection.receive({ signal: controller.signal }).catch(error => (error as Error).name)
    connection.send('ready')
    controller.abort()
    given.push(await read)
    await arrived.opened
    for (let i = 0; i < 3; i++) given.push(await connection.receive({ timeout: 60_000 }))
    results.open(given)
  })
  t.strictSame(await client.take(1), ['text ready'])
  client.write(text('a'), text('b'), text('c'))
  await client.roundTrip()
  arrived.open()
  t.strictSame(await results.opened, ['TimeoutError', 'AbortError', 'a', 'b', 'c'])
})

test('a receive() that gave up makes room for other readers', async t => {
  const taken = gate<string>()
  const { client } = await startConnection(t, NEVER, async (connection: WebSocketConnection) => {
    await connection.receive({ timeout: 0 }).catch(() => {})
    connection.send('ready')
    for await (const message of connection) taken.open(String(message))
  })
  t.strictSame(await client.take(1), ['text ready'])
  client.write(text('a'))
  t.equal(await taken.opened, 'a')
})
