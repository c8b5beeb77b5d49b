// Who is let in: the options origin and verifyClient, over a real Fastify app.
import type { FastifyServerOptions } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { test, type Test } from 'tap'
import type { OriginRule, VerifyClient, WebSocketRouteOptions } from '../../types/options.ts'
import { CERTIFICATE, deferred, echo, handshake, problem, serve, text, within, type Fields, type Site } from '../helpers/http.ts'

async function serveWith (t: Test, options: WebSocketRouteOptions, server?: FastifyServerOptions): Promise<Site> {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: options }, echo) }, server === undefined ? {} : { server })
  return site
}

async function statusOf (site: Site, fields: Fields): Promise<number> {
  const peer = await site.connect()
  const { statusCode } = await peer.write(handshake('/ws', fields)).answer()
  peer.reset()
  return statusCode
}

test('by default a page of the same origin is let in, and who is no browser', async t => {
  const site = await serveWith(t, {})
  t.equal(await statusOf(site, { Host: 'example.com:8000', Origin: 'http://example.com:8000' }), 101)
  t.equal(await statusOf(site, {}), 101)
})

test('by default a client that names its WebSocket URL as its origin is let in', async t => {
  const site = await serveWith(t, {})
  t.equal(await statusOf(site, { Host: 'example.com:8000', Origin: 'ws://example.com:8000' }), 101)
  t.equal(await statusOf(site, { Host: 'example.com', Origin: 'wss://example.com' }), 101)
  t.equal(await statusOf(site, { Host: 'example.com', Origin: 'ws://evil.example' }), 403)
})

test('by default a page of another origin gets 403, with what it was compared with and the ways out', async t => {
  const site = await serveWith(t, {})
  for (const origin of ['http://evil.example', 'null', '', 'nonsense', 'https://server.example.com:444']) {
    t.equal(await statusOf(site, { Origin: origin }), 403, origin)
  }
  const answer = await site.ask(handshake('/ws', { Origin: 'http://evil.example' }))
  t.strictSame(problem(answer), {
    statusCode: 403,
    code: 'FST_WS_ORIGIN',
    error: 'Forbidden',
    message: 'pages of "http://evil.example" must not open a WebSocket here: the option origin allows pages of the same origin, ' +
      'and this request is for "server.example.com". If a proxy changes the host, let it pass on the Host header field, ' +
      'or set trustProxy if it sends X-Forwarded-Host; to allow other origins, list them in the option origin'
  })
  const trusting = await serveWith(t, { origin: ['https://a.example', 'same-origin'] }, { trustProxy: true })
  const forwarded = { 'X-Forwarded-Host': 'example.com', 'X-Forwarded-Proto': 'https', Origin: 'http://example.com' }
  t.match(problem(await trusting.ask(handshake('/ws', forwarded))).message, 'this request is for "https://example.com".', 'TLS counts')
})

test('what origins a site lets in is not told to those of others', async t => {
  const site = await serveWith(t, { origin: ['https://a.example', 'https://b.example'] })
  const answer = await site.ask(handshake('/ws', { Origin: 'http://evil.example' }))
  t.equal(problem(answer).message, 'pages of "http://evil.example" must not open a WebSocket here: the option origin does not allow it')
})

test('more than one Origin field is refused, whatever would match them all', async t => {
  for (const origin of ['same-origin', /.*/, () => true] as OriginRule[]) {
    const site = await serveWith(t, { origin })
    t.equal(await statusOf(site, { Origin: 'http://server.example.com' }), 101)
    for (const second of ['http://evil.example', 'http://server.example.com']) {
      const answer = await site.ask(handshake('/ws', { Origin: ['http://server.example.com', second] }))
      t.match(problem(answer), { statusCode: 403, message: 'the opening handshake must not have more than one Origin header field (option origin)' })
    }
  }
})

test('behind a proxy that ends TLS a page over https is let in, trusted or not', async t => {
  const fields = { Host: 'example.com', Origin: 'https://example.com', 'X-Forwarded-Proto': 'https' }
  t.equal(await statusOf(await serveWith(t, {}), fields), 101)
  const trusting = await serveWith(t, {}, { trustProxy: true })
  t.equal(await statusOf(trusting, fields), 101)
  t.equal(await statusOf(trusting, { ...fields, 'X-Forwarded-Proto': 'wss' }), 101)
  t.equal(await statusOf(trusting, { ...fields, Origin: 'http://example.com' }), 403, 'TLS is known, so a page without is another origin')
})

