// The loop for pages, in Node with what it wants of a page; in browsers: test/browser/reconnect.test.ts.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { test, type Test } from 'tap'
import { minify } from 'terser'
import ts from 'typescript'
import { WebSocket } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { deferred, serve, within } from '../helpers/http.ts'

// its types are those of the DOM, which nothing else here knows
const FILE = '../../lib/page/reconnect.ts'
type Loop = (url: unknown, handler: (connection: PageConnection, attempt: { attempt: number, last: any }) => unknown, options?: object) => Promise<any>
const { reconnect }: { reconnect: Loop } = await import(FILE as string)

interface PageConnection extends AsyncIterable<any> {
  socket: WebSocketConnection
  closed: Promise<any>
  signal: AbortSignal
  send (message: unknown): boolean
  drained (): Promise<boolean>
  receive (): Promise<any>
  close (code?: number, reason?: string): void
}

interface Page {
  window: EventTarget
  document: EventTarget & { hidden: boolean }
  fetched: unknown[][]
}

/** Puts a page around the test. */
function open (t: Test, host: string): Page {
  const { setTimeout } = globalThis
  const page: Page = { window: new EventTarget(), document: Object.assign(new EventTarget(), { hidden: false }), fetched: [] }
  const given = {
    ...page,
    location: { href: `http://${host}/page`, host },
    // as a browser's: it takes http: too, and knows one kind of event
    WebSocket: function (url: URL, protocols?: string[]) { return new WebSocket(String(url), protocols ?? []) },
    fetch: async (...args: unknown[]) => { page.fetched.push(args) },
    // a page does not mind timers that are left behind, a process does
    setTimeout: (callback: () => void, milliseconds: number, ...args: []) => {
      const timer = setTimeout(callback, milliseconds, ...args)
      return milliseconds >= 10_000 ? timer.unref() : timer
    }
  }
  const before = Object.fromEntries(Object.keys(given).map(name => [name, Object.getOwnPropertyDescriptor(globalThis, name)]))
  for (const [name, value] of Object.entries(given)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
  t.teardown(() => {
    for (const [name, descriptor] of Object.entries(before)) {
      if (descriptor === undefined) Reflect.deleteProperty(globalThis, name)
      else Object.defineProperty(globalThis, name, descriptor)
    }
  })
  return page
}

/** A server whose handler knows how many connections were before, and a page of it. */
async function start (t: Test, handler: (connection: WebSocketConnection, count: number, url: string) => unknown): Promise<Page> {
  let count = 0
  const { site } = await serve(t, app => {
    app.get('/*', { websocket: true }, (connection, request) => { handler(connection as WebSocketConnection, count++, request.url) })
  })
  return open(t, `127.0.0.1:${site.port}`)
}

const QUICK = { backoff: { min: 1, max: 1 } }
const go = (...args: Parameters<Loop>): Promise<any> => within(20_000, reconnect(args[0], args[1], { ...QUICK, ...args[2] }), 'the end')

test('minified it has at most 1.5 KiB, compressed', async t => {
  const { outputText } = ts.transpileModule(readFileSync(new URL(FILE, import.meta.url), 'utf8'), { compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext } })
  const { code } = await minify(outputText, { module: true })
  const { length } = gzipSync(code!, { level: 9 })
  t.ok(length <= 1536, `${length} bytes`)
})

for (const [body, handler] of Object.entries({
  'for await': async (connection: PageConnection, take: (message: unknown) => void) => { for await (const message of connection) take(message) },
  'receive()': async (connection: PageConnection, take: (message: unknown) => void) => {
    for (let message; (message = await connection.receive()) !== null;) take(message)
  },
  events: (connection: PageConnection, take: (message: unknown) => void) => { connection.socket.addEventListener('message', ({ data }) => { take(data) }) }
})) {
  test(`${body}: every connection is followed by the next, up to a 1000`, async t => {
    const cuts = [4000, 1012, 1011, null, 1001]
    await start(t, (connection, count) => {
      connection.on('message', data => {
        if (String(data) === 'hello') {
          connection.send(`life ${count}`)
          return
        }
        const cut = cuts[count]
        if (cut === null) connection.terminate()
        else connection.close(cut ?? 1000, 'bye')
      })
    })
    const taken: unknown[] = []
    const lasts: unknown[] = []
    const info = await go('/ws', (connection, { attempt, last }) => {
      t.equal(attempt, taken.length + 1)
      lasts.push(last?.code)
      connection.send('hello')
      return handler(connection, message => {
        taken.push(message)
        connection.send('got it')
      })
    })
    t.match(info, { code: 1000, reason: 'bye', wasClean: true, sent: null })
    t.strictSame(taken, ['life 0', 'life 1', 'life 2', 'life 3', 'life 4', 'life 5'])
    t.strictSame(lasts, [undefined, 4000, 1012, 1011, 1006, 1001])
  })
}

