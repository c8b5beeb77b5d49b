// reconnect(): against servers that refuse, cut, restart and answer wrongly. Waiting takes no time here, and chance is one half.
import { getEventListeners, once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { test, type Test } from 'tap'
import { reconnectIn, type Surroundings } from '../../lib/client/reconnect.ts'
import { connect, ConnectionClosedError, reconnect } from '../../lib/index.ts'
import type { ReconnectHandler, ReconnectOptions, ReconnectOutcome, ReconnectState, ReconnectUrl } from '../../types/client.ts'
import type { CloseInfo, WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketHandler } from '../../types/fastify.ts'
import { deferred, serve, within } from '../helpers/http.ts'

const HALF: Surroundings = { random: () => 0.5, now: () => 0, setTimeout: callback => setTimeout(callback, 0) }

function go (url: ReconnectUrl, handler: ReconnectHandler, options?: ReconnectOptions): Promise<CloseInfo> {
  return within(20_000, reconnectIn(HALF, url, handler, options), 'the end')
}

/** A server whose handler knows how many connections were before. */
async function counting (t: Test, handler: (connection: WebSocketConnection, count: number) => unknown): Promise<string> {
  let count = 0
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, (connection => handler(connection, count++)) as WebSocketHandler)
  })
  return `ws://127.0.0.1:${site.port}/ws`
}

/** A server that speaks no WebSocket. */
async function answering (t: Test, answer: (request: IncomingMessage, response: ServerResponse, count: number) => void): Promise<string> {
  let count = 0
  return await portOf(t, createServer((request, response) => { answer(request, response, count++) }))
}

