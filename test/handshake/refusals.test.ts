import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { test } from 'tap'
import { publishRefusal, PUBLISHER, type Refusal } from '../../lib/handshake/refusals.ts'

test('a refusal without Fastify says the address of the socket, and no route', t => {
  const seen: unknown[] = []
  const onMessage = (message: unknown): void => { seen.push(message) }
  const refusal = {
    request: { httpVersion: '1.1', socket: { remoteAddress: '10.0.0.1' } }, response: { statusCode: 403 }, refusalCode: 'FST_WS_ORIGIN', asker: null
  } as Refusal
  publishRefusal(refusal) // nobody listens
  subscribe('fastify-websocket-stream:refused', onMessage)
  t.teardown(() => { unsubscribe('fastify-websocket-stream:refused', onMessage) })
  PUBLISHER.onRefused(refusal)
  publishRefusal({ ...refusal, asker: { ip: undefined, routeOptions: { url: '/a' } } })
  t.strictSame(seen, [
    { info: { route: '', ip: '10.0.0.1', httpVersion: '1.1' }, code: 'FST_WS_ORIGIN', statusCode: 403 },
    { info: { route: '/a', ip: undefined, httpVersion: '1.1' }, code: 'FST_WS_ORIGIN', statusCode: 403 }
  ])
  t.end()
})
