// Whether the end of a connection is logged where its request is not.
import { once } from 'node:events'
import Fastify, { LogController, type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import { test, type Test } from 'tap'
import { requestLogging } from '../../lib/fastify/request-logging.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions, WebSocketRouteOptions } from '../../types/options.ts'
import { close, echo, serve } from '../helpers/http.ts'

/** The levels of the lines on the end of one connection. */
async function linesOf (
  t: Test, plugin: WebSocketPluginOptions, server: FastifyServerOptions, { route = true, change = {} }: {
    route?: true | WebSocketRouteOptions, change?: WebSocketRouteOptions
  } = {}
): Promise<Array<{ level: number, msg: string }>> {
  const lines: Array<{ level: number, msg: string }> = []
  const logger = { level: 'trace', stream: { write (line: string) { lines.push(JSON.parse(line)) } } }
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: route }, echo) }, { plugin, server: { ...server, logger } as FastifyServerOptions })
  Object.assign(app.websocketServer.options, change)
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  const peer = await site.open('/ws')
  const [connection] = await connected
  peer.write(close(4001))
  await connection.closed
  return lines.filter(({ msg }) => msg === 'WebSocket closed')
}

class QuietController extends LogController {
  override isLogDisabled ({ url }: FastifyRequest): boolean { return url === '/ws' }
}
/** Fastify 6 leaves it to the logController. */
const byOption: Array<[title: string, server: object]> = [
  ['disableRequestLogging', { disableRequestLogging: true }],
  ['a function for disableRequestLogging', { disableRequestLogging: ({ url }: FastifyRequest) => url === '/ws' }]
]
const quiet: Array<[title: string, server: object]> = [
  ...(Fastify().version.startsWith('5.') ? byOption : []),
  ['a logController', { logController: new LogController({ disableRequestLogging: true }) }],
  ['a logController of its own', { logController: new QuietController() }]
]
for (const [title, server] of quiet) {
  test(`an app that does not log requests by ${title} does not log the end of connections, unless somebody says so`, async t => {
    t.strictSame(await linesOf(t, {}, server), [])
    t.match(await linesOf(t, { closeLogLevel: 'warn' }, server), [{ level: 40 }])
    t.match(await linesOf(t, { closeLogLevel: 'info' }, server), [{ level: 30 }], 'also what is the default')
    t.match(await linesOf(t, { options: { closeLogLevel: 'info' } }, server), [{ level: 30 }])
    t.match(await linesOf(t, {}, server, { route: { closeLogLevel: 'info' } }), [{ level: 30 }])
    t.match(await linesOf(t, {}, server, { change: { closeLogLevel: 'debug' } }), [{ level: 20 }])
  })
}

test('an app that logs some requests logs the end of their connections', async t => {
  const isOther = ({ url }: FastifyRequest) => url !== '/ws'
  for (const server of [{ disableRequestLogging: isOther }, { logController: new LogController({ disableRequestLogging: isOther }) }]) t.match(await linesOf(t, {}, server as FastifyServerOptions), [{ level: 30 }])
})

test('an app of a Fastify without logController is asked for disableRequestLogging', async t => {
  const request = {} as FastifyRequest
  for (const [disableRequestLogging, isDisabled] of [[undefined, false], [false, false], [true, true], [() => true, true], [() => false, false]] as const) {
    const app = { [Symbol('fastify.state')]: { started: true }, initialConfig: { disableRequestLogging } } as unknown as FastifyInstance
    t.equal(requestLogging(Object.create(app) as FastifyInstance)(request), isDisabled)
  }
})