test('the forwarded host counts where the proxy is trusted, and only there', async t => {
  const fields = { Host: 'internal:3000', 'X-Forwarded-Host': 'example.com', Origin: 'https://example.com' }
  t.equal(await statusOf(await serveWith(t, {}, { trustProxy: true }), fields), 101)
  t.equal(await statusOf(await serveWith(t, {}), fields), 403)
})

test('over TLS a page that was loaded without is another origin', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { server: { https: CERTIFICATE } as FastifyServerOptions })
  for (const [origin, statusCode] of [['https://server.example.com', 101], ['http://server.example.com', 403]] as const) {
    const peer = await site.connect({ tls: true })
    t.equal((await peer.write(handshake('/ws', { Origin: origin })).answer()).statusCode, statusCode, origin)
    peer.socket.destroy()
  }
})

const rules: Array<[rule: OriginRule, allowed: string[], refused: string[]]> = [
  ['*', ['http://evil.example', 'null', 'nonsense'], []],
  ['https://a.example', ['https://a.example', 'https://a.example:443'], ['http://a.example', 'https://b.example', 'http://server.example.com']],
  [['https://a.example', /^https:\/\/\w+\.b\.example$/, 'null'], ['https://a.example', 'https://x.b.example', 'null'], ['https://b.example', 'https://x.b.example.evil', 'http://server.example.com']],
  [['same-origin', 'https://a.example'], ['http://server.example.com', 'https://a.example'], ['https://b.example']],
  [[], [], ['http://server.example.com']],
  ['file://', ['file://'], ['file://evil', 'null', 'http://server.example.com']],
  ['https://a.example/', ['https://a.example', 'wss://a.example'], ['https://a.example/', 'http://a.example', 'ws://a.example']],
  [/https:\/\/\w+\.a\.example/, ['https://x.a.example'], ['https://x.a.example.evil.example', 'https://evil.example?https://x.a.example']],
  [origin => origin.endsWith('.a.example'), ['https://x.a.example'], ['http://server.example.com']],
  [async origin => origin === 'https://a.example', ['https://a.example'], ['https://b.example']]
]
for (const [rule, allowed, refused] of rules) {
  test(`origin: ${String(rule)} lets in ${allowed.join(', ') || 'no page'}`, async t => {
    const site = await serveWith(t, { origin: rule })
    for (const origin of allowed) t.equal(await statusOf(site, { Origin: origin }), 101, origin)
    for (const origin of refused) t.equal(await statusOf(site, { Origin: origin }), 403, origin)
    t.equal(await statusOf(site, {}), 101, 'no Origin')
  })
}

test('an origin function gets the request behind its hooks', async t => {
  const { site } = await serve(t, app => {
    app.get<{ Params: { tenant: string } }>('/:tenant', {
      websocket: { origin: (origin, request) => origin === `https://${(request.params as { tenant: string }).tenant}.example` }
    }, echo)
  })
  t.equal((await site.ask(handshake('/a', { Origin: 'https://b.example' }))).statusCode, 403)
  await site.open('/a', { Origin: 'https://a.example' })
})

test('an origin function that fails refuses with 500, or with the status code of its error', async t => {
  for (const [fail, statusCode] of [
    [() => { throw new Error('broken') }, 500],
    [async () => { throw Object.assign(new Error('not now'), { statusCode: 429 }) }, 429],
    // eslint-disable-next-line prefer-promise-reject-errors
    [() => Promise.reject('a string'), 500],
    // eslint-disable-next-line prefer-promise-reject-errors
    [() => Promise.reject(undefined), 500]
  ] as Array<[OriginRule, number]>) {
    const site = await serveWith(t, { origin: fail })
    t.equal(await statusOf(site, { Origin: 'https://a.example' }), statusCode)
  }
})

