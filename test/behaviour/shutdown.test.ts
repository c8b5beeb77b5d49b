import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import websocket from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPreClose } from '../../types/options.ts'
import { close, deferred, echo, handshake, listen, Peer, problem, request, serve, text, within } from '../helpers/http.ts'

/** Answers the server's Close frame as a peer should. */
async function obey (peer: Peer): Promise<number | string> {
  const [code] = await peer.contents(1)
  peer.write(close(1001))
  await peer.closed
  return code!
}

// Open connections

test('app.close() says 1001 to every connection and waits for the answers', async t => {
  const { app, site } = await serve(t, app => {
    app.get('/a', { websocket: true }, echo)
    app.get('/b', { websocket: true }, echo)
  })
  const peers = await Promise.all(Array.from({ length: 20 }, (_, i) => site.open(i % 2 === 0 ? '/a' : '/b')))
  const calls: unknown[] = []
  const closed = app.close().then(() => { calls.push('closed') })
  t.strictSame(await Promise.all(peers.map(async peer => (await peer.contents(1))[0])), Array(20).fill(1001))
  for (const [i, peer] of peers.entries()) {
    calls.push(i)
    await peer.write(close(1001)).closed
  }
  await within(1000, closed, 'close')
  t.strictSame(calls, [...Array(20).keys(), 'closed'])
  t.equal(app.websocketServer.clients.size, 0)
  t.equal(site.sockets.size, 0)
})

test('what a peer sends before its answer is still delivered', async t => {
  const received: string[] = []
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, connection => { connection.on('message', data => { received.push(data.toString()) }) })
  })
  const peer = await site.open('/ws')
  const closed = app.close()
  t.strictSame(await peer.contents(1), [1001])
  peer.write(text('last words'), close(1001))
  await within(1000, closed, 'close')
  t.strictSame(received, ['last words'])
})

test('app.close() with nothing open is immediate', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const peer = await site.open('/ws')
  await peer.write(close(1000)).contents(1)
  await peer.closed
  await within(2000, site.emptied(), 'no connection is left')
  await within(200, Promise.resolve(app.close()), 'close')
})

test('a listener of a connection may close the app', async t => {
  const closed = deferred()
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, connection => {
      connection.on('message', async () => {
        await app.close()
        closed.resolve()
      })
    })
  })
  const peer = await site.open('/ws')
  peer.write(text('stop'))
  t.equal(await obey(peer), 1001)
  await within(1000, closed.promise, 'close')
})

// Peers that do not answer

test('peers that never answer are dropped after shutdownTimeout', async t => {
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/flood', { websocket: true }, connection => { connection.send(Buffer.alloc(10_000_000)) })
    app.get('/held', { websocket: true }, () => new Promise(() => {}))
    app.get('/paused', { websocket: true }, connection => { connection.on('message', () => { connection.pause() }) })
    app.get('/closing', { websocket: true }, connection => { connection.close(4000) })
  }, { plugin: { shutdownTimeout: 200 } })
  const silent = await site.open('/ws')
  const unread = await site.open('/flood')
  unread.socket.pause()
  const held = await site.open('/held')
  held.write(...Array.from({ length: 100 }, () => text('x'.repeat(10_000))))
  const paused = await site.open('/paused')
  paused.write(...Array.from({ length: 100 }, () => text('x'.repeat(10_000))))
  const closing = await site.open('/closing')
  t.strictSame(await closing.contents(1), [4000])
  const halfOpen = await site.open('/ws', {}, { staysHalfOpen: true })

  const start = performance.now()
  await within(1500, Promise.resolve(app.close()), 'close')
  const took = performance.now() - start
  t.ok(took >= 190, `they had their time: ${took} ms`)
  t.strictSame(await silent.contents(1), [1001])
  t.strictSame(await halfOpen.contents(1), [1001])
  t.equal(site.sockets.size, 0)
  t.equal(app.websocketServer.clients.size, 0)
})