test('what it closes itself with 1000, or by leaving the loop, is the end; with another code it comes back', async t => {
  await start(t, connection => { connection.send('a') })
  t.match(await go('/ws', connection => { connection.close() }), { sent: { code: 1000 } })
  t.match(await go('/ws', async connection => { for await (const message of connection) if (message === 'a') break }), { sent: { code: 1000 } })
  let lives = 0
  await go('/ws', connection => { connection.close(++lives < 3 ? 4001 : 1000, 'because') })
  t.equal(lives, 3)
})

for (const code of [1002, 1003, 1007, 1008, 1009, 1010]) {
  test(`${code}: rejects`, async t => {
    await start(t, connection => { connection.close(code) })
    await t.rejects(go('/ws', () => {}), { name: 'Error', code, message: `closed with ${code}` } as unknown as Error)
  })
}

test('an error of the handler\'s own closes with 4011 and rejects; that the connection has ended it may let through', async t => {
  const codes: number[] = []
  await start(t, (connection, count) => {
    connection.on('close', code => { codes.push(code) })
    if (count > 1) connection.close(count === 2 ? 4000 : 1000)
  })
  const oops = new Error('oops')
  t.equal(await go('/ws', () => { throw oops }).catch(error => error), oops)
  t.equal(await go('/ws', async connection => { for await (const message of connection) if (message === 'a') throw oops }, { onState: ({ state }: any) => { if (state === 'open') throw oops } }).catch(error => error), oops)
  await go('/ws', async connection => {
    await once(new EventTarget(), 'never', { signal: connection.signal })
  })
  while (codes.length < 4) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(codes[0], 4011)
})

test('messages are values of JSON where that is said, and bytes are an ArrayBuffer otherwise', async t => {
  await start(t, connection => {
    connection.on('message', data => {
      connection.send(String(data))
      connection.send(Buffer.from([1, 2]))
    })
  })
  await go('/ws', async connection => {
    connection.send({ hello: 1 })
    t.strictSame(await connection.receive(), { hello: 1 })
    connection.close()
  }, { json: true })
  await go('/ws', async connection => {
    connection.send('text')
    t.equal(await connection.receive(), 'text')
    t.strictSame(new Uint8Array(await connection.receive()), new Uint8Array([1, 2]))
    connection.close()
    t.equal(connection.send('more'), false)
    t.equal(await connection.drained(), false)
  })
})

test('send() says when 64 KiB wait, and drained() when they do not', async t => {
  await start(t, connection => { connection.resume() })
  await go('/ws', async connection => {
    t.equal(connection.send('a'), true)
    Object.defineProperty(connection.socket, 'bufferedAmount', { value: 64 * 1024, configurable: true })
    t.equal(connection.send('b'), false)
    const drained = connection.drained()
    setImmediate(() => { Reflect.deleteProperty(connection.socket, 'bufferedAmount') })
    t.equal(await drained, true)
    connection.close()
  })
})

test('url may be a function, of which a rejection is judged by its status', async t => {
  const urls: string[] = []
  await start(t, (connection, count, url) => {
    urls.push(url)
    connection.close(count < 1 ? 1012 : 1000)
  })
  await go(async ({ attempt, last, signal }: any) => {
    t.ok(signal instanceof AbortSignal)
    if (attempt === 1) throw new TypeError('offline')
    return `/ws?attempt=${attempt}&last=${last.code ?? last.message}`
  }, () => {})
  t.strictSame(urls, ['/ws?attempt=2&last=offline', '/ws?attempt=3&last=1012'])
  for (const error of [{ status: 401 }, { statusCode: 404 }]) {
    await t.rejects(go(() => { throw Object.assign(new Error('no ticket'), error) }, () => {}), { message: 'no ticket' })
  }
  let calls = 0
  await t.rejects(go(() => {
    if (++calls === 1) throw Object.assign(new Error('later'), { status: 503 })
    if (calls === 2) return new Promise(() => {})
    throw Object.assign(new Error('enough'), { status: 400 })
  }, () => {}, { handshakeTimeout: 5 }), { message: 'enough' })
  await t.rejects(go('http://[', () => {}), { code: 'ERR_INVALID_URL' })
})

test('a handshake that takes too long is lost, and comes again', async t => {
  let connections = 0
  await start(t, connection => {
    connections++
    connection.close(1000)
  })
  const slow = { ...QUICK, handshakeTimeout: 1 }
  const pageOf = globalThis as unknown as { WebSocket: new (url: URL) => object }
  const Real = pageOf.WebSocket
  let count = 0
  // its 'open' comes too late
  Object.assign(pageOf, { WebSocket: function (url: URL) { return count++ === 0 ? Object.assign(new EventTarget(), { readyState: 0, close () {} }) : new Real(url) } })
  const outcomes: unknown[] = []
  await within(20_000, reconnect('/ws', () => {}, {
    ...slow,
    handshakeTimeout: 300,
    retry: (outcome: any) => {
      outcomes.push(outcome.code)
      return outcome.code !== 1000
    }
  }), 'the end')
  t.strictSame(outcomes, [1006, 1000])
  t.equal(connections, 1)
})