test('a client that leaves while an origin function decides is let go, whatever the decision', async t => {
  for (const verdict of [true, false]) {
    const decision = deferred<boolean>()
    const asked = deferred()
    const { app, site } = await serve(t, app => {
      app.get('/ws', {
        websocket: {
          maxConnections: 1,
          origin: () => {
            asked.resolve()
            return decision.promise
          }
        }
      }, () => { t.fail('nobody is there') })
    })
    const peer = await site.connect()
    peer.write(handshake('/ws', { Origin: 'https://a.example' }))
    await asked.promise
    peer.reset()
    await within(2000, site.emptied(), 'no connection is left')
    decision.resolve(verdict)
    await new Promise(resolve => { setImmediate(resolve) })
    t.equal(app.websocketServer.clients.size, 0)
  }
})

test('a malformed handshake is refused before anybody is asked', async t => {
  const site = await serveWith(t, { origin: () => { throw new Error('it was asked') } })
  t.equal(await statusOf(site, { Origin: 'https://a.example', 'Sec-WebSocket-Key': 'short' }), 400)
})

// verifyClient, as in ws

test('verifyClient judges instead of origin, by what it returns', async t => {
  const seen: Array<{ origin: string | undefined, secure: boolean, req: IncomingMessage }> = []
  const site = await serveWith(t, {
    verifyClient: info => {
      seen.push(info)
      return info.origin === 'https://a.example'
    }
  })
  t.equal(await statusOf(site, { Origin: 'https://a.example' }), 101)
  t.equal(await statusOf(site, { Origin: 'http://server.example.com' }), 401)
  t.equal(await statusOf(site, {}), 401)
  t.strictSame(seen.map(({ origin, secure, req }) => [origin, secure, req.url]), [
    ['https://a.example', false, '/ws'], ['http://server.example.com', false, '/ws'], [undefined, false, '/ws']
  ])
})

test('verifyClient judges by its callback, with a status code, a message and header fields', async t => {
  const verifyClient: VerifyClient = ({ req }, answer) => {
    setImmediate(() => {
      if (req.headers.authorization === 'yes') answer(true)
      else answer(false, 402, 'pay first', { 'x-price': 5, 'x-list': ['a', 'b'], 'x-none': undefined })
    })
  }
  const site = await serveWith(t, { verifyClient })
  t.equal(await statusOf(site, { Authorization: 'yes' }), 101)
  const answer = await site.ask(handshake('/ws'))
  t.match(answer, { statusCode: 402, headers: { 'x-price': '5', 'x-list': 'a, b', 'x-none': undefined } })
  t.match(problem(answer), { message: 'pay first', code: 'FST_WS_VERIFY_CLIENT' })
})

test('a verifyClient that is async is waited for, and one that fails refuses', async t => {
  t.equal(await statusOf(await serveWith(t, { verifyClient: async () => false }), {}), 401, 'a promise is true, what it resolves with is not')
  t.equal(await statusOf(await serveWith(t, { verifyClient: async () => true }), {}), 101)
  t.equal(await statusOf(await serveWith(t, { verifyClient: () => { throw new Error('broken') } }), {}), 500)
  t.equal(await statusOf(await serveWith(t, { verifyClient: async (_info, _callback) => { throw new Error('broken') } }), {}), 500)
})

test('verifyClient under options, as for @fastify/websocket', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { plugin: { options: { verifyClient: () => false } } })
  t.equal(await statusOf(site, {}), 401)
})

test('what is let in works', async t => {
  const peer = await (await serveWith(t, { origin: async () => true })).open('/ws', { Origin: 'https://a.example' })
  t.strictSame(await peer.write(text('hello')).contents(1), ['hello'])
})

test('what verifyClient leaves out may be null', async t => {
  const site = await serveWith(t, { verifyClient: (_info, answer) => { setImmediate(answer, false, null as never, null as never, null as never) } })
  const answer = await site.ask(handshake('/ws'))
  t.match(problem(answer), { statusCode: 401, message: 'verifyClient refused the handshake' })
})

test('an origin of a route is asked, whatever verifyClient its registration has', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: { origin: 'https://a.example' } }, echo)
    app.get('/other', { websocket: true }, echo)
    app.get('/own', { websocket: { origin: 'https://a.example', verifyClient: () => true } }, echo)
  }, { plugin: { verifyClient: () => true } })
  for (const [path, statusCode] of [['/ws', 403], ['/other', 101], ['/own', 101]] as const) {
    const peer = await site.connect()
    t.equal((await peer.write(handshake(path, { Origin: 'https://evil.example' })).answer()).statusCode, statusCode, path)
    peer.reset()
  }
})
