import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect, createServer, Socket, type AddressInfo } from 'node:net'
import { test } from 'tap'
import { isSecure, overHttp1, send } from '../../lib/client/http1-exchange.ts'

test('wss:, https: and wss+unix: are secure', t => {
  for (const url of ['wss://a', 'https://a', 'wss+unix:///a:/b']) t.equal(isSecure(new URL(url)), true, url)
  for (const url of ['ws://a', 'http://a', 'ws+unix:///a:/b']) t.equal(isSecure(new URL(url)), false, url)
  t.end()
})

test('a handshake has a connection of its own, which a refusal closes, whoever has made it', async t => {
  const server = createServer(socket => {
    socket.once('data', () => { socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno') })
    socket.on('error', () => {})
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const { port } = server.address() as AddressInfo
  const url = new URL(`ws://127.0.0.1:${port}/`)
  const headers = { connection: 'Upgrade', upgrade: 'websocket' }
  for (const own of [false, true]) {
    let made: Socket | null = null
    const createConnection = (): Socket => (made = connect(port, '127.0.0.1'))
    const request = send(url, { host: '127.0.0.1', port, headers, ...(own ? { createConnection } : {}) })
    request.end()
    const [response] = await once(request, 'response') as [IncomingMessage]
    const closed = once(response.socket, 'close')
    t.equal(response.statusCode, 403)
    if (own) t.equal(response.socket, made)
    response.resume()
    await closed
  }
})

test('its transport is that of a socket', t => {
  const socket = new Socket()
  const transport = overHttp1(() => null).transport(socket)
  t.equal(transport.stream, socket)
  t.equal(transport.ownsChunks, true)
  socket.destroy()
  t.end()
})
