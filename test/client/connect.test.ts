// connect(): against servers of other hands, and servers that answer wrongly.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { duplexPair } from 'node:stream'
import { test, type Test } from 'tap'
import { WebSocketServer } from 'ws'
import { connect } from '../../lib/index.ts'
import type { ConnectOptions } from '../../types/options.ts'
import { CERTIFICATE, echo, serve, within } from '../helpers/http.ts'
import type { FastifyServerOptions } from 'fastify'

async function portOf (t: Test, server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

/** A server that answers every request with `answer`. */
async function answerWith (t: Test, answer: (key: string) => string): Promise<string> {
  const sockets = new Set<Socket>()
  t.teardown(() => { for (const socket of sockets) socket.destroy() })
  const port = await portOf(t, createTcpServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('data', data => {
      const key = /sec-websocket-key: (.*)\r\n/i.exec(String(data))![1]!
      socket.end(answer(key))
    })
  }))
  return `ws://127.0.0.1:${port}`
}

test('a server of ws: text, binary, fragments, a ping, a subprotocol and the closing handshake', async t => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  server.on('connection', (socket, request) => {
    socket.on('message', (data, isBinary) => {
      socket.send('frag', { fin: false })
      socket.send('mented')
      socket.send(data, { binary: isBinary })
    })
    socket.send(String(request.headers['x-own']))
  })
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/path?a=1`
  const client = await connect(url, { protocols: ['a', 'b'], headers: { 'X-Own': 'mine' } })
  t.strictSame([client.protocol, client.url, client.readyState, client.extensions], ['a', url, 1, ''])
  t.equal(await client.receive(), 'mine')
  client.send(Buffer.from([1, 2, 3]))
  t.equal(await client.receive(), 'fragmented')
  t.strictSame(await client.receive(), Buffer.from([1, 2, 3]))
  const pong = once(client, 'pong')
  client.ping('x')
  t.equal(String((await pong)[0]), 'x')
  client.close(4000, 'bye')
  t.match(await client.closed, { code: 4000, reason: 'bye', wasClean: true })
})

test('a user and a password in the URL, an IPv6 address, http: and a URL object', async t => {
  const { app, site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, (connection, request) => { connection.send(String(request.headers.authorization)) })
  })
  const client = await connect(new URL(`http://us%40er:pass@127.0.0.1:${site.port}/ws`))
  t.equal(await client.receive(), `Basic ${Buffer.from('us@er:pass').toString('base64')}`)
  client.terminate()
  t.equal(app.websocketServer.clients.size, 1)
  await t.rejects(connect('ws://[::1]:1/'), { code: /ECONNREFUSED|EADDRNOTAVAIL|EAFNOSUPPORT/ })
})

test('wss: with a certificate of one\'s own, and without trust in it', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { server: { https: CERTIFICATE } as FastifyServerOptions })
  const client = await connect(`wss://localhost:${site.port}/ws`, { request: { ca: CERTIFICATE.cert, host: '127.0.0.1' } })
  client.send('hello')
  t.equal(await client.receive(), 'hello')
  client.terminate()
  await t.rejects(connect(`wss://localhost:${site.port}/ws`), { code: /SELF_SIGNED|UNABLE_TO_VERIFY/ })
})