async function portOf (t: Test, server: Server | ReturnType<typeof createTcpServer>): Promise<string> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { server.close() })
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`
}

/** What onState told, in short. */
function telling (): { states: string[], onState: (state: ReconnectState) => void } {
  const states: string[] = []
  return {
    states,
    onState: ({ state, attempt, delay, outcome }) => {
      const what = outcome === undefined ? '' : outcome instanceof Error ? ` ${outcome.name}` : ` ${outcome.code}`
      states.push(`${state} ${attempt}${delay === undefined ? '' : ` ${delay}`}${what}`)
    }
  }
}

const waitForClose: ReconnectHandler = async connection => { await connection.closed }
const refuse = (statusCode: number, headers = {}) => (_request: IncomingMessage, response: ServerResponse) => { response.writeHead(statusCode, headers).end() }
const nobody: ReconnectHandler = () => { throw new Error('nobody should call this') }

// Lives

const CUTS: Record<string, (connection: WebSocketConnection) => void> = {
  'without a Close': connection => { connection.terminate() },
  'by 1012': connection => { connection.close(1012) },
  'by a reset': connection => { (connection._socket as unknown as { resetAndDestroy (): void }).resetAndDestroy() }
}
const BODIES: Record<string, (connection: WebSocketConnection, take: (message: unknown) => void) => unknown> = {
  'for await': async (connection, take) => { for await (const message of connection) take(message) },
  'receive()': async (connection, take) => {
    for (let message; (message = await connection.receive()) !== null;) take(message)
  },
  listeners: (connection, take) => { connection.on('message', data => { take(String(data)) }) },
  'pipeline()': async (connection, take) => {
    const sink = new PassThrough({ objectMode: true })
    sink.on('data', take)
    await pipeline(connection.toDuplex({ objectMode: true }), sink)
  },
  'a generator': async function * (connection, take) {
    yield 'hello'
    for await (const message of connection) {
      take(message)
      yield message
    }
  },
  'a wait for its signal': async (connection, take) => {
    connection.on('message', data => { take(String(data)) })
    await once(connection, 'never', { signal: connection.signal })
  }
}
for (const [body, handler] of Object.entries(BODIES)) {
  test(`${body}: every connection is followed by the next, however it was cut, and no two are open at once`, async t => {
    const cuts = Object.values(CUTS)
    const LIVES = 12
    const open = new Set<WebSocketConnection>()
    let most = 0
    const url = await counting(t, (connection, count) => {
      connection.send(`life ${count}`)
      connection.once('message', () => {
        if (count === LIVES - 1) connection.close(1000)
        else cuts[count % cuts.length]!(connection)
      })
    })
    const taken: unknown[] = []
    const info = await go(url, (connection, attempt) => {
      t.equal(attempt.attempt, taken.length + 1)
      open.add(connection)
      most = Math.max(most, open.size)
      connection.on('close', () => { open.delete(connection) })
      return handler(connection, message => {
        taken.push(message)
        connection.send('got it')
      })
    }, { retry: outcome => (outcome as CloseInfo).code !== 1000 })
    t.match(info, { code: 1000, cause: 'peer' })
    t.strictSame(taken, Array.from({ length: LIVES }, (_, index) => `life ${index}`))
    t.equal(most, 1)
  })
}

test('the next attempt waits for a handler that is not done with the connection before', async t => {
  const url = await counting(t, (connection, count) => { connection.close(count === 0 ? 1012 : 1000) })
  const events: string[] = []
  await go(url, async connection => {
    events.push('begin')
    await connection.closed
    for (let turn = 0; turn < 10; turn++) await new Promise(resolve => { setImmediate(resolve) })
    events.push('end')
  })
  t.strictSame(events, ['begin', 'end', 'begin', 'end'])
})

test('a handler that returns leaves the connection open, and messages that nobody takes are discarded then', async t => {
  const url = await counting(t, connection => {
    for (let count = 0; count < 100; count++) connection.send(Buffer.alloc(10_000))
    connection.close(1000)
  })
  t.match(await go(url, () => {}, { holdTimeout: 600_000, closeTimeout: 600_000 }), { code: 1000, wasClean: true })
})

test('the return of a generator closes with 1000, and that is the end', async t => {
  let connections = 0
  const url = await counting(t, connection => {
    connections++
    connection.resume()
  })
  const info = await go(url, async function * () { yield 'all there is' })
  t.match(info, { code: 1000, sent: { code: 1000 }, cause: 'local', wasClean: true })
  t.equal(connections, 1)
})

test('leaving the loop closes with 1000, close() of the handler with any code, and both decide what follows', async t => {
  const url = await counting(t, connection => { connection.send('a') })
  t.match(await go(url, async connection => { for await (const message of connection) if (message === 'a') break }), { sent: { code: 1000 }, cause: 'local' })
  t.match(await go(url, connection => { connection.close() }), { sent: { code: 1005 }, cause: 'local' })
  let lives = 0
  await go(url, connection => { connection.close(lives++ < 3 ? 4001 : 1000) })
  t.equal(lives, 4)
})

// What ends it

for (const code of [1002, 1003, 1007, 1008, 1009, 1010]) {
  test(`a peer that closes with ${code}: rejects, and tells how it was closed`, async t => {
    const url = await counting(t, connection => { connection.close(code, 'why') })
    const error = await go(url, waitForClose).then(() => null, error => error)
    t.ok(error instanceof ConnectionClosedError)
    t.match(error, { closeCode: code, closeInfo: { code, reason: 'why', cause: 'peer' }, message: `the connection was closed with close code ${code} (why), and reconnect() does not try again` })
  })
}

test('a message that is too large would come again', async t => {
  const url = await counting(t, connection => { connection.send(Buffer.alloc(1000)) })
  await t.rejects(go(url, async connection => { for await (const message of connection) void message }, { maxPayload: 100 }), {
    name: 'ConnectionClosedError', closeInfo: { cause: 'protocol', sent: { code: 1009 } }, message: /^the connection was closed with 1009 by this side, close code 100\d/
  } as unknown as Error)
})

test('401: one attempt, and its HandshakeError', async t => {
  let count = 0
  const url = await answering(t, (request, response) => {
    count++
    refuse(401)(request, response)
  })
  const { states, onState } = telling()
  await t.rejects(go(url, nobody, { onState }), { name: 'HandshakeError', statusCode: 401 })
  t.equal(count, 1)
  t.strictSame(states, ['connecting 1', 'ended 1 HandshakeError'])
})

test('an error of the handler\'s own closes with 1011 and rejects; so does one of a listener, a callback or onState', async t => {
  const closed: number[] = []
  const url = await counting(t, connection => {
    connection.send('a')
    connection.on('close', code => { closed.push(code) })
  })
  const oops = new Error('oops')
  for (const handler of [
    () => { throw oops },
    async () => { throw oops },
    async function * () {
      yield 'b'
      throw oops
    },
    async connection => { for await (const message of connection) if (message === 'a') throw oops },
    connection => { connection.on('message', () => { throw oops }) },
    connection => { connection.send('b', () => { throw oops }) }
  ] as ReconnectHandler[]) {
    t.equal(await go(url, handler).then(() => null, error => error), oops)
  }
  await t.rejects(go(url, () => {}, { onState: ({ state }) => { if (state === 'open') throw oops } }), oops)
  await t.rejects(go(url, () => {}, { onState: ({ state }) => { if (state === 'connecting') throw oops } }), oops)
  await t.rejects(go(url, connection => { connection.close(1000) }, { onState: ({ state }) => { if (state === 'ended') throw oops } }), oops)
  t.strictSame(new Set(closed.slice(0, 6)), new Set([1011]))
  const restarting = await counting(t, connection => { connection.close(1012) })
  await t.rejects(go(restarting, async connection => { await connection.closed.finally(() => { throw oops }) }), oops)
})

test('an errorHandler decides about listeners, and what it throws rejects; the handler\'s error rejects in any case', async t => {
  const url = await counting(t, connection => {
    connection.send('a')
    connection.send('b')
    connection.on('message', () => { connection.close(1000) })
  })
  const errors: unknown[] = []
  const handler: ReconnectHandler = connection => {
    connection.on('message', data => {
      if (String(data) === 'a') throw new Error('oops')
      connection.send('enough')
    })
  }
  t.match(await go(url, handler, { errorHandler: error => { errors.push(error) } }), { code: 1000 })
  t.match(errors, [{ message: 'oops' }])
  await t.rejects(go(url, handler, { errorHandler: async () => { throw new Error('worse') } }), { message: 'worse' })
  await t.rejects(go(url, () => { throw new Error('mine') }, { errorHandler: error => { errors.push(error) } }), { message: 'mine' })
  t.equal(errors.length, 1)
})

test('a ConnectionClosedError of another connection is the handler\'s own error', async t => {
  const url = await counting(t, (connection, count) => { if (count % 2 === 1) connection.terminate() })
  await t.rejects(go(url, async () => {
    const other = await connect(url)
    for await (const message of other) void message
  }), { name: 'ConnectionClosedError', closeInfo: undefined })
  await t.rejects(go(url, async () => { throw 'a string' }), 'a string' as unknown as Error) // eslint-disable-line no-throw-literal
})

test('what connect() says of what it is given is final: URL, options, header fields', async t => {
  let calls = 0
  const retry = (): boolean => {
    calls++
    return true
  }
  for (const [url, options, error] of [
    ['ftp://127.0.0.1/', {}, { name: 'SyntaxError' }],
    ['nonsense', {}, { code: 'ERR_INVALID_URL' }],
    [() => 'nonsense', {}, { code: 'ERR_INVALID_URL' }],
    ['ws://127.0.0.1/', { maxPayLoad: 5 }, { name: 'TypeError', message: /unknown WebSocket option maxPayLoad/ }],
    ['ws://127.0.0.1/', { maxRedirects: -1 }, { name: 'TypeError', message: /maxRedirects/ }],
    ['ws://127.0.0.1/', { headers: { 'a b': 'c' } }, { code: 'ERR_INVALID_HTTP_TOKEN' }],
    ['ws://127.0.0.1/', { backoff: { min: 0 } }, { name: 'TypeError', message: /backoff\.min/ }]
  ] as Array<[ReconnectUrl, ReconnectOptions, Error]>) {
    await t.rejects(go(url, nobody, { retry, ...options }), error)
  }
  await t.rejects(reconnect('ws://127.0.0.1/', undefined as never), { name: 'TypeError', message: /a function that gets each connection/ })
  t.equal(calls, 0)
})

// Waiting

test('delays grow while attempts are in vain, and as long as no connection was open for stableAfter', async t => {
  const url = await counting(t, (connection, count) => { connection.close(count < 7 ? 1011 : 1000) })
  const { states, onState } = telling()
  await go(url, waitForClose, { onState })
  t.strictSame(states.filter(state => state.startsWith('waiting')), [
    'waiting 1 500 1011', 'waiting 2 1000 1011', 'waiting 3 2000 1011', 'waiting 4 4000 1011', 'waiting 5 8000 1011', 'waiting 6 15000 1011', 'waiting 7 15000 1011'
  ])
  t.strictSame(states.slice(-3), ['connecting 8', 'open 8', 'ended 8 1000'])
})

test('a connection that was open for stableAfter makes the next attempt the first again', async t => {
  const url = await counting(t, (connection, count) => { connection.close(count < 3 ? 1011 : 1000) })
  const { states, onState } = telling()
  await go(url, waitForClose, { onState, stableAfter: 0 })
  t.strictSame(states, [
    ...Array.from({ length: 3 }, () => ['connecting 1', 'open 1', 'waiting 0 500 1011']).flat(), 'connecting 1', 'open 1', 'ended 0 1000'
  ])
})

test('a server that is not there is asked again, until it is', async t => {
  const lost = createTcpServer()
  await once(lost.listen(0, '127.0.0.1'), 'listening')
  const { port } = lost.address() as AddressInfo
  await new Promise<void>(resolve => { lost.close(() => { resolve() }) })
  const outcomes: ReconnectOutcome[] = []
  const url = await counting(t, connection => { connection.close(1000) })
  await go(({ attempt, last }) => {
    if (last !== null) outcomes.push(last)
    return attempt < 3 ? `ws://127.0.0.1:${port}/` : url
  }, waitForClose)
  t.match(outcomes, [{ code: 'ECONNREFUSED' }, { code: 'ECONNREFUSED' }])
})

