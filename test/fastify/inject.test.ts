// injectWS(): what it does beside the contract of all doors.
import { readdirSync } from 'node:fs'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { test, type Test } from 'tap'
import websocket from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { deferred, echo, within } from '../helpers/http.ts'
import { integer, random } from '../helpers/random.ts'

for (const [name, options] of [['HTTP/1.1', {}], ['HTTP/2', { http2: true }]] as Array<[string, FastifyServerOptions]>) {
  const it = (title: string, run: (t: Test) => Promise<unknown>): void => { test(`${name}: ${title}`, run) }

  async function makeApp (declare: (app: FastifyInstance) => unknown): Promise<FastifyInstance> {
    const app = Fastify(options)
    app.register(websocket)
    app.register(async scope => { await declare(scope) })
    return app
  }

  it('it works before ready(), without listening, and at / by default', async t => {
    const app = await makeApp(scope => { scope.get('/', { websocket: true }, echo) })
    await app.after()
    const client = await app.injectWS()
    client.send('hello')
    t.equal(await client.receive(), 'hello')
    t.equal(app.server.listening, false)
    await within(2000, (async () => { await app.close() })(), 'the end of the app')
    t.match(await client.closed, { code: 1001 })
  })

  it('both sides send a lot at the same time, as the event loop turns', async t => {
    const app = await makeApp(scope => { scope.get('/', { websocket: true }, echo) })
    const client = await app.injectWS()
    const next = random(17)
    const wrong: unknown[] = []
    let sent = 0
    let received = 0
    const sizes: number[] = []
    const all = deferred()
    client.on('message', data => {
      if (data.length !== sizes[received]) wrong.push({ received, length: data.length })
      if (++received === 2000) all.resolve()
    })
    while (sent < 2000) {
      for (let i = 0; i < 20; i++, sent++) {
        sizes.push(integer(next, 0, 20_000))
        client.send(Buffer.alloc(sizes[sent]!))
      }
      client.ping('p')
      await client.drained()
      await new Promise(resolve => { setImmediate(resolve) })
    }
    await all.promise
    t.strictSame(wrong, [])
    await app.close()
  })

  it('onInit gets the connection before it is open, and onOpen when it is', async t => {
    const app = await makeApp(scope => { scope.get('/', { websocket: true }, connection => { connection.send('at once') }) })
    await app.after()
    const calls: unknown[] = []
    let initialised: WebSocketConnection | undefined
    const received = new Promise(resolve => {
      void app.injectWS('/', {}, {
        onInit (connection) {
          initialised = connection
          calls.push(['onInit', connection.readyState])
          connection.on('open', () => { calls.push(['open', connection.readyState]) })
          connection.on('message', data => { resolve(String(data)) })
        },
        onOpen (connection) { calls.push(['onOpen', connection.readyState, connection === initialised]) }
      })
    })
    t.equal(await received, 'at once')
    t.strictSame(calls.filter(([name]: any) => name !== 'open'), [['onInit', 0], ['onOpen', 1, true]])
    t.ok(calls.some(([name, state]: any) => name === 'open' && state === 1))
    await app.close()
  })

  it('an onInit connection that is refused gets the error, and closes', async t => {
    const app = await makeApp(() => {})
    await app.after()
    const events: unknown[] = []
    let connection: WebSocketConnection | undefined
    await t.rejects(app.injectWS('/nowhere', {}, {
      onInit (given) {
        connection = given
        given.on('error', error => { events.push(error.message) })
        given.on('close', code => { events.push(code) })
      }
    }), { message: 'Unexpected server response: 404', statusCode: 404 })
    await connection!.closed
    t.strictSame(events, ['Unexpected server response: 404', 1006])
    await app.close()
  })

  it('an onInit connection that is closed at once is never open', async t => {
    const app = await makeApp(scope => { scope.get('/', { websocket: true }, echo) })
    await app.after()
    await t.rejects(app.injectWS('/', {}, { onInit (connection) { connection.terminate() } }), { code: 'WS_ERR_CONNECTION_CLOSED' })
    await within(2000, (async () => { await app.close() })(), 'the end of the app')
  })

  it('header fields, a subprotocol field among them, and options of the client', async t => {
    const app = await makeApp(scope => {
      scope.get('/', { websocket: true }, (connection, request) => { connection.send(`${connection.protocol} ${request.headers['api-key']} ${request.host}`) })
      scope.get('/large', { websocket: true }, connection => { connection.send('x'.repeat(100)) })
    })
    await app.after()
    const client = await app.injectWS('/', { headers: { 'api-key': 'key', 'Sec-WebSocket-Protocol': 'a, b', host: 'example.com' } })
    t.equal(await client.receive(), 'a key example.com')
    const same = await app.injectWS('/', { headers: { Host: 'example.org', 'Api-Key': 'K', 'keep-alive': '5' } })
    t.equal(await same.receive(), ' K example.org', 'names in any case')
    await t.rejects(app.injectWS('/', { headers: { ':path': '/large' } }), { code: 'ERR_INVALID_HTTP_TOKEN' })
    const other = await app.injectWS('/large', { maxPayload: 10 })
    t.equal(await other.receive(), null)
    t.match(await other.closed, { code: 1006 })
    await app.close()
  })

  it('what a client has not read does not hold up the end of the app', async t => {
    const app = await makeApp(scope => { scope.get('/', { websocket: true }, connection => { connection.send('unread') }) })
    await app.after()
    const client = await app.injectWS()
    await within(2000, (async () => { await app.close() })(), 'the end of the app')
    t.match(await client.closed, { code: 1001, wasClean: true })
  })

  it('a thousand of them leave nothing behind', async t => {
    const app = await makeApp(scope => { scope.get('/', { websocket: true }, echo) })
    await app.after()
    await app.injectWS()
    const before = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
    for (let i = 0; i < 1000; i++) {
      const client = await app.injectWS()
      client.close()
      await client.closed
    }
    t.equal(process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0, before)
    await within(2000, (async () => { await app.close() })(), 'the end of the app')
    t.equal(app.websocketServer.clients.size, 0)
  })

  it('a handler that closes the app at once, and an onInit or onOpen that throws, hold up nothing', async t => {
    const app = await makeApp(scope => {
      scope.get('/', { websocket: true }, connection => { connection.send('unread') })
      scope.get('/close', { websocket: true }, connection => {
        connection.send('unread')
        void scope.close()
      })
    })
    await app.after()
    const fail = (): void => { throw new Error('oops') }
    await t.rejects(app.injectWS('/', {}, { onInit: fail }), { message: 'oops' })
    await t.rejects(app.injectWS('/', {}, { onOpen: fail }), { message: 'oops' })
    await t.rejects(app.injectWS('/', { signal: AbortSignal.abort() }), { name: 'AbortError' })
    await t.rejects(app.injectWS('/', { headers: { 'a b': 'x' } }), { code: 'ERR_INVALID_HTTP_TOKEN' })
    const client = await app.injectWS('/close')
    t.match(await within(2000, client.closed, 'the end'), { code: 1001 })
    await within(2000, (async () => { await app.close() })(), 'the end of the app')
  })

  it('the address of the client can be given, and what else a request may have is ignored', async t => {
    const app = await makeApp(scope => { scope.get('/', { websocket: true }, (connection, request) => { connection.send(request.ip) }) })
    await app.after()
    t.equal(await (await app.injectWS('/', { socket: { remoteAddress: '1.2.3.4' } })).receive(), '1.2.3.4')
    t.equal(await (await app.injectWS('/', { query: {}, ip: 'x' } as object)).receive(), '127.0.0.1')
    await app.close()
  })
}
