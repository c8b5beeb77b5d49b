// drain(): in which order and when connections are told to go, by a clock of the test; then with clients, over HTTP/1.1 and HTTP/2.
import { once } from 'node:events'
import Fastify from 'fastify'
import { test } from 'tap'
import type { CloseInfo, ReadyState } from '../../types/connection.ts'
import type { DrainOptions } from '../../types/fastify.ts'
import websocket from '../../lib/index.ts'
import { Draining, type Crowd, type Drained } from '../../lib/fastify/draining.ts'
import { drainSettings } from '../../lib/options/drain-settings.ts'
import { withResolver } from '../../lib/promises.ts'
import { close, deferred, echo, handshake, listen, problem, request, serve, text, within } from '../helpers/http.ts'
import { turn } from '../helpers/app.ts'
import { openSession, serveHttp2 } from '../helpers/http2.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { random as randomOf } from '../helpers/random.ts'

class Guest implements Drained {
  readyState: ReadyState = 1
  readonly name: number
  readonly #closed = withResolver<CloseInfo>()
  readonly #log: unknown[]
  readonly #clock: ManualClock

  constructor (name: number, log: unknown[], clock: ManualClock) {
    this.name = name
    this.#log = log
    this.#clock = clock
  }

  get closed (): Promise<CloseInfo> { return this.#closed.promise }

  shutDown (code: number, reason: Uint8Array): void {
    if (this.readyState !== 1) return
    this.#log.push([this.#clock.now(), this.name, code, String(reason)])
    this.readyState = 2
  }

  terminate (): void {
    this.#log.push([this.#clock.now(), this.name, 'terminate'])
    this.leave()
  }

  leave (): void {
    this.readyState = 3
    this.#closed.resolve({} as CloseInfo)
  }
}

/** `count` guests, a draining that has begun, and what happens: [time, name, code, reason] for each who is told to go. */
function party (count: number, options: DrainOptions, random: () => number = () => 0.999999) {
  const clock = new ManualClock()
  const log: unknown[] = []
  const guests = Array.from({ length: count }, (_, i) => new Guest(i, log, clock))
  const crowd: Crowd = {
    connections: () => guests.filter(({ readyState }) => readyState !== 3),
    onRefusing: () => { log.push([clock.now(), 'refusing']) },
    shutdownTimeout: 5000
  }
  const draining = new Draining(drainSettings(options), crowd, clock, random)
  draining.begin()
  return { clock, log, guests, draining }
}

test('the k-th of n is told to go at k/n of the spread, behind a delay in which handshakes are taken', t => {
  const { clock, log, draining } = party(4, { delay: 500, spread: 1000, reason: 'update' })
  t.equal(draining.isRefusing, false)
  clock.advance(499)
  t.strictSame(log, [])
  clock.advance(1)
  t.equal(draining.isRefusing, true)
  clock.advance(999)
  t.strictSame(log, [[500, 'refusing'], [750, 0, 1012, 'update'], [1000, 1, 1012, 'update'], [1250, 2, 1012, 'update']])
  clock.advance(1)
  t.strictSame(log.at(-1), [1500, 3, 1012, 'update'])
  t.end()
})

test('of many a few go at each step, all of them in time, and in each tenth of the spread a tenth', t => {
  const { clock, log } = party(5000, { spread: 5000 })
  const counts = []
  for (let tenth = 0; tenth < 10; tenth++) {
    const before = log.length
    clock.advance(500)
    counts.push(log.length - before)
  }
  t.ok(counts.every(count => count >= 450 && count <= 550), counts.join())
  t.equal(log.length, 5001)
  t.end()
})

test('the order is a random one in which everybody has his place', t => {
  const random = randomOf(7)
  const { clock, log } = party(100, { spread: 1000 }, random)
  clock.advance(1000)
  const order = log.slice(1).map(entry => (entry as number[])[1]!)
  t.strictSame([...order].sort((a, b) => a - b), [...Array(100).keys()])
  t.notSame(order, [...Array(100).keys()])
  t.end()
})

test('who leaves by himself leaves a hole, and is told nothing', t => {
  const { clock, log, guests } = party(4, { spread: 1000 })
  guests[1]!.leave()
  clock.advance(1000)
  t.strictSame(log.slice(1).map(entry => (entry as number[]).slice(0, 2)), [[250, 0], [750, 2], [1000, 3]])
  t.end()
})

test('it is over when the last has left, and those who do not answer are dropped after shutdownTimeout', async t => {
  const { clock, log, guests, draining } = party(3, { spread: 0 })
  let isDone = false
  void draining.done.then(() => { isDone = true })
  t.equal(log.length, 4, 'all at once')
  guests[0]!.leave()
  guests[1]!.leave()
  await turn()
  t.equal(isDone, false)
  clock.advance(4999)
  t.equal(log.length, 4)
  clock.advance(1)
  t.strictSame(log.at(-1), [5000, 2, 'terminate'])
  await draining.done
  const other = party(1, { spread: 0 })
  other.guests[0]!.leave()
  await other.draining.done
  t.equal(other.clock.pending, 0, 'nobody is waited for any more')
})

test('without connections it is over behind the delay', async t => {
  const { clock, draining } = party(0, { delay: 100 })
  clock.advance(100)
  await draining.done
  t.equal(clock.pending, 0)
})

test('the signal, whenever it comes, closes what is left at once', async t => {
  const aborted = party(2, { delay: 100, signal: AbortSignal.abort() })
  t.strictSame(aborted.log.map(entry => (entry as number[]).slice(0, 2)), [[0, 'refusing'], [0, 0], [0, 1]])
  for (const time of [50, 600]) {
    const controller = new AbortController()
    const { clock, log, guests, draining } = party(2, { delay: 100, spread: 1000, signal: controller.signal })
    clock.advance(time)
    controller.abort()
    draining.hurry()
    t.strictSame(log.map(entry => (entry as number[])[1]), ['refusing', 0, 1], `at ${time}`)
    for (const guest of guests) guest.leave()
    await draining.done
    clock.advance(10_000)
    t.equal(log.length, 3)
  }
})

// With clients

test('while an app is drained its HTTP goes on, and handshakes get 503 with Retry-After, those in hooks too', async t => {
  const late = deferred()
  const inHook = deferred()
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/slow', { websocket: true, preHandler: () => { inHook.resolve(); return late.promise } }, () => { t.fail('the handler ran') })
    app.get('/ready', async () => app.websocketServer.state)
  })
  t.equal((await site.ask(request('/ready'))).body, 'open')
  const peer = await site.open('/ws')
  const pending = (await site.connect()).write(handshake('/slow'))
  await inHook.promise
  const drained = app.websocketServer.drain({ spread: 0, code: 4001, reason: 'moved' })
  t.equal(app.websocketServer.drain({ delay: 5 }) instanceof Promise, true)
  t.equal(app.websocketServer.state, 'draining')
  t.match(await pending.answer(), { statusCode: 503, headers: { connection: 'close', 'retry-after': '1' } })
  const { opcode, payload } = await peer.frame()
  t.strictSame([opcode, payload.readUInt16BE(), payload.toString('utf8', 2)], [8, 4001, 'moved'])
  const answer = await site.ask(handshake('/ws'))
  t.match(answer, { statusCode: 503, headers: { connection: 'close', 'retry-after': '1' } })
  t.match(problem(answer), { code: 'FST_WS_CLOSING' })
  t.match(await site.ask(request('/ready')), { statusCode: 200, body: 'draining' })
  await peer.write(close(4001)).closed
  await within(2000, drained, 'the end of the drain')
  t.match(await site.ask(request('/ready')), { statusCode: 200, body: 'draining' })
  late.resolve()
  const closed = app.close()
  t.equal(app.websocketServer.clients.size, 0)
  await within(2000, Promise.resolve(closed), 'the end')
  t.equal(app.websocketServer.state, 'closed')
})