test('503 with Retry-After: not before that', async t => {
  const url = await answering(t, (request, response, count) => {
    const retryAfter = ['2', 'Thu, 01 Jan 1970 00:00:08 GMT', '-1'][count]
    refuse(retryAfter === undefined ? 404 : 503, { 'retry-after': retryAfter ?? '1' })(request, response)
  })
  const { states, onState } = telling()
  await t.rejects(go(url, nobody, { onState }), { statusCode: 404 } as unknown as Error)
  t.strictSame(states.filter(state => state.startsWith('waiting')), [
    'waiting 1 2500 HandshakeError', 'waiting 2 10000 HandshakeError', 'waiting 3 2000 HandshakeError'
  ])
})

test('retry() decides: no, yes, or in how many milliseconds; what it throws rejects', async t => {
  const url = await counting(t, connection => { connection.close(1000) })
  const { states, onState } = telling()
  const info = await go(url, waitForClose, { onState, retry: (outcome, { attempt }) => attempt < 3 ? [true, 77][attempt - 1]! : false })
  t.match(info, { code: 1000 })
  t.strictSame(states.filter(state => state.startsWith('waiting')), ['waiting 1 500 1000', 'waiting 2 77 1000'])
  const restarting = await counting(t, connection => { connection.close(1012) })
  await t.rejects(go(restarting, waitForClose, { retry: () => false }), { name: 'ConnectionClosedError', closeInfo: { code: 1012 } } as unknown as Error)
  await t.rejects(go(restarting, waitForClose, { retry: () => { throw new Error('oops') } }), { message: 'oops' })
  for (const wrong of [Infinity, -1, Number.NaN, undefined, Promise.resolve(true)]) {
    await t.rejects(go(restarting, waitForClose, { retry: () => wrong as never }), { name: 'TypeError', message: /retry\(\) must return true, false or a number/ })
  }
})

