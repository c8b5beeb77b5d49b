import { once } from 'node:events'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { test } from 'tap'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import { StandaloneOwner } from '../../lib/standalone/standalone-owner.ts'
import type { StandaloneErrorHandler } from '../../types/options.ts'
import { OWNER, SETTINGS } from '../helpers/memory.ts'

function setUp (errorHandler?: StandaloneErrorHandler, request: unknown = null) {
  const calls: string[] = []
  const connection = new Connection(SETTINGS, OWNER)
  coreOf(connection).closeFailed = () => { calls.push('closed as failed') }
  return { calls, connection, owner: new StandaloneOwner(request, errorHandler, () => { calls.push('left') }) }
}

const nextWarning = async (): Promise<{ name: string, message: string }> => {
  const [warning] = await once(process, 'warning') as [Error]
  return { name: warning.name, message: warning.message }
}

const UNPRINTABLE = { toString () { throw new Error('no') } }
const THROWN: Array<[thrown: unknown, shown: RegExp]> = [
  [new Error('boom'), /^a WebSocket listener or callback failed: Error: boom\n +at /],
  ['boom', /: boom$/],
  [undefined, /: undefined$/],
  [UNPRINTABLE, /: object$/],
  [Symbol('boom'), /: Symbol\(boom\)$/]
]
for (const [thrown, shown] of THROWN) {
  test(`without an errorHandler, ${thrown === UNPRINTABLE ? 'what cannot be printed' : String(thrown)} is a warning, and the connection fails`, async t => {
    const { calls, connection, owner } = setUp()
    const warning = nextWarning()
    owner.onError(thrown, connection)
    t.strictSame(calls, ['closed as failed'])
    t.match(await warning, { name: 'WebSocketWarning', message: shown })
  })
}

test('an errorHandler gets the error and the connection, and decides', async t => {
  const given: unknown[] = []
  for (const result of [undefined, Promise.resolve()]) {
    const { calls, connection, owner } = setUp((...args) => {
      given.push(...args)
      return result
    })
    owner.onError('boom', connection)
    await result
    t.strictSame(calls, [])
    t.strictSame([given.splice(0), given.length], [['boom', connection], 0])
  }
})

test('what an errorHandler throws or rejects with is a warning, and the connection fails', async t => {
  const handlers: StandaloneErrorHandler[] = [() => { throw new Error('worse') }, async () => { throw new Error('worse') }]
  for (const handler of handlers) {
    const { calls, connection, owner } = setUp(handler)
    const warning = nextWarning()
    owner.onError('boom', connection)
    t.match(await warning, { message: /: Error: worse/ })
    t.strictSame(calls, ['closed as failed'])
  }
})

test('what whoever wrote the program should know of is a warning, and the end of a connection is told to who made it', async t => {
  const { calls, owner } = setUp()
  const warning = nextWarning()
  owner.onWarning('nobody listens')
  t.strictSame(await warning, { name: 'WebSocketWarning', message: 'nobody listens' })
  owner.onClose({} as never, { code: 1000 } as never)
  t.strictSame(calls, ['left'])
})

test('the request stays in memory for those alone who observe connections', async t => {
  const request = {}
  t.equal(setUp(undefined, request).owner.request, undefined)
  const listener = (): void => {}
  subscribe('fastify-websocket-stream:open', listener)
  t.teardown(() => { unsubscribe('fastify-websocket-stream:open', listener) })
  t.equal(setUp(undefined, request).owner.request, request)
})