test('a connection that is paused, or whose messages nobody takes, ends as soon as the peer answers', async t => {
  const connections: WebSocketConnection[] = []
  const { app, site } = await serve(t, app => {
    app.get('/paused', { websocket: true }, connection => {
      connections.push(connection)
      echo(connection)
      connection.pause()
    })
    app.get('/held', { websocket: true }, connection => {
      connections.push(connection)
      return new Promise(() => {})
    })
  })
  const peers = [await site.open('/paused'), await site.open('/held')]
  for (const peer of peers) peer.write(...Array.from({ length: 100 }, () => text('x'.repeat(10_000))))
  const closed = app.close()
  t.strictSame(await Promise.all(peers.map(obey)), [1001, 1001])
  await within(1000, closed, 'close')
  t.strictSame(connections.map(({ readyState }) => readyState), [3, 3])
})

test('shutdownTimeout holds for all scopes together', async t => {
  const app = Fastify()
  for (const prefix of ['/a', '/b', '/c']) {
    app.register(async scope => {
      await scope.register(websocket, { shutdownTimeout: 300 })
      scope.get('/ws', { websocket: true }, echo)
    }, { prefix })
  }
  const site = await listen(t, app)
  const peers = [await site.open('/a/ws'), await site.open('/b/ws'), await site.open('/c/ws')]
  await within(600, Promise.resolve(app.close()), 'close')
  t.strictSame(await Promise.all(peers.map(async peer => (await peer.contents(1))[0])), [1001, 1001, 1001])
})

// Handshakes

test('handshakes that are still in hooks are refused with 503 at once', async t => {
  const late = deferred()
  const inHooks = deferred()
  let count = 0
  const wait = (): Promise<void> => {
    if (++count === 3) inHooks.resolve()
    return late.promise
  }
  const { app, site } = await serve(t, app => {
    app.get('/request', { websocket: true, onRequest: wait }, () => { t.fail('the handler ran') })
    app.get('/handler', { websocket: true, preHandler: wait }, () => { t.fail('the handler ran') })
    app.get('/send', { websocket: true, onSend: wait }, () => { t.fail('the handler ran') })
  })
  const peers = await Promise.all(['/request', '/handler', '/send'].map(async path => (await site.connect()).write(handshake(path), text('too early'))))
  await inHooks.promise
  const closed = app.close()
  for (const peer of peers) {
    const answer = await peer.answer()
    t.match(answer, { statusCode: 503, headers: { connection: 'close' } })
    t.match(problem(answer), { statusCode: 503, code: 'FST_WS_CLOSING', error: 'Service Unavailable' })
    t.equal(await peer.rest(), '')
  }
  await within(1000, closed, 'close')
  late.resolve()
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(app.websocketServer.clients.size, 0)
})

test('a handshake in an onSend hook with a callback is refused with 503, and the hook may go on later', async t => {
  const inHook = deferred<() => void>()
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true, onSend: (_request, _reply, _payload, next) => { inHook.resolve(() => { next() }) } }, () => { t.fail('the handler ran') })
  })
  const peer = await site.connect()
  peer.write(handshake())
  const next = await inHook.promise
  const closed = app.close()
  t.equal((await peer.answer()).statusCode, 503)
  t.doesNotThrow(next)
  await within(1000, closed, 'close')
})

test('a handshake whose hook read the request is refused with 503 as well', async t => {
  const inHook = deferred()
  const late = deferred()
  const { app, site } = await serve(t, app => {
    app.addHook('onRequest', async ({ raw }) => {
      for await (const chunk of raw) t.fail(`a body: ${chunk}`)
      setImmediate(inHook.resolve)
      await late.promise
    })
    app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') })
  })
  const peer = await site.connect()
  peer.write(handshake())
  await inHook.promise
  const closed = app.close()
  t.equal((await within(1000, peer.answer(), 'the refusal')).statusCode, 503)
  late.resolve()
  await within(1000, closed, 'close')
})

test('refused clients that stay do not hold up app.close()', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const peers = await Promise.all(Array.from({ length: 3 }, () => site.connect({ staysHalfOpen: true })))
  await Promise.all(peers.map(peer => peer.write(handshake('/nowhere')).answer()))
  await within(1500, Promise.resolve(app.close()), 'close')
})

test('a refused client that reads nothing of a long answer is dropped after shutdownTimeout', async t => {
  const answered = deferred()
  const { app, site } = await serve(t, app => {
    app.setNotFoundHandler((_request, reply) => {
      reply.code(404).send('x'.repeat(20_000_000))
      answered.resolve()
    })
  }, { plugin: { shutdownTimeout: 200 } })
  const peer = await site.connect({ deaf: true })
  peer.write(handshake('/nowhere'))
  await answered.promise
  await within(2000, Promise.resolve(app.close()), 'close')
  t.equal(site.sockets.size, 0)
})