const wrongCalls: Array<[title: string, url: string, options: ConnectOptions, error: object]> = [
  ['ftp:', 'ftp://127.0.0.1/', {}, { name: 'SyntaxError', message: /begins with ws: or wss:, not ftp:/ }],
  ['no URL', 'nonsense', {}, { code: 'ERR_INVALID_URL' }],
  ['a fragment', 'ws://127.0.0.1/#a', {}, { name: 'SyntaxError', message: /fragment/ }],
  ['a subprotocol that is no token', 'ws://127.0.0.1/', { protocols: ['a b'] }, { name: 'TypeError', message: /protocols must be a list of tokens/ }],
  ['a subprotocol that is offered twice', 'ws://127.0.0.1/', { protocols: ['a', 'a'] }, { name: 'SyntaxError', message: /twice/ }],
  ['an unknown option', 'ws://127.0.0.1/', { maxPayLoad: 5 } as ConnectOptions, { name: 'TypeError', message: /unknown WebSocket option maxPayLoad/ }],
  ['a socket without a path', 'ws+unix:', {}, { name: 'SyntaxError', message: /ws\+unix:\/path\/to.sock:\/path/ }],
  ['maxRedirects that is no number', 'ws://127.0.0.1/', { maxRedirects: true as never }, { name: 'TypeError', message: /maxRedirects must be an integer from 0, not true/ }],
  ['an option out of range', 'ws://127.0.0.1/', { handshakeTimeout: 0 }, { name: 'TypeError', message: /handshakeTimeout must be/ }],
  ['a header field that cannot be sent', 'ws://127.0.0.1/', { headers: { 'a b': 'c' } }, { code: 'ERR_INVALID_HTTP_TOKEN' }]
]
for (const [title, url, options, error] of wrongCalls) {
  test(`${title}: rejects`, async t => { await t.rejects(connect(url, options), error as Error) })
}

const head = 'HTTP/1.1 101 Switching Protocols\r\n'
const wrongAnswers: Array<[title: string, answer: string, error: object]> = [
  ['no Connection field', `${head}Upgrade: websocket\r\n\r\n`, {
    code: 'FST_WS_UPGRADE', statusCode: 101, message: "the server's Connection header field does not switch to WebSocket, it is none"
  }],
  ['neither Connection nor Upgrade', `${head}\r\n`, { code: 'FST_WS_UPGRADE', message: /Upgrade header field/ }],
  ['no Upgrade field', `${head}Connection: Upgrade\r\nUpgrade: other\r\n\r\n`, { code: 'FST_WS_UPGRADE' }],
  ['a wrong Sec-WebSocket-Accept', `${head}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: wrong\r\n\r\n`, { code: 'FST_WS_ACCEPT' }],
  ['a refusal', 'HTTP/1.1 403 Forbidden\r\nX-Reason: none\r\nContent-Length: 3\r\n\r\nno!', {
    message: 'Unexpected server response: 403', statusCode: 403, body: 'no!', headers: { 'x-reason': 'none' }
  }],
  ['a redirect', 'HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n', { statusCode: 302, headers: { location: '/else' } }],
  ['a page', 'HTTP/1.1 200 OK\r\n\r\n<html>', { statusCode: 200, body: '<html>' }],
  ['a body that breaks off', 'HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nabc', { statusCode: 500, body: 'abc' }],
  ['nothing', '', {
    name: 'HandshakeError',
    code: 'ECONNRESET',
    statusCode: undefined,
    cause: { code: 'ECONNRESET' },
    message: 'the opening handshake failed, as it was not answered: socket hang up'
  }],
  ['no HTTP', 'hello\r\n\r\n', {
    name: 'HandshakeError', code: /^HPE_/, statusCode: undefined, cause: { code: /^HPE_/ }, message: /^the opening handshake failed, as its answer is not HTTP: /
  }]
]
for (const [title, answer, error] of wrongAnswers) {
  test(`a server that answers with ${title}: rejects`, async t => { await t.rejects(connect(await answerWith(t, () => answer)), error as Error) })
}

test('of a refusal 64 KiB are kept, and its framing is not among its header fields', async t => {
  const url = await answerWith(t, () => `HTTP/1.1 500 Oops\r\nContent-Length: 1000000\r\nContent-Type: text/plain\r\n\r\n${'x'.repeat(1_000_000)}`)
  const error = await connect(url).then(() => null, (error: { body: string, headers: object }) => error)
  t.equal(error!.body.length, 65_536)
  t.strictSame(error!.headers, { 'content-type': 'text/plain' })
})

test('a server that does not answer: rejects after handshakeTimeout', async t => {
  const port = await portOf(t, createTcpServer(socket => { t.teardown(() => { socket.destroy() }) }))
  await t.rejects(connect(`ws://127.0.0.1:${port}`, { handshakeTimeout: 50 }), {
    code: 'FST_WS_HANDSHAKE_TIMEOUT', statusCode: 504, message: 'the server has not answered the opening handshake within 50 ms'
  })
})