// URL and header fields

test('url and headers are made for each attempt, by functions that know how the one before ended', async t => {
  const seen: unknown[] = []
  const { site } = await serve(t, app => {
    let count = 0
    app.get('/ws', { websocket: true }, (connection, request) => {
      seen.push([request.url, request.headers.authorization])
      connection.close(count++ < 2 ? 1012 : 1000)
    })
  })
  await go(async ({ attempt, last, signal }) => {
    t.ok(signal instanceof AbortSignal)
    return `ws://127.0.0.1:${site.port}/ws?attempt=${attempt}&last=${(last as CloseInfo | null)?.code}`
  }, waitForClose, { headers: ({ attempt }) => ({ authorization: `ticket ${attempt}` }) })
  t.strictSame(seen, [
    ['/ws?attempt=1&last=undefined', 'ticket 1'], ['/ws?attempt=2&last=1012', 'ticket 2'], ['/ws?attempt=3&last=1012', 'ticket 3']
  ])
})

test('what url() or headers() rejects with is judged by its status, whatever its class', async t => {
  let calls = 0
  await t.rejects(go(() => {
    if (++calls < 4) throw new TypeError('fetch failed')
    throw Object.assign(new Error('no ticket'), { statusCode: 403 })
  }, nobody), { message: 'no ticket' })
  t.equal(calls, 4)
  await t.rejects(go('ws://127.0.0.1/', nobody, { headers: async () => { throw Object.assign(new Error('no'), { status: 401 }) } }), { status: 401 } as unknown as Error)
})