test('a handshake behind a slow request is not accepted once the server is closing', async t => {
  const slow = deferred<string>()
  const { app, site } = await serve(t, app => {
    app.get('/slow', () => slow.promise)
    app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') })
  })
  const upgraded = once(app.server, 'upgrade')
  const peer = await site.connect()
  peer.write(request('/slow'), handshake())
  await upgraded
  const closed = app.close()
  slow.resolve('at last')
  t.match(await peer.answer(), { statusCode: 200, body: 'at last' })
  t.match(await peer.answer(), { statusCode: 503, headers: { connection: 'close' } })
  await within(1500, closed, 'close')
})

// What else is connected

test('idle connections of HTTP beside open WebSockets do not hold up app.close()', async t => {
  for (const server of [{}, { forceCloseConnections: 'idle' as const }, { forceCloseConnections: true }]) {
    const { app, site } = await serve(t, app => {
      app.get('/', async () => 'http')
      app.get('/ws', { websocket: true }, echo)
    }, { server })
    const idle = await site.connect()
    await idle.write(request('/')).answer()
    const peer = await site.open('/ws')
    const closed = app.close()
    t.equal(await obey(peer), 1001)
    await within(1000, closed, 'close')
    await idle.closed
  }
})

test('a request in flight is answered while the WebSockets close', async t => {
  const slow = deferred<string>()
  const inHandler = deferred()
  const { app, site } = await serve(t, app => {
    app.get('/slow', () => {
      inHandler.resolve()
      return slow.promise
    })
    app.get('/ws', { websocket: true }, echo)
  })
  const ordinary = await site.connect()
  ordinary.write(request('/slow', { Upgrade: 'h2c', Connection: 'Upgrade' }))
  await inHandler.promise
  const peer = await site.open('/ws')
  const closed = app.close()
  t.equal(await obey(peer), 1001)
  slow.resolve('at last')
  t.match(await ordinary.answer(), { statusCode: 200, body: 'at last' })
  await within(1000, closed, 'close')
})

// A process of its own

const script = fileURLToPath(new URL('../helpers/shutdown-server.ts', import.meta.url))

test('on SIGTERM a server says 1001 to 1,000 connections and exits at once', async t => {
  const child = fork(script, ['5000'])
  t.teardown(() => { child.kill('SIGKILL') })
  const [port] = await once(child, 'message') as [number]
  const peers = await Promise.all(Array.from({ length: 1000 }, async (_, i) => {
    const peer = await Peer.connect({ port })
    t.teardown(() => { peer.socket.destroy() })
    await peer.write(handshake(i % 10 === 0 ? '/held' : '/ws'), i % 2 === 0 ? text('Hello') : '').answer()
    if (i % 10 !== 0 && i % 2 === 0) await peer.contents(1)
    return peer
  }))
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const codes = Promise.all(peers.map(obey))
  // in a moment on an idle machine; what must not hold it up is the 5 s of shutdownTimeout or the 10 s of handshakeTimeout
  t.strictSame(await within(4000, exited, 'the exit'), [0, null])
  t.strictSame(await codes, Array(1000).fill(1001))
})

test('on SIGTERM a server whose peers never answer exits after shutdownTimeout', async t => {
  const child = fork(script, ['300'])
  t.teardown(() => { child.kill('SIGKILL') })
  const [port] = await once(child, 'message') as [number]
  const peers = await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    const peer = await Peer.connect({ port, staysHalfOpen: i % 2 === 0 })
    t.teardown(() => { peer.socket.destroy() })
    await peer.write(handshake(i % 10 === 0 ? '/held' : '/ws')).answer()
    if (i % 10 === 0) peer.write(...Array.from({ length: 50 }, () => text('x'.repeat(10_000))))
    if (i % 10 === 1) peer.socket.pause()
    return peer
  }))
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  t.strictSame(await within(4000, exited, 'the exit'), [0, null])
  t.strictSame(await peers[2]!.contents(1), [1001])
})

// preClose and shutdownCode