test('a signal gives up connecting, before and during the handshake, and does nothing afterwards', async t => {
  const port = await portOf(t, createTcpServer(socket => { t.teardown(() => { socket.destroy() }) }))
  const url = `ws://127.0.0.1:${port}`
  await t.rejects(connect(url, { signal: AbortSignal.abort() }), { name: 'AbortError' })
  const controller = new AbortController()
  const connecting = connect(url, { signal: controller.signal })
  setImmediate(() => { controller.abort() })
  await t.rejects(connecting, { name: 'AbortError' })
  await t.rejects(connect(url, { signal: AbortSignal.timeout(5) }), { name: 'TimeoutError', code: 23 })
  const reason = new Error('enough', { cause: 'why' })
  const other = new AbortController()
  const refused = connect(url, { signal: other.signal })
  setImmediate(() => { other.abort(reason) })
  t.equal(await refused.then(() => null, error => error), reason)
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const later = new AbortController()
  const client = await connect(`ws://127.0.0.1:${site.port}/ws`, { signal: later.signal })
  later.abort()
  client.send('still there')
  t.equal(await client.receive(), 'still there')
  client.terminate()
})

test('a listener that throws: the errorHandler, or a warning of the process and Close 1011', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, connection => { connection.send('a') })
  })
  const url = `ws://127.0.0.1:${site.port}/ws`
  const errors: unknown[] = []
  const tolerant = await connect(url, { errorHandler (error, connection) { errors.push(error, connection) } })
  tolerant.on('message', () => { throw new Error('oops') })
  while (errors.length === 0) await new Promise(resolve => { setImmediate(resolve) })
  t.match(errors[0], { message: 'oops' })
  t.equal(errors[1], tolerant)
  t.equal(tolerant.readyState, 1)
  tolerant.terminate()

  for (const [options, thrown, shown] of [
    [{}, new Error('oops'), /oops/],
    [{ errorHandler: () => { throw new Error('worse') } }, new Error('oops'), /worse/],
    [{ errorHandler: async () => { throw new Error('later') } }, new Error('oops'), /later/],
    [{}, Object.create(null), /object/],
    [{}, 'a string', /a string/]
  ] as Array<[ConnectOptions, unknown, RegExp]>) {
    const warned = once(process, 'warning') as Promise<[Error]>
    const client = await connect(url, options)
    client.on('message', () => { throw thrown })
    const [warning] = await warned
    t.match(warning, { name: 'WebSocketWarning', message: shown })
    t.match(await within(2000, client.closed, 'the end'), { code: 1006 })
  }
})

test('a client whose peer refuses an HTTP method entirely gets its status', async t => {
  const port = await portOf(t, createServer((_request, response) => { response.writeHead(405, { allow: 'POST' }).end() }))
  await t.rejects(connect(`ws://127.0.0.1:${port}`), { statusCode: 405, headers: { allow: 'POST' } } as unknown as Error)
})

test('createConnection is asked for the connection, which may be any Duplex', async t => {
  const { app } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const [here, there] = duplexPair()
  app.server.emit('connection', there)
  const client = await connect('ws://localhost/ws', { request: { createConnection: () => here } })
  const bytes = Buffer.alloc(100_000, 'x')
  client.send(bytes)
  t.ok((await client.receive() as Buffer).equals(bytes))
  t.ok(bytes.equals(Buffer.alloc(100_000, 'x')), 'what was sent is as it was')
  client.close(1000)
  t.match(await client.closed, { code: 1000, wasClean: true })
})

test('an undefined header field is none, and a URL must be percent-encoded', async t => {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) })
  const client = await connect(`ws://127.0.0.1:${site.port}/ws`, { headers: { authorization: undefined } })
  client.terminate()
  await t.rejects(connect('ws://a%:b@127.0.0.1/'), { name: 'SyntaxError', message: /percent-encoded/ })
})

