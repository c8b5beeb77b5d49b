import { hasSubscribers } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import Fastify from 'fastify'
import { test, type Test } from 'tap'
import { afterEarlierAnswers, hasEarlierRequests, watchRequests } from '../../lib/handshake/pipelining.ts'
import websocket, { upgrade } from '../../lib/index.ts'
import { handshake, listen, request, text, within, type Site } from '../helpers/http.ts'

const isWatching = (): boolean => hasSubscribers('http.server.request.start')

// the first test, as upgrade() watches for the rest of the process
test('the servers of a process are watched only while an app has the plugin, or once upgrade() was used', async t => {
  t.equal(isWatching(), false, 'an import is not enough')
  const apps = [Fastify(), Fastify()]
  for (const app of apps) {
    await app.register(websocket)
    await app.register(async scope => { await scope.register(websocket) })
  }
  t.equal(isWatching(), true)
  await apps[0]!.close()
  t.equal(isWatching(), true, 'the other app goes on')
  await apps[1]!.close()
  t.equal(isWatching(), false)
})

test('who ends watching twice ends it for nobody else', async t => {
  const [stop, other] = [watchRequests(), watchRequests()]
  stop()
  stop()
  t.equal(isWatching(), true)
  other()
  t.equal(isWatching(), false)
})

async function serveUpgrades (t: Test, onRequest: (request: IncomingMessage, response: ServerResponse) => void, failures: unknown[] = []): Promise<Site> {
  const server = createServer(onRequest)
  server.on('upgrade', (request, socket, head) => {
    upgrade(request, socket as never, head).then(connection => { connection.send('open') }, error => { failures.push(error) })
  })
  return await listen(t, {
    server,
    listen: async ({ port, host }) => { await once(server.listen(port, host), 'listening'); return '' },
    close: () => server.close()
  })
}

test('the first handshake of upgrade() that is behind a request nobody took notice of ends its connection, the next waits', async t => {
  const failures: Array<{ code: string, message: string }> = []
  const waiting: ServerResponse[] = []
  const site = await serveUpgrades(t, (_request, response) => { waiting.push(response) }, failures)
  const first = await site.connect()
  first.write(request('/slow'), handshake())
  t.equal(await first.rest(), '')
  await within(2000, site.emptied(), 'no connection is left')
  t.match(failures, [{ code: 'WS_ERR_CONNECTION_CLOSED', message: 'another response is using the socket of the handshake' }])

  const second = await site.connect()
  second.write(request('/slow'), handshake())
  while (waiting.length < 2) await new Promise(resolve => { setImmediate(resolve) })
  waiting[1]!.end('at last')
  t.match(await second.answer(), { statusCode: 200, body: 'at last' })
  t.match(await second.answer(), { statusCode: 101 })
  t.strictSame(await second.contents(1), ['open'])
  t.equal(failures.length, 1)
  second.write(text('x')).reset()
})

test('a callback waits for all earlier answers, and comes at once where there are none', async t => {
  const calls: string[] = []
  const responses: ServerResponse[] = []
  const stop = watchRequests()
  t.teardown(stop)
  const server = createServer((_request, response) => {
    responses.push(response)
    if (responses.length < 2) return
    const { socket } = responses[0]!
    t.equal(hasEarlierRequests(socket!), true)
    afterEarlierAnswers(socket!, () => {
      calls.push('callback')
      t.equal(hasEarlierRequests(socket!), false)
      afterEarlierAnswers(socket!, () => { calls.push('at once') })
      calls.push('end')
    })
    responses[1]!.end('2')
    setImmediate(() => {
      t.strictSame(calls, [])
      responses[0]!.end('1')
    })
  })
  const site = await listen(t, {
    server,
    listen: async ({ port, host }) => { await once(server.listen(port, host), 'listening'); return '' },
    close: () => server.close()
  })
  const peer = await site.connect()
  peer.write(request('/1'), request('/2'))
  for (const body of ['1', '2']) t.match(await peer.answer(), { body })
  await peer.end().closed
  await within(2000, site.emptied(), 'no connection is left')
  t.strictSame(calls, ['callback', 'at once', 'end'])
})
