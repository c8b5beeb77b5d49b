// WebSocket(): what a browser's does, and connect() does not.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { connect, WebSocket } from '../../lib/index.ts'
import type { CloseEvent, ErrorEvent, MessageEvent, WebSocketConnection } from '../../types/connection.ts'
import { deferred, serve, within } from '../helpers/http.ts'

async function urlOf (t: Test, handler: (connection: WebSocketConnection) => unknown): Promise<string> {
  const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, handler as () => unknown) })
  return `ws://127.0.0.1:${site.port}/ws`
}

test('it is CONNECTING, then open, has the constants of a browser\'s, and is what `instanceof` asks for', async t => {
  const url = await urlOf(t, connection => { connection.on('message', data => { connection.send(data, { binary: false }) }) })
  const socket = new WebSocket(url, ['a', 'b'])
  t.equal(socket.readyState, WebSocket.CONNECTING)
  t.strictSame([WebSocket.CONNECTING, WebSocket.OPEN, WebSocket.CLOSING, WebSocket.CLOSED], [0, 1, 2, 3])
  t.strictSame([socket.CONNECTING, socket.OPEN, socket.CLOSING, socket.CLOSED], [0, 1, 2, 3])
  t.equal(WebSocket.name, 'WebSocket')
  t.ok(socket instanceof WebSocket)
  t.notOk({} instanceof WebSocket)
  t.equal(WebSocket.prototype.CLOSED, 3)
  const events: string[] = []
  socket.onopen = ({ type }) => {
    events.push(type)
    socket.send('hello')
  }
  socket.onmessage = ({ data }) => {
    events.push(String(data))
    socket.close(4000, 'bye')
  }
  const closed = deferred<CloseEvent>()
  socket.onclose = closed.resolve
  t.match(await closed.promise, { code: 4000, reason: 'bye', wasClean: true })
  t.strictSame(events, ['open', 'hello'])
  t.strictSame([socket.url, socket.protocol], [url, 'a'])
  const connected = await connect(url)
  t.ok(connected instanceof WebSocket)
  connected.terminate()
})

test('one subprotocol may be a string, and options come third', async t => {
  const url = await urlOf(t, () => {})
  const socket = new WebSocket(url, 'only', { maxPayload: 5 })
  await once(socket, 'open')
  t.equal(socket.protocol, 'only')
  socket.terminate()
})

test('binary messages are Blobs, unless binaryType says otherwise', async t => {
  const url = await urlOf(t, connection => { connection.send(Buffer.from('abc')) })
  const message = async (socket: WebSocketConnection): Promise<MessageEvent['data']> => await new Promise(resolve => {
    socket.addEventListener('message', ({ data }) => { resolve(data) })
  })
  const socket = new WebSocket(url)
  t.equal(socket.binaryType, 'blob')
  const blob = await message(socket) as unknown as Blob
  t.ok(blob instanceof Blob)
  t.equal(await blob.text(), 'abc')
  const other = new WebSocket(url)
  other.binaryType = 'arraybuffer'
  t.ok((await message(other)) instanceof ArrayBuffer)
  socket.terminate()
  other.terminate()
})

test('messages that nobody listens for are discarded once the turn of open is over, so that a Close is answered', async t => {
  const url = await urlOf(t, connection => {
    for (let count = 0; count < 100; count++) connection.send(Buffer.alloc(10_000))
    connection.close(4000)
  })
  const socket = new WebSocket(url, [], { closeTimeout: 600_000, holdTimeout: 600_000 })
  await once(socket, 'open')
  const [code] = await within(10_000, once(socket, 'close'), 'the close')
  t.equal(code, 4000)
})

test('a listener that is added in the turn of open gets all messages', async t => {
  const url = await urlOf(t, connection => {
    connection.send('a')
    connection.send('b')
    connection.close(1000)
  })
  const socket = new WebSocket(url)
  const taken: string[] = []
  await once(socket, 'open')
  socket.onmessage = ({ data }) => { taken.push(String(data)) }
  await once(socket, 'close')
  t.strictSame(taken, ['a', 'b'])
})

test('a handshake that fails is an error event, then close with 1006; nobody needs to listen', async t => {
  const server = createServer((_request, response) => { response.writeHead(401).end() })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { server.close() })
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  const closeOf = async (socket: WebSocketConnection): Promise<CloseEvent> => await new Promise(resolve => { socket.onclose = resolve })
  const socket = new WebSocket(url)
  const errors: ErrorEvent[] = []
  socket.onerror = event => { errors.push(event) }
  t.match(await closeOf(socket), { type: 'close', code: 1006, wasClean: false })
  t.match(errors, [{ type: 'error', error: { statusCode: 401 }, message: /401/ }])
  t.equal((await closeOf(new WebSocket(url))).code, 1006)
  const closed = new WebSocket(url)
  closed.close()
  t.equal((await closeOf(closed)).code, 1006)
  t.equal(closed.readyState, WebSocket.CLOSED)
})

test('a wrong URL or subprotocol is a SyntaxError of the constructor, a wrong option a TypeError', async t => {
  for (const [url, protocols] of [
    ['nonsense', []], ['ftp://a.example', []], ['ws://a.example/#b', []], ['ws://a.example', 'a b'], ['ws://a.example', ['a', 'a']], ['ws://a.example', '']
  ] as const) t.throws(() => new WebSocket(url, protocols), { name: 'SyntaxError' }, `${url} ${String(protocols)}`)
  t.throws(() => new WebSocket('ws://a.example', [], { maxPayLoad: 5 } as never), { name: 'TypeError', message: /unknown WebSocket option maxPayLoad/ })
  t.throws(() => (WebSocket as unknown as () => unknown)(), { name: 'TypeError', message: 'the constructor WebSocket needs new' })
})

test('what a listener throws goes to the errorHandler', async t => {
  const url = await urlOf(t, connection => { connection.send('a') })
  const thrown = deferred<unknown>()
  const socket = new WebSocket(url, [], { errorHandler: error => { thrown.resolve(error) } })
  socket.onmessage = () => { throw new Error('oops') }
  t.match(await thrown.promise, { message: 'oops' })
  socket.terminate()
})

test('a subclass may add what each request says, and methods', async t => {
  const { site } = await serve(t, app => {
    app.get('/ws', { websocket: true }, (connection, request) => { connection.send(String(request.headers['x-own'])) })
  })
  class Own extends WebSocket {
    constructor (url: string) { super(url, [], { headers: { 'x-own': 'mine' } }) }
    get shout (): string { return this.url.toUpperCase() }
  }
  const socket = new Own(`ws://127.0.0.1:${site.port}/ws`)
  const [data] = await once(socket, 'message')
  t.equal(String(data), 'mine')
  t.match(socket.shout, /^WS:/)
  t.ok(socket instanceof WebSocket && socket instanceof Own)
  socket.terminate()
})