test('handshakes are taken for as long as the delay is, and who comes then is drained too', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const controller = new AbortController()
  const drained = app.websocketServer.drain({ delay: 60_000, signal: controller.signal })
  t.equal(app.websocketServer.state, 'draining')
  const peer = await site.open('/ws')
  t.strictSame(await peer.write(text('Hello')).contents(1), ['Hello'])
  controller.abort()
  t.strictSame(await peer.contents(1), [1012])
  await peer.write(close(1012)).closed
  await within(2000, drained, 'the end')
})

test('drain() is of all registrations of a server, and app.close() closes what is left at once with the code of the drain', async t => {
  const app = Fastify()
  for (const prefix of ['/a', '/b']) {
    app.register(async scope => {
      await scope.register(websocket, { shutdownTimeout: 1000 })
      scope.get('/ws', { websocket: true }, echo)
      scope.get('/state', async () => scope.websocketServer.state)
      scope.get('/drain', async () => { void scope.websocketServer.drain({ spread: 60_000 }) })
    }, { prefix })
  }
  const site = await listen(t, app)
  const peers = [await site.open('/a/ws'), await site.open('/b/ws')]
  await site.ask(request('/a/drain'))
  t.equal((await site.ask(request('/b/state'))).body, 'draining')
  const closed = app.close()
  for (const peer of peers) {
    t.strictSame(await peer.contents(1), [1012])
    peer.write(close(1012))
  }
  await within(900, Promise.resolve(closed), 'the end')
})

