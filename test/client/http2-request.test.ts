// An extended CONNECT by hand, against a server of node:http2: what goes out, and what comes back in the shape of HTTP/1.1.
import { once, type EventEmitter } from 'node:events'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { connect, createServer, type ClientHttp2Session, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import type { HandshakeRequest } from '../../lib/client/exchange.ts'
import { overHttp2 } from '../../lib/client/http2-request.ts'
import { ACCEPT, KEY } from '../helpers/http.ts'

type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void

async function setUp (t: Test, onStream: OnStream, enableConnectProtocol = true): Promise<{ server: Http2Server, session: ClientHttp2Session }> {
  const server = createServer({ settings: { enableConnectProtocol } })
  server.on('stream', onStream)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.teardown(() => {
    session.destroy()
    server.close()
  })
  return { server, session }
}

function send (session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}, options: object = {}): HandshakeRequest {
  const request = overHttp2(session).request(new URL('ws://localhost/'), { path: '/chat?a=b', headers: { 'Sec-WebSocket-Key': KEY, ...headers }, ...options })
  request.end()
  return request
}

/** What a request emits, by name, up to its 'close'. */
async function events (request: EventEmitter): Promise<string[]> {
  const names: string[] = []
  for (const name of ['upgrade', 'response', 'error']) request.on(name, () => { names.push(name) })
  await new Promise<void>(resolve => { request.on('close', () => { resolve() }) })
  return names
}

test('a handshake goes out as an extended CONNECT, without the fields of HTTP/1.1', async t => {
  const seen: IncomingHttpHeaders[] = []
  const { session } = await setUp(t, (stream, headers) => {
    seen.push(headers)
    stream.respond({ ':status': 200 })
  })
  await once(send(session, {
    Host: 'a.example', Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', Cookie: 'a=b', cookie: 'c=d'
  }), 'upgrade')
  await once(send(session), 'upgrade')
  t.strictSame(Object.fromEntries(Object.entries(seen[0]!)), {
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':scheme': 'http',
    ':authority': 'a.example',
    ':path': '/chat?a=b',
    'sec-websocket-version': '13',
    cookie: 'c=d'
  }, 'of two fields that differ in case alone, the last')
  t.equal(seen[1]![':authority'], 'localhost')
})

test('a 200 is an upgrade as of HTTP/1.1: with 101, what the key asks for, and the fields of the server', async t => {
  const { session } = await setUp(t, stream => { stream.respond({ ':status': 200, 'sec-websocket-protocol': 'chat' }) })
  const [response, , head] = await once(send(session), 'upgrade') as [IncomingMessage, unknown, Buffer]
  t.match(response, { statusCode: 101, headers: { 'sec-websocket-protocol': 'chat', upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-accept': ACCEPT } })
  t.equal(head.length, 0)
})

test('any other status is a response with a body, and the session stays open', async t => {
  for (const status of [201, 403]) {
    const { session } = await setUp(t, stream => {
      stream.respond({ ':status': status, 'x-why': 'because' })
      stream.end('go away')
    })
    const [response] = await once(send(session), 'response') as [IncomingMessage]
    t.match(response, { statusCode: status, headers: { 'x-why': 'because' } })
    let body = ''
    for await (const chunk of response) body += String(chunk)
    t.equal(body, 'go away')
    t.equal(session.closed, false)
  }
})

test('nothing goes out before the server has said that it takes it', async t => {
  let streams = 0
  const { server, session } = await setUp(t, stream => {
    streams++
    stream.respond({ ':status': 200 })
  }, false)
  const [[serverSession]] = await Promise.all([once(server, 'session'), once(session, 'remoteSettings')]) as [[{ settings (settings: object): void }], unknown]
  const request = send(session)
  await new Promise(resolve => { session.ping(resolve) })
  t.equal(streams, 0)
  serverSession.settings({ enableConnectProtocol: true })
  await once(request, 'upgrade')
  t.equal(streams, 1)
})

test('a request that is destroyed before it goes out closes with its error, and never goes out', async t => {
  const { session } = await setUp(t, () => { t.fail('it went out') })
  for (const [error, expected] of [[undefined, []], [new Error('enough'), ['error']]] as const) {
    const request = send(session)
    const told = events(request)
    request.destroy(error)
    request.destroy(error)
    t.strictSame(await told, expected)
  }
  await new Promise(resolve => { session.ping(resolve) })
})

test('a request that is destroyed while it waits for the answer takes its stream along', async t => {
  let onStream: (stream: ServerHttp2Stream) => void
  const arrived = new Promise<ServerHttp2Stream>(resolve => { onStream = resolve })
  const { session } = await setUp(t, stream => { onStream(stream) })
  const request = send(session)
  const told = events(request)
  const stream = await arrived
  stream.on('error', () => {})
  const closed = new Promise<void>(resolve => { stream.on('close', () => { resolve() }) })
  request.destroy(new Error('enough'))
  t.strictSame(await told, ['error'])
  await closed
  t.equal(session.destroyed, false)
})

test('a field that is no field, or a pseudo-header field, is an error of the request', async t => {
  const { session } = await setUp(t, () => { t.fail('it went out') })
  for (const name of [':path', 'a b', '']) {
    const request = send(session, { [name]: 'x' })
    const [error] = await once(request, 'error') as [Error & { code: string }]
    t.equal(error.code, 'ERR_INVALID_HTTP_TOKEN', name)
  }
})