test('url() that does not answer within handshakeTimeout is given up, and told', async t => {
  const signals: AbortSignal[] = []
  await t.rejects(go(({ signal }) => {
    signals.push(signal)
    return signals.length === 1 ? new Promise(() => {}) : Promise.reject(Object.assign(new Error('enough'), { status: 400 }))
  }, nobody, { handshakeTimeout: 5 }), { message: 'enough' })
  t.match(signals[0]!.reason, { code: 'FST_WS_HANDSHAKE_TIMEOUT', message: /url\(\) and headers\(\) have not answered within 5 ms/ })
})

// The signal

/** Aborts while `state` is, and tells what came of it. */
async function abortIn (state: string, url: ReconnectUrl, handler: ReconnectHandler, options: ReconnectOptions = {}): Promise<{ error: unknown, signal: AbortSignal, states: string[] }> {
  const controller = new AbortController()
  const { states, onState } = telling()
  const error = await within(10_000, reconnect(url, handler, {
    ...options,
    signal: controller.signal,
    onState: event => {
      onState(event)
      if (event.state === state) setImmediate(() => { controller.abort(new Error('enough')) })
    }
  }).then(() => null, error => error), 'the abort')
  return { error, signal: controller.signal, states }
}

test('a signal ends it in url(), while connecting, open and waiting, and nothing is left', async t => {
  const silent = await portOf(t, createTcpServer(socket => { t.teardown(() => { socket.destroy() }) }))
  const closed: number[] = []
  const open = await counting(t, connection => { connection.on('close', code => { closed.push(code) }) })
  const restarting = await counting(t, connection => { connection.close(1012) })
  for (const [state, url, handler, states] of [
    ['connecting', () => new Promise(() => {}), nobody, ['connecting 1', 'ended 1 Error']],
    ['connecting', silent, nobody, ['connecting 1', 'ended 1 Error']],
    ['open', open, waitForClose, ['connecting 1', 'open 1', 'ended 1 Error']],
    ['open', open, async (connection: WebSocketConnection) => { for await (const message of connection) void message }, ['connecting 1', 'open 1', 'ended 1 Error']],
    ['waiting', restarting, waitForClose, null]
  ] as Array<[string, ReconnectUrl, ReconnectHandler, string[] | null]>) {
    const { error, signal, states: told } = await abortIn(state, url, handler, { backoff: { min: 600_000, max: 600_000 } })
    t.match(error, { message: 'enough' })
    if (states !== null) t.strictSame(told, states)
    t.equal(getEventListeners(signal, 'abort').length, 0)
  }
  t.strictSame(closed, [1001, 1001])
})

test('a signal that is aborted already, or by a callback, ends it before the next step', async t => {
  const url = await counting(t, connection => { connection.close(1012) })
  await t.rejects(go(url, nobody, { signal: AbortSignal.abort(new Error('enough')) }), { message: 'enough' })
  for (const state of ['connecting', 'open', 'waiting']) {
    const controller = new AbortController()
    await t.rejects(go(url, () => {}, {
      signal: controller.signal, onState: event => { if (event.state === state) controller.abort(new Error('enough')) }
    }), { message: 'enough' }, state)
  }
  const controller = new AbortController()
  await t.rejects(go(() => {
    controller.abort(new Error('enough'))
    return url
  }, nobody, { signal: controller.signal }), { message: 'enough' })
})

test('a peer or a handler that does not come to an end is waited for up to closeTimeout', async t => {
  const url = await portOf(t, createServer().on('upgrade', (request, socket) => {
    void import('node:crypto').then(({ createHash }) => {
      const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
    })
    t.teardown(() => { socket.destroy() })
  }))
  const ends: CloseInfo[] = []
  const { error } = await abortIn('open', url, async connection => {
    void connection.closed.then(info => { ends.push(info) })
    await new Promise(() => {})
  }, { closeTimeout: 20 })
  t.match(error, { message: 'enough' })
  t.match(ends, [{ code: 1006, sent: { code: 1001 }, cause: 'local' }])
})

test('ref: false lets a process end that only waits', async t => {
  const waited = deferred()
  const url = await counting(t, connection => { connection.close(1012) })
  const refs: boolean[] = []
  for (const ref of [true, false]) {
    const controller = new AbortController()
    const surroundings: Surroundings = {
      ...HALF,
      setTimeout: callback => {
        const timer = setTimeout(callback, 600_000)
        setImmediate(() => {
          refs.push(timer.hasRef())
          controller.abort(new Error('enough'))
          waited.resolve()
        })
        return timer
      }
    }
    await t.rejects(reconnectIn(surroundings, url, waitForClose, { ref, signal: controller.signal }), { message: 'enough' })
  }
  await waited.promise
  t.strictSame(refs, [true, false])
})