test('shutdownCode is the close code for who is connected when the app closes', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { plugin: { shutdownCode: 1012 } })
  const peer = await site.open('/ws')
  const closed = app.close()
  t.strictSame(await peer.contents(1), [1012])
  peer.write(close(1012))
  await within(1000, closed, 'close')
})

const preCloses: Array<[title: string, make: (app: () => FastifyInstance, calls: string[]) => WebSocketPreClose]> = [
  ['with a callback', (app, calls) => function (this: FastifyInstance, done: () => void) {
    calls.push(String(this === app()))
    for (const client of app().websocketServer.clients) client.close(4000, 'bye')
    setImmediate(done)
  }],
  ['that is async', (app, calls) => async function (this: FastifyInstance) {
    calls.push(String(this === app()))
    for (const client of app().websocketServer.clients) client.close(4000, 'bye')
  }]
]
for (const [title, make] of preCloses) {
  test(`a preClose ${title} says goodbye in its own way, and app.close() waits for the answers`, async t => {
    const calls: string[] = []
    const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { plugin: { preClose: make(() => app, calls) } })
    const peer = await site.open('/ws')
    const closed = app.close()
    t.strictSame(await peer.contents(1), [4000])
    peer.write(close(4000))
    await within(1000, closed, 'close')
    t.strictSame(calls, ['true'])
  })
}

test('connections that a preClose leaves open are closed all the same, also when it fails or never ends', async t => {
  for (const preClose of [async () => {}, async () => { throw new Error('oops') }, () => new Promise<void>(() => {}), (_done: () => void) => {}]) {
    const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { plugin: { preClose, shutdownTimeout: 100 } })
    const peer = await site.open('/ws')
    const closed = (async () => { await app.close() })()
    t.strictSame(await peer.contents(1), [1001])
    peer.write(close(1001))
    await within(1000, closed.catch(() => {}), 'close')
  }
})

test('handshakes that come while a preClose hook of the app runs are refused, with return503OnClosing: false too', async t => {
  for (const return503OnClosing of [true, false]) {
    const { app, site } = await serve(t, app => {
      app.get('/ws', { websocket: true }, () => { t.fail('the handler ran') })
      app.addHook('preClose', async () => { t.equal((await site.ask(handshake())).statusCode, 503) })
    }, { server: { return503OnClosing } })
    await within(3000, (async () => { await app.close() })(), 'close')
  }
})

test('a preClose with a callback that is async too and rejects ends nothing but itself', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, {
    plugin: { preClose: (async (_done: () => void) => { throw new Error('oops') }) as never }
  })
  const peer = await site.open('/ws')
  const closed = (async () => { await app.close() })().catch(() => {})
  t.strictSame(await peer.contents(1), [1001])
  peer.write(close(1001))
  await within(1000, closed, 'close')
})

test('a handshake that comes while the app closes does not reach its hooks, with return503OnClosing: false either', async t => {
  const { app, site } = await serve(t, async app => {
    app.get('/ws', { websocket: true, preHandler: () => new Promise(() => {}) }, () => { t.fail('the handler ran') })
    await app.register(async scope => {
      await scope.register(websocket, {
        async preClose () {
          const peer = await site.connect()
          t.match(await peer.write(handshake()).answer(), { statusCode: 503 })
        }
      })
    })
  }, { server: { return503OnClosing: false } })
  await within(3000, (async () => { await app.close() })(), 'close')
})

for (const order of ['before', 'behind']) {
  test(`a preClose hook of the app, ${order} the plugin, that rejects does not keep anybody connected`, async t => {
    const app = Fastify()
    const error = new Error('the hook has failed')
    const fail = async (): Promise<void> => { throw error }
    if (order === 'before') app.addHook('preClose', fail)
    await app.register(websocket)
    if (order === 'behind') app.addHook('preClose', fail)
    app.get('/ws', { websocket: true }, connection => { connection.resume() })
    const site = await listen(t, app)
    const peer = await site.open('/ws')
    const closed = t.rejects(within(5000, (async () => { await app.close() })(), 'the end of the app'), error)
    t.strictSame(await peer.contents(1), [1001])
    peer.write(close(1001))
    await closed
    await within(5000, peer.closed, 'the end of the connection')
  })
}