test('a refusal whose body never ends is told after handshakeTimeout, with what has come of it', async t => {
  const sockets: Socket[] = []
  t.teardown(() => { for (const socket of sockets) socket.destroy() })
  const port = await portOf(t, createTcpServer(socket => {
    sockets.push(socket)
    socket.once('data', () => { socket.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nno') })
  }))
  await t.rejects(connect(`ws://127.0.0.1:${port}`, { handshakeTimeout: 50 }), { statusCode: 401, body: 'no' } as unknown as Error)
})

/** A server that sends from / to `target`, and on other URLs refuses with what it was asked. */
async function redirecting (t: Test, target: string): Promise<string> {
  return `ws://127.0.0.1:${await portOf(t, createServer((request, response) => {
    if (request.url === '/') response.writeHead(302, { location: target }).end('elsewhere')
    else response.writeHead(403).end(JSON.stringify([request.url, request.headers.authorization, request.headers.cookie, request.headers['x-own']]))
  }))}`
}

const SECRETS = { authorization: 'secret', cookie: 'a=b', 'x-own': 'mine' }

test('redirects are followed where the options say so, and credentials stay with the host that they are for', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, (connection, { headers }) => { connection.send(JSON.stringify([headers.host, headers.authorization, headers['x-own']])) })
  })
  const open = `ws://127.0.0.1:${site.port}/ws`
  const url = await redirecting(t, open)
  await t.rejects(connect(url, { headers: SECRETS }), { statusCode: 302, headers: { location: open }, body: 'elsewhere' } as unknown as Error)
  const client = await connect(url, { headers: SECRETS, maxRedirects: 1 })
  t.equal(client.url, open)
  t.strictSame(JSON.parse(await client.receive() as string), [`127.0.0.1:${site.port}`, null, 'mine'])
  client.terminate()

  const same = await redirecting(t, '/else')
  await t.rejects(connect(same, { headers: SECRETS, maxRedirects: 1 }), { body: '["/else","secret","a=b","mine"]' } as unknown as Error)
  await t.rejects(connect(same.replace('127', 'user:pass@127'), { maxRedirects: 1 }), { body: /^\["\/else","Basic / } as unknown as Error)
})

test('a circle of redirects is refused, and so is one that cannot be followed', async t => {
  await t.rejects(connect(await redirecting(t, '/'), { maxRedirects: 20 }), { name: 'HandshakeError', code: 'FST_WS_REDIRECT', message: /circle/ })
  await t.rejects(connect(await redirecting(t, 'ws://a%:b@127.0.0.1/'), { maxRedirects: 20 }), { name: 'SyntaxError', message: /percent-encoded/ })
})

test('handshakeTimeout is for all redirects together, and a signal for each', async t => {
  const deaf = await portOf(t, createTcpServer(socket => { t.teardown(() => { socket.destroy() }) }))
  const url = await redirecting(t, `ws://127.0.0.1:${deaf}/`)
  await t.rejects(connect(url, { maxRedirects: 1, handshakeTimeout: 100 }), { code: 'FST_WS_HANDSHAKE_TIMEOUT' })
  await t.rejects(connect(url, { maxRedirects: 1, signal: AbortSignal.timeout(100) }), { name: 'TimeoutError' })
})

test('a Unix domain socket, as ws names it', async t => {
  const { app } = await serve(t, app => { app.get('/ws', { websocket: true }, (connection, request) => { connection.send(`${request.host} ${request.url}`) }) })
  const socketPath = join(t.testdir(), 'a b.sock')
  const server = createTcpServer(socket => { app.server.emit('connection', socket) }).listen(socketPath)
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const client = await connect(`ws+unix:${socketPath}:/ws?a=1`)
  t.equal(await client.receive(), 'localhost /ws?a=1')
  client.terminate()
  await t.rejects(connect(`ws+unix:${socketPath}:/nowhere`), { statusCode: 404 } as unknown as Error)
  await t.rejects(connect('ws+unix:/nowhere/a.sock:/'), { code: 'ENOENT' })
})