test('delays grow by the backoff, begin again behind a connection that was stable, and are what retry() says', async t => {
  await start(t, connection => { connection.on('message', () => { connection.close(1012) }) })
  const { random } = Math
  t.teardown(() => { Math.random = random })
  Math.random = () => 0.5
  const hello = (connection: PageConnection): unknown => connection.send('hello')
  const delays: number[] = []
  const onState = ({ state, delay }: any): void => { if (state === 'waiting') delays.push(delay) }
  let count = 0
  await t.rejects(go('/ws', hello, { onState, backoff: { min: 2, max: 12 }, retry: () => ++count < 6 }), { code: 1012 } as unknown as Error)
  t.strictSame(delays.splice(0), [1, 2, 4, 6, 6])
  count = 0
  await t.rejects(go('/ws', hello, { onState, backoff: { min: 2 }, stableAfter: 0, retry: () => ++count < 4 }), { code: 1012 } as unknown as Error)
  t.strictSame(delays.splice(0), [1, 1, 1])
  count = 0
  await t.rejects(go('/ws', hello, { onState, retry: () => ++count < 3 ? count : false }), { code: 1012 } as unknown as Error)
  t.strictSame(delays, [1, 2])
})

test('before it comes back to the page\'s own host it fetches from there', async t => {
  const { fetched } = await start(t, (connection, count) => { connection.close(count % 2 === 0 ? 1012 : 1000) })
  const { location } = globalThis as unknown as { location: { href: string, host: string } }
  await go('/ws', () => {})
  t.strictSame(fetched, [['/', { method: 'HEAD' }]])
  Object.assign(location, { host: 'other.example' })
  await go('/ws', () => {})
  t.equal(fetched.length, 1)
  Object.assign(globalThis, { fetch: async () => { throw new TypeError('offline') } })
  Object.assign(location, { host: new URL(location.href).host })
  await go('/ws', () => {})
})

test('pagehide closes with 1000, and pageshow comes back', async t => {
  const closes: number[] = []
  const { window } = await start(t, connection => { connection.on('close', code => { closes.push(code) }) })
  const states: string[] = []
  let lives = 0
  const hidden = deferred()
  const done = go('/ws', async connection => {
    if (++lives === 2) connection.close()
    else window.dispatchEvent(new Event('pagehide'))
    await connection.closed
  }, {
    onState: ({ state }: any) => {
      states.push(state)
      if (state === 'waiting') hidden.resolve()
    }
  })
  await hidden.promise
  for (let turn = 0; turn < 20; turn++) await new Promise(resolve => { setTimeout(resolve, 1) })
  t.equal(lives, 1, 'a page that is away does not come back')
  window.dispatchEvent(new Event('pageshow'))
  await done
  t.equal(closes[0], 1000)
  t.strictSame(states, ['connecting', 'open', 'waiting', 'connecting', 'open', 'ended'])
})

test('a page that is shown before its connection has closed is no page that is done', async t => {
  const { window } = await start(t, () => {})
  let lives = 0
  await go('/ws', async connection => {
    if (++lives === 2) connection.close()
    else {
      window.dispatchEvent(new Event('pagehide'))
      window.dispatchEvent(new Event('pageshow'))
    }
  })
  t.equal(lives, 2)
})

test('online, and a page that is visible again, end the wait', async t => {
  const { window, document } = await start(t, (connection, count) => { connection.close(count < 2 ? 1012 : 1000) })
  const { random } = Math
  t.teardown(() => { Math.random = random })
  Math.random = () => 0
  let waits = 0
  await go('/ws', () => {}, {
    retry: (outcome: any) => outcome.code === 1000 ? false : 600_000,
    onState: ({ state }: any) => {
      if (state !== 'waiting') return
      const wait = waits++
      setImmediate(() => {
        document.hidden = true
        document.dispatchEvent(new Event('visibilitychange'))
        document.hidden = false
        if (wait === 0) window.dispatchEvent(new Event('online'))
        else document.dispatchEvent(new Event('visibilitychange'))
      })
    }
  })
  t.equal(waits, 2)
})

test('a signal ends it in url(), while connecting, open and waiting', async t => {
  await start(t, (connection, count) => { if (count > 1) connection.close(1012) })
  for (const state of ['connecting', 'open', 'open', 'waiting']) {
    const controller = new AbortController()
    const reason = new Error('enough')
    const signals: AbortSignal[] = []
    const error = await go(({ signal }: any) => {
      signals.push(signal)
      return state === 'connecting' ? new Promise(() => {}) : '/ws'
    }, connection => connection.closed, {
      signal: controller.signal,
      retry: () => 50,
      onState: (event: any) => { if (event.state === state) setImmediate(() => { controller.abort(reason) }) }
    }).catch(error => error)
    t.equal(error, reason, state)
    t.equal(signals[0]!.aborted, true)
  }
  await t.rejects(go('/ws', () => {}, { signal: AbortSignal.abort(new Error('before')) }), { message: 'before' })
})