test('drain() of an app that is closing waits for its connections, and what is wrong with its options rejects', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  await t.rejects(app.websocketServer.drain({ delay: -1 }), TypeError)
  t.equal(app.websocketServer.state, 'open')
  const peer = await site.open('/ws')
  const closed = app.close()
  t.strictSame(await peer.contents(1), [1001])
  t.equal(app.websocketServer.state, 'closing')
  const drained = app.websocketServer.drain()
  peer.write(close(1001))
  await within(2000, drained, 'the end of the drain')
  await closed
})

test('connections that do not answer are dropped, and the log says that it was the server', async t => {
  const lines: Array<{ msg: string }> = []
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, {
    plugin: { shutdownTimeout: 50 }, server: { logger: { stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } }
  })
  const peer = await site.open('/ws')
  await within(2000, app.websocketServer.drain({ spread: 0 }), 'the end')
  t.strictSame(await peer.contents(1), [1012])
  t.match(lines.filter(({ msg }) => msg === 'WebSocket closed'), [{ closeCode: 1006, cause: 'shutdown', sent: { code: 1012, reason: '' } }])
})

// HTTP/2

test('on HTTP/2 a session is told to go before its first connection is, which others of it outlive', async t => {
  const app = await serveHttp2(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/', async () => 'page')
  })
  const [client, other] = [await openSession(t, app), await openSession(t, app)]
  const peers = [await client.open(), await client.open()]
  const order: string[] = []
  client.session.on('goaway', () => { order.push('goaway') })
  const drained = app.websocketServer.drain({ spread: 400 })
  const contents = peers.map(peer => peer.contents(1))
  const first = await Promise.race(contents.map(async (content, i) => {
    const [code] = await content
    order.push(`close ${code}`)
    return i
  }))
  t.strictSame(order, ['goaway', 'close 1012'])
  t.equal(client.session.closed, true, 'the next handshake goes elsewhere')
  const second = peers[1 - first]!
  second.write(text('still here'))
  t.strictSame(await contents[1 - first], ['still here'])
  t.equal((await other.get('/').whole()).body, 'page', 'a session without WebSockets goes on')
  t.equal(other.session.closed, false)
  const left = once(other.session, 'goaway')
  const refused = await other.handshake('/ws').whole()
  t.match(refused, { status: 503, headers: { 'retry-after': '1' } })
  t.match(JSON.parse(refused.body), { code: 'FST_WS_CLOSING' })
  await within(2000, left, 'GOAWAY to whom was refused')
  peers[first]!.write(close(1012))
  t.strictSame(await second.contents(1), [1012])
  second.write(close(1012))
  await within(2000, drained, 'the end')
  const late = await openSession(t, app)
  t.equal((await late.get('/').whole()).body, 'page', 'HTTP goes on in new sessions')
})

test('app.close() says GOAWAY to a session with its first Close, also when a preClose takes its time, and at once where there is no WebSocket', async t => {
  const connected = deferred()
  const mayClose = deferred()
  const app = await serveHttp2(t, app => {
    app.get('/ws', { websocket: true }, echo)
    app.get('/', async () => 'page')
  }, { plugin: { preClose: async function () { connected.resolve(); await mayClose.promise }, shutdownTimeout: 5000 } })
  const [client, idle] = [await openSession(t, app), await openSession(t, app)]
  const peer = await client.open()
  const left = once(idle.session, 'goaway')
  const closed = app.close()
  await connected.promise
  await within(2000, left, 'GOAWAY to the idle')
  t.strictSame(await peer.write(text('goes on')).contents(1), ['goes on'])
  t.equal(client.session.closed, false)
  const refused = await client.handshake('/ws').whole()
  t.match(refused, { status: 503, headers: { 'retry-after': '1' } })
  t.match(JSON.parse(refused.body), { code: 'FST_WS_CLOSING' })
  mayClose.resolve()
  t.strictSame(await peer.contents(1), [1001])
  t.equal(client.session.closed, true)
  peer.write(close(1001))
  await within(2000, Promise.resolve(closed), 'the end')
})

