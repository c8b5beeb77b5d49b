// What a WebSocket route does, whichever way a client comes in. Each door runs all of it.
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import jwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import session from '@fastify/session'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { test, type Test } from 'tap'
import websocket, { HandshakeError } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import { deferred, echo, within } from '../helpers/http.ts'

export interface ClientOptions {
  headers?: Record<string, string>
  protocols?: string[]
  /** Of the client's side of the connection. */
  maxPayload?: number
}

/** A way into an app. */
export interface Door {
  name: string
  /** What Fastify needs for it. */
  server: FastifyServerOptions
  /** How a page says that it is of the same origin. */
  origin: string
  /** Makes the app ready for clients, until the test is over. */
  prepare (t: Test, app: FastifyInstance): Promise<unknown>
  /** Opens a WebSocket; rejects as connect() does. */
  open (app: FastifyInstance, path: string, options?: ClientOptions): Promise<WebSocketConnection>
}

declare module 'fastify' {
  interface Session { visits?: number }
}

export function contract (door: Door): void {
  const it = (title: string, run: (t: Test) => Promise<unknown>): void => { test(`${door.name}: ${title}`, run) }

  async function serve (
    t: Test, declare: (app: FastifyInstance) => unknown, plugin: WebSocketPluginOptions = {}, server: FastifyServerOptions = {}
  ): Promise<{ app: FastifyInstance, open: (path?: string, options?: ClientOptions) => Promise<WebSocketConnection> }> {
    const app = Fastify({ ...door.server, ...server } as FastifyServerOptions)
    await app.register(websocket, { shutdownTimeout: 500, ...plugin })
    await declare(app)
    await door.prepare(t, app)
    return {
      app,
      open: async (path = '/', options = {}) => {
        const connection = await door.open(app, path, options)
        t.teardown(() => { connection.terminate() })
        return connection
      }
    }
  }

  const refusal = async (opening: Promise<unknown>): Promise<HandshakeError> => {
    try {
      await opening
    } catch (error) {
      if (error instanceof HandshakeError) return error
      throw error
    }
    throw new Error('the handshake was accepted')
  }

  /** Of the head of the 101: what `connect` does not show a hook may. */
  const message = async (connection: WebSocketConnection): Promise<string> => String(await connection.receive())

  it('an echo of text and binary of every size of length field', async t => {
    const { open } = await serve(t, app => { app.get('/', { websocket: true }, echo) })
    const client = await open()
    for (const length of [0, 1, 125, 126, 65_535, 65_536, 1_000_000]) {
      client.send('x'.repeat(length))
      t.equal(await client.receive(), 'x'.repeat(length), `text of ${length}`)
      client.send(Buffer.alloc(length, 7))
      t.ok((await client.receive() as Buffer).equals(Buffer.alloc(length, 7)), `binary of ${length}`)
    }
  })

  it('messages in both directions at once arrive all and in order', async t => {
    const { open } = await serve(t, app => {
      app.get('/', { websocket: true }, async connection => {
        for await (const data of connection) if (!connection.send(data)) await connection.drained()
      })
    })
    const client = await open()
    const sent = Array.from({ length: 2000 }, (_, i) => `${i} ${'x'.repeat(i)}`)
    const sending = (async () => { for (const data of sent) if (!client.send(data)) await client.drained() })()
    const received: unknown[] = []
    while (received.length < sent.length) received.push(await client.receive())
    await sending
    t.strictSame(received, sent)
  })

  it('whose connection it was can be asked for when it is closed', async t => {
    const asked = deferred<string[]>()
    const { open } = await serve(t, app => {
      app.get('/', { websocket: true }, (connection, request) => {
        connection.on('close', () => { asked.resolve([request.ip, request.protocol, request.url]) })
        connection.send('open')
      })
    })
    const client = await open()
    await message(client)
    client.terminate()
    const [ip, protocol, url] = await asked.promise
    t.equal(ip, '127.0.0.1')
    t.match(protocol, /^https?$/)
    t.equal(url, '/')
  })

  it('all hooks run for a handshake, in the order of Fastify and once', async t => {
    const calls: string[] = []
    const { open } = await serve(t, app => {
      for (const name of ['onRequest', 'preParsing', 'preValidation', 'preHandler', 'onSend', 'onResponse'] as const) {
        app.addHook(name as 'onRequest', async () => { calls.push(name) })
      }
      app.get('/', { websocket: true }, connection => {
        calls.push('handler')
        connection.send('open')
      })
    })
    t.equal(await message(await open()), 'open')
    t.strictSame(calls.filter(call => call !== 'onResponse'), ['onRequest', 'preParsing', 'preValidation', 'preHandler', 'onSend', 'handler'])
    t.strictSame(calls.filter(call => call === 'onResponse').length, 1)
  })

  it('params, query and headers are validated and typed by the schema', async t => {
    const schema = {
      params: { type: 'object', properties: { id: { type: 'integer' } } },
      querystring: { type: 'object', required: ['q'], properties: { q: { type: 'string' } } }
    }
    const { open } = await serve(t, app => {
      app.get('/room/:id', { websocket: true, schema }, (connection, request) => { connection.send(JSON.stringify([request.params, request.query])) })
    })
    t.strictSame(JSON.parse(await message(await open('/room/5?q=a'))), [{ id: 5 }, { q: 'a' }])
    t.match(await refusal(open('/room/x?q=a')), { statusCode: 400 })
    t.match(await refusal(open('/room/5')), { statusCode: 400, body: /must have required property 'q'/ })
  })

  it('a hook refuses, with status, header fields and body', async t => {
    const { open } = await serve(t, app => {
      app.get('/', {
        websocket: true, preHandler: async (_request, reply) => reply.code(401).header('www-authenticate', 'Basic').send('who are you?')
      }, () => { t.fail('the handler ran') })
    })
    const error = await refusal(open())
    t.match(error, { message: 'Unexpected server response: 401', statusCode: 401, body: 'who are you?' })
    t.match(error.headers, { 'www-authenticate': 'Basic' })
  })

  it('an onSend hook may veto, and may add to the 101', async t => {
    const { open } = await serve(t, app => {
      app.get('/veto', { websocket: true, onSend: async (_request, reply) => { reply.code(403) } }, () => { t.fail('the handler ran') })
      app.get('/throw', { websocket: true, onSend: async () => { throw new Error('no') } }, () => { t.fail('the handler ran') })
      app.get('/add', { websocket: true, onSend: async (_request, reply) => { reply.header('x-added', 'yes') } }, echo)
    })
    t.match(await refusal(open('/veto')), { statusCode: 403 })
    t.match(await refusal(open('/throw')), { statusCode: 500 })
    await open('/add')
  })

  it('the error handler of the app shapes refusals; unknown paths and routes of HTTP alone give its 404', async t => {
    const { open } = await serve(t, app => {
      app.setErrorHandler((error: FastifyError, _request, reply) => { reply.code(error.statusCode ?? 500).send(`shaped ${error.code}`) })
      app.setNotFoundHandler((request, reply) => { reply.code(404).send(`nothing at ${request.url}`) })
      app.get('/full', { websocket: { maxConnections: 0 } }, echo)
      app.get('/http', async () => 'http')
    })
    t.match(await refusal(open('/full')), { statusCode: 503, body: 'shaped FST_WS_TOO_MANY_CONNECTIONS' })
    t.match(await refusal(open('/nowhere')), { statusCode: 404, body: 'nothing at /nowhere' })
    t.match(await refusal(open('/http')), { statusCode: 404, body: 'nothing at /http' })
  })

  it('pages of the same origin are let in, others are not', async t => {
    const { open } = await serve(t, app => { app.get('/', { websocket: true }, echo) })
    await open('/', { headers: { origin: door.origin } })
    t.match(await refusal(open('/', { headers: { origin: 'https://evil.example' } })), { statusCode: 403, body: /FST_WS_ORIGIN/ })
  })

  it('subprotocols are negotiated, by the first offered or by handleProtocols', async t => {
    const { open } = await serve(t, app => {
      app.get('/', { websocket: true }, connection => { connection.send(connection.protocol) })
      app.get('/own', { websocket: { handleProtocols: offered => offered.has('b') ? 'b' : false } }, connection => { connection.send(connection.protocol) })
    })
    for (const [path, protocols, expected] of [['/', ['a', 'b'], 'a'], ['/own', ['a', 'b'], 'b'], ['/own', ['a'], ''], ['/', [], '']] as Array<[string, string[], string]>) {
      const client = await open(path, { protocols })
      t.equal(client.protocol, expected)
      t.equal(await message(client), expected)
    }
  })

  it('messages that come before an async handler listens are kept', async t => {
    const ready = deferred()
    const { open } = await serve(t, app => {
      app.get('/', { websocket: true }, async connection => {
        await ready.promise
        echo(connection)
      })
    })
    const client = await open()
    for (let i = 0; i < 100; i++) client.send(`m${i}`)
    ready.resolve()
    for (let i = 0; i < 100; i++) t.equal(await client.receive(), `m${i}`)
  })

  it('what a handler sends at once is not lost to a client that listens later', async t => {
    const { open } = await serve(t, app => {
      app.get('/', { websocket: true }, async function * () { for (let i = 0; i < 100; i++) yield `m${i}` })
    })
    const client = await open()
    await new Promise(resolve => { setImmediate(resolve) })
    const received: unknown[] = []
    for await (const data of client) received.push(data)
    t.strictSame(received, Array.from({ length: 100 }, (_, i) => `m${i}`))
    t.match(await client.closed, { code: 1000, wasClean: true })
  })

  it('both sides close, with code and reason', async t => {
    const closes: unknown[] = []
    const over = deferred()
    const { open } = await serve(t, app => {
      app.get('/', { websocket: true }, connection => {
        connection.on('message', () => { connection.close(4001, 'by the server') })
        connection.on('close', (code, reason) => { if (closes.push([code, String(reason)]) === 2) over.resolve() })
      })
    })
    const first = await open()
    first.send('close')
    t.match(await first.closed, { code: 4001, reason: 'by the server', wasClean: true })
    const second = await open()
    second.close(4002, 'by the client')
    t.match(await second.closed, { code: 4002, reason: 'by the client', wasClean: true })
    await over.promise
    t.strictSame(closes, [[4001, 'by the server'], [4002, 'by the client']])
  })

  it('a client that drops the connection is noticed, and so is a server', async t => {
    const { app, open } = await serve(t, app => { app.get('/', { websocket: true }, echo) })
    const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const client = await open()
    const [connection] = await connected
    client.terminate()
    t.match(await within(2000, connection.closed, 'the end'), { code: 1006, wasClean: false })
    const again = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const other = await open()
    ;(await again)[0].terminate()
    t.match(await within(2000, other.closed, 'the end'), { code: 1006, wasClean: false })
  })

  it('pings are answered, by both sides', async t => {
    const { app, open } = await serve(t, app => { app.get('/', { websocket: true }, echo) })
    const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const client = await open()
    const [connection] = await connected
    for (const side of [client, connection]) {
      const answered = once(side, 'pong') as Promise<[Buffer]>
      side.ping('are you there?')
      t.equal(String((await answered)[0]), 'are you there?')
    }
  })

  it('a message over maxPayload ends with 1009, on either side', async t => {
    const { app, open } = await serve(t, app => {
      app.get('/', { websocket: { maxPayload: 1000 } }, echo)
      app.get('/large', { websocket: true }, connection => { connection.send('x'.repeat(2000)) })
    })
    const client = await open()
    client.send('x'.repeat(1001))
    t.match(await client.closed, { code: 1009 })
    const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
    const reader = await open('/large', { maxPayload: 1000 })
    t.equal(await reader.receive(), null)
    t.match(await (await connected)[0].closed, { code: 1009 })
  })

  it('a handler or listener that throws ends its connection with 1011, and no other', async t => {
    const { open } = await serve(t, app => {
      app.get('/', { websocket: true }, echo)
      app.get('/handler', { websocket: true }, async () => { throw new Error('of the handler') })
      app.get('/listener', { websocket: true }, connection => { connection.on('message', () => { throw new Error('of the listener') }) })
    })
    const bystander = await open()
    const first = await open('/handler')
    t.match(await first.closed, { code: 1011 })
    const second = await open('/listener')
    second.send('x')
    t.match(await second.closed, { code: 1011 })
    bystander.send('still there')
    t.equal(await bystander.receive(), 'still there')
  })

  it('what a hook stores in AsyncLocalStorage is there in handlers and listeners', async t => {
    const storage = new AsyncLocalStorage<string>()
    const { open } = await serve(t, app => {
      app.addHook('onRequest', (request, _reply, next) => { storage.run(request.url, next) })
      app.get('/:id', { websocket: true }, connection => {
        connection.send(`handler ${storage.getStore()}`)
        connection.on('message', () => { connection.send(`listener ${storage.getStore()}`) })
      })
    })
    const clients = [await open('/a'), await open('/b')]
    for (const client of clients) client.send('x')
    for (const [i, path] of ['/a', '/b'].entries()) {
      t.equal(await clients[i]!.receive(), `handler ${path}`)
      t.equal(await clients[i]!.receive(), `listener ${path}`)
    }
  })

  it('a hook that never ends is refused with 503, shaped by the error handler', async t => {
    const { open } = await serve(t, app => {
      app.setErrorHandler((error: FastifyError, _request, reply) => { reply.code(error.statusCode ?? 500).send(`shaped ${error.code}`) })
      app.get('/', { websocket: true, preValidation: () => new Promise(() => {}) }, echo)
    }, { handshakeTimeout: 50 })
    t.match(await refusal(open()), { statusCode: 503, body: 'shaped FST_WS_HANDSHAKE_TIMEOUT' })
  })

  it('app.close() says 1001 to everyone and ends, and takes no more handshakes', async t => {
    const { app, open } = await serve(t, app => {
      app.get('/', { websocket: true }, echo)
      app.get('/paused', { websocket: true }, connection => { connection.pause() })
      app.get('/held', { websocket: true }, () => new Promise(() => {}))
    })
    const clients = await Promise.all(['/', '/', '/paused', '/held'].map(path => open(path)))
    clients[2]!.send('not read')
    clients[3]!.send('not read')
    const closed = (async () => { await app.close() })()
    for (const client of clients) t.match(await client.closed, { code: 1001, wasClean: true })
    await within(2000, closed, 'the end of the app')
    t.equal(app.websocketServer.clients.size, 0)
  })

  // Plugins as their users register them

  it('messages by schema: values in, values out, and 1007 for what the schema does not allow', async t => {
    const schema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'], additionalProperties: false }
    const { open } = await serve(t, app => {
      app.get<{ Receive: { n: number }, Send: { n: number } }>('/', { websocket: true, schema: { receive: schema, send: schema } }, async function * (connection) {
        for await (const { n, ...rest } of connection) yield { n: n + 1, ...rest, secret: 'x' }
      })
    })
    const client = await open()
    client.send('{"n":1,"more":1}')
    client.send('{"n":"2"}')
    client.send('{"n":{}}')
    t.strictSame([await client.receive(), await client.receive(), await client.receive()], ['{"n":2}', '{"n":3}', null])
    t.match(await client.closed, { code: 1007, reason: 'message/n must be integer' })
  })

  it('@fastify/cookie and @fastify/session: the session of a handshake, and a cookie on its 101', async t => {
    const cookies: string[] = []
    const { app, open } = await serve(t, async app => {
      await app.register(cookie)
      await app.register(session, { secret: 'a secret with at least 32 characters in it', cookie: { secure: false } })
      app.addHook('onSend', async (_request, reply) => { cookies.push(...[reply.getHeader('set-cookie')].flat().map(String)) })
      app.get('/visit', async request => { request.session.visits = (request.session.visits ?? 0) + 1 })
      app.get('/', {
        websocket: true, preHandler: async (_request, reply) => { reply.setCookie('seen', 'yes') }
      }, (connection, request) => { connection.send(String(request.session.visits ?? 'none')) })
    })
    t.equal(await message(await open()), 'none')
    t.ok(cookies.some(field => field.startsWith('seen=yes')), cookies.join())
    const visit = await app.inject('/visit')
    const field = visit.cookies.find(({ name }) => name === 'sessionId')!
    t.equal(await message(await open('/', { headers: { cookie: `sessionId=${encodeURIComponent(field.value)}` } })), '1')
  })

  it('@fastify/helmet, @fastify/cors and @fastify/rate-limit: a WebSocket route is one of their routes', async t => {
    const { open } = await serve(t, async app => {
      await app.register(helmet)
      await app.register(cors, { origin: true })
      await app.register(rateLimit, { max: 2, timeWindow: 60_000 })
      app.get('/', { websocket: true }, echo)
    })
    for (let i = 0; i < 2; i++) await open()
    const error = await refusal(open())
    t.equal(error.statusCode, 429)
    t.match(error.headers, { 'retry-after': String, 'content-security-policy': String })
  })

  it('@fastify/jwt: a handshake with a token is let in, one without is not', async t => {
    const { app, open } = await serve(t, async app => {
      await app.register(jwt, { secret: 'secret' })
      app.get('/', { websocket: true, onRequest: async request => { await request.jwtVerify() } }, (connection, request) => {
        connection.send(JSON.stringify(request.user))
      })
    })
    t.match(await refusal(open()), { statusCode: 401 })
    const token = app.jwt.sign({ name: 'Ada' })
    t.match(JSON.parse(await message(await open('/', { headers: { authorization: `Bearer ${token}` } }))), { name: 'Ada' })
  })
}
