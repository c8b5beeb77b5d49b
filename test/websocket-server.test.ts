import { once, type EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { test } from 'tap'
import WebSocket from 'ws'
import type { WebSocketConnection } from '../types/connection.ts'
import { startApp } from './helpers/app.ts'
import { close, deferred, echo, handshake, serve, text, within } from './helpers/http.ts'

test('a connection is among clients from before the handler until its close event', async t => {
  const calls: unknown[] = []
  const over = deferred()
  const { app, site } = await serve(t, app => {
    const { websocketServer } = app
    app.get('/ws', { websocket: true }, connection => {
      calls.push(['handler', websocketServer.clients.has(connection)])
      connection.on('close', code => {
        calls.push(['close', code, websocketServer.clients.has(connection)])
        over.resolve()
      })
    })
    websocketServer.on('connection', connection => { calls.push(['connection', websocketServer.clients.has(connection)]) })
  })
  const { clients } = app.websocketServer
  t.equal(clients.size, 0)
  const peer = await site.open('/ws')
  t.equal(clients.size, 1)
  await peer.write(close(1000)).contents(1)
  await over.promise
  t.strictSame(calls, [['connection', true], ['handler', true], ['close', 1000, false]])
  t.equal(clients.size, 0)
})

test('connection is emitted with the connection and the request of node:http', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection, IncomingMessage]>
  await site.open('/ws?a=1')
  const [connection, request] = await connected
  t.equal(connection.readyState, connection.OPEN)
  t.equal(request.url, '/ws?a=1')
  t.equal(request.headers.upgrade, 'websocket')
})

test('clients reach everyone', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, connection => {
      connection.on('message', data => {
        for (const client of app.websocketServer.clients) client.send(`all: ${data}`)
      })
    })
  })
  const peers = [await site.open('/ws'), await site.open('/ws'), await site.open('/ws')]
  peers[1]!.write(text('Hello'))
  for (const peer of peers) t.strictSame(await peer.contents(1), ['all: Hello'])
})

test('a connection that is dropped is removed from clients', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  for (const how of ['reset', 'end'] as const) {
    const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const peer = await site.open('/ws')
    const [connection] = await connected
    const closed = once(connection, 'close')
    peer[how]()
    t.strictSame((await closed)[0], 1006, how)
    t.equal(app.websocketServer.clients.size, 0, how)
  }
  await within(2000, site.emptied(), 'no connection is left')
})

test('what is refused is never among clients', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  app.websocketServer.on('connection', () => { t.fail('a connection') })
  await site.ask(handshake('/ws', { 'Sec-WebSocket-Version': '8' }))
  await site.ask(handshake('/nowhere'))
  t.equal(app.websocketServer.clients.size, 0)
})

test('a connection listener that throws has the fate of a handler that throws', async t => {
  const lines: Array<{ err: { message: string } }> = []
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') }) },
    { server: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } } })
  app.websocketServer.on('connection', () => { throw new Error('oops') })
  const peer = await site.open('/ws')
  t.strictSame(await peer.contents(1), [1011])
  await peer.write(close(1011)).closed
  await within(2000, site.emptied(), 'no connection is left')
  t.strictSame(lines.map(({ err }) => err.message), ['oops'])
  t.equal(app.websocketServer.clients.size, 0)
})

test('a connection listener may close the connection', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, connection => { connection.send('too late') }) })
  app.websocketServer.on('connection', connection => { connection.close(4000) })
  const peer = await site.open('/ws')
  t.strictSame(await peer.contents(1), [4000])
  await peer.write(close(4000)).closed
  t.equal(peer.received.length, 0)
})

test('an async connection listener that rejects has the fate of a handler that rejects', async t => {
  const errors: unknown[] = []
  const { app, url } = await startApp(t, { errorHandler (error, connection) { errors.push(error); connection.close(1011) } }, app => {
    app.get('/', { websocket: true }, () => {})
  })
  app.websocketServer.on('connection', (async () => { throw new Error('of the listener') }) as () => void)
  const client = new WebSocket(url)
  t.strictSame((await once(client, 'close'))[0], 1011)
  t.match(errors, [{ message: 'of the listener' }])
  const emitter: EventEmitter = app.websocketServer
  emitter.on('other', async () => { throw new Error('of nobody') })
  emitter.emit('other')
})