test('a handshake over HTTP/1.1 that comes while the app closes is told by what it is refused, and when to come back', async t => {
  const { app, site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const peer = await site.open('/ws')
  const waiting = await site.connect()
  const closed = app.close()
  t.strictSame(await peer.contents(1), [1001])
  const answer = await waiting.write(handshake()).answer()
  t.match(answer, { statusCode: 503, headers: { connection: 'close', 'retry-after': '1' } })
  t.match(problem(answer), { statusCode: 503, code: 'FST_WS_CLOSING' })
  peer.write(close(1001))
  await closed
})

for (const return503OnClosing of [true, false]) {
  const title = return503OnClosing ? '' : ', with return503OnClosing: false'
  test(`handshakes are refused from the first moment of app.close(), while preClose hooks declared before ours run${title}`, async t => {
    const app = Fastify({ return503OnClosing })
    const [begun, mayClose] = [deferred(), deferred()]
    app.addHook('preClose', async () => { begun.resolve(); await mayClose.promise })
    await app.register(websocket)
    await app.register(async scope => { await scope.register(websocket) }) // preClose hooks of a scope run after those of the root
    const inHook = deferred()
    app.get('/ws', { websocket: true }, echo)
    app.get('/slow', { websocket: true, onRequest: () => { inHook.resolve(); return new Promise(() => {}) } }, echo)
    const site = await listen(t, app)
    const [peer, slow] = [await site.open('/ws'), await site.connect()]
    slow.write(handshake('/slow'))
    await inHook.promise
    t.equal(app.websocketServer.state, 'open')
    const closed = app.close()
    await begun.promise
    t.equal(app.websocketServer.state, 'closing')
    for (const answer of [await slow.answer(), await site.ask(handshake())]) {
      t.match(answer, { statusCode: 503, headers: { connection: 'close', 'retry-after': '1' } })
      t.match(problem(answer), { code: 'FST_WS_CLOSING' })
    }
    t.strictSame(await peer.write(text('goes on')).contents(1), ['goes on'])
    mayClose.resolve()
    t.strictSame(await peer.contents(1), [1001])
    peer.write(close(1001))
    await within(2000, Promise.resolve(closed), 'the end')
    t.equal(app.websocketServer.stats().refused, 2)
  })

  test(`over HTTP/2 they are refused so too, and their session is told to go${title}`, async t => {
    const [begun, mayClose] = [deferred(), deferred()]
    const app = await serveHttp2(t, app => { app.get('/ws', { websocket: true }, echo) }, {
      before: app => { app.addHook('preClose', async () => { begun.resolve(); await mayClose.promise }) }, server: { return503OnClosing }
    })
    const client = await openSession(t, app)
    const peer = await client.open()
    const left = once(client.session, 'goaway')
    const closed = app.close()
    await begun.promise
    const refused = await client.handshake().whole()
    t.match(refused, { status: 503, headers: { 'retry-after': '1' } })
    t.match(JSON.parse(refused.body), { code: 'FST_WS_CLOSING' })
    await within(2000, left, 'GOAWAY')
    t.strictSame(await peer.write(text('goes on')).contents(1), ['goes on'])
    mayClose.resolve()
    t.strictSame(await peer.contents(1), [1001])
    peer.write(close(1001))
    await within(2000, Promise.resolve(closed), 'the end')
  })
}

test('while an app closes, a Close that its own code says is one too', async t => {
  const mayClose = deferred()
  const app = await serveHttp2(t, app => {
    app.get('/ws', { websocket: true }, connection => { connection.on('message', () => { connection.close(4000) }) })
  }, { plugin: { preClose: () => mayClose.promise, shutdownTimeout: 5000 } })
  const client = await openSession(t, app)
  const peers = [await client.open(), await client.open()]
  const closed = app.close()
  peers[0]!.write(text('go'))
  t.strictSame(await peers[0]!.contents(1), [4000])
  t.equal(client.session.closed, true)
  mayClose.resolve()
  t.strictSame(await peers[1]!.contents(1), [1001])
  for (const [i, peer] of peers.entries()) await peer.write(close(i === 0 ? 4000 : 1001)).closed
  await within(2000, Promise.resolve(closed), 'the end')
})
