// What stays in memory of the request that an open connection came from.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyReply, FastifyRequest, FastifySchema } from 'fastify'
import { test, type Test } from 'tap'
import { HandlerContext } from '../../lib/fastify/handler-context.ts'
import { Seats } from '../../lib/fastify/seats.ts'
import { WebSocketServer } from '../../lib/fastify/websocket-server.ts'
import { pluginSettings } from '../../lib/options/settings.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketRouteOptions } from '../../types/options.ts'
import type { WebSocketHandler } from '../../types/fastify.ts'
import { close, echo, serve, text } from '../helpers/http.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const EVERYTHING = ['request', 'reply', 'raw request', 'raw reply']

/** What is still in memory of the request of a connection that has echoed a message and is open. */
async function keptBy (t: Test, handler: WebSocketHandler, options: WebSocketRouteOptions = {}, schema: FastifySchema = {}): Promise<string[]> {
  const refs: Array<WeakRef<object>> = []
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: options, schema, preHandler: async (request, reply) => { refs.push(...refsOf(request, reply)) } }, handler as never)
  }, { server: { logger: { level: 'trace', stream: { write () {} } } } })
  const peer = await site.open('/ws')
  t.strictSame(await peer.write(text('5')).contents(1), ['5'])
  const [connection] = [...app.websocketServer.clients] as [WebSocketConnection]
  for (let i = 0; i < 3; i++) {
    await new Promise(resolve => { setImmediate(resolve) }) // a WeakRef holds on until the end of the turn
    collectGarbage()
  }
  const kept = EVERYTHING.filter((_name, index) => refs[index]!.deref() !== undefined)
  t.equal(connection.readyState, connection.OPEN)
  t.strictSame(await peer.write(close(1000)).contents(1), [1000])
  await connection.closed
  return kept
}

function refsOf (request: FastifyRequest, reply: FastifyReply): Array<WeakRef<object>> {
  return [request, reply, request.raw, reply.raw].map(object => new WeakRef(object))
}

test('nothing of its request stays in memory for an open connection', async t => {
  t.strictSame(await keptBy(t, echo), [], 'a handler with listeners')
  t.strictSame(await keptBy(t, async connection => { for await (const message of connection) connection.send(message) }), [], 'an async handler')
  t.strictSame(await keptBy(t, async function * (connection) { yield * connection }), [], 'a generator')
})

test('a request stays in memory for a handler that uses it later', async t => {
  const handler: WebSocketHandler = (connection, request) => {
    connection.on('message', data => { connection.send(data) })
    connection.on('close', () => { request.log.info('over') })
  }
  t.ok((await keptBy(t, handler)).includes('request'))
})

test('a request and its reply stay in memory for an errorHandler', async t => {
  t.strictSame(await keptBy(t, echo, { errorHandler: () => {} }), EVERYTHING)
})

test('a request stays in memory for an onInvalidMessage where a schema says what is received, and only there', async t => {
  const onInvalidMessage = (): void => {}
  const typed: WebSocketHandler = connection => { connection.on('message', message => { connection.send(message) }) }
  t.ok((await keptBy(t, typed, { onInvalidMessage }, { receive: {} })).includes('request'))
  t.strictSame(await keptBy(t, echo, { onInvalidMessage }), [])
  t.strictSame(await keptBy(t, typed, {}, { receive: {} }), [])
})

test('who observes a connection gets its request if he did when it was accepted', async t => {
  const seen: Array<string | undefined> = []
  const channel = 'fastify-websocket-stream:close'
  const onMessage = (message: unknown): void => { seen.push((message as { request?: FastifyRequest }).request?.url) }
  t.teardown(() => { unsubscribe(channel, onMessage) })
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const open = async (path: string): Promise<() => Promise<void>> => {
    const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const peer = await site.open(path)
    const [connection] = await connected
    return async () => {
      peer.write(close(1000))
      await connection.closed
    }
  }
  const closeFirst = await open('/ws?first')
  subscribe(channel, onMessage)
  const closeSecond = await open('/ws?second')
  await closeFirst()
  await closeSecond()
  t.strictSame(seen, [undefined, '/ws?second'])
})

test('a seat is given back once, however often it is left', async t => {
  const seats = new Seats()
  const server = new WebSocketServer(pluginSettings({}), { observers: [] } as never, null as never)
  const contexts = [1, 2].map(() => new HandlerContext({ request: { raw: {} } } as never, { closeLogLevel: 'silent' }, server, seats.take()))
  t.equal(seats.taken, 2)
  contexts[0]!.leave()
  contexts[0]!.leave()
  contexts[0]!.onClose({ stats: () => ({}), info: {} } as never, { code: 1006, reason: '', wasClean: false } as never)
  t.equal(seats.taken, 1, 'the other still sits')
})
