// What is written for the types of `ws` takes a connection.
import type { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { expectTypeOf } from 'expect-type'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import type { RawData, ServerOptions, VerifyClientCallbackAsync, VerifyClientCallbackSync, WebSocket } from 'ws'
import websocket, { connect, type WebsocketHandler, type WebSocketConnection } from '../../lib/index.ts'

declare const connection: WebSocketConnection
const socket: WebSocket = connection
const client: WebSocket = await connect('ws://localhost')
expectTypeOf(connection).toExtend<WebSocket>()
expectTypeOf(connection).toExtend<EventEmitter>()
socket.on('message', (data, isBinary) => { client.send(data, { binary: isBinary }) })

// the properties that can be set to more than they can be read as
connection.binaryType = 'blob'
expectTypeOf(connection.binaryType).toEqualTypeOf<'nodebuffer' | 'arraybuffer' | 'fragments'>()
connection.onmessage = event => { expectTypeOf(event.data).toEqualTypeOf<string | Buffer | ArrayBuffer | Buffer[]>() }
connection.onclose = event => { expectTypeOf(event.wasClean).toEqualTypeOf<boolean>() }
connection.onerror = event => { expectTypeOf(event.error).toEqualTypeOf<Error>() }
connection.onopen = null
// @ts-expect-error not a listener
connection.onmessage = 5

// a socket of either kind
const listen = (either: WebSocket | WebSocketConnection): void => {
  either.on('message', (data: RawData) => { either.send(data) })
  either.once('close', () => {})
}
listen(connection)

// handlers that say whose socket they take
const app = Fastify()
await app.register(websocket, {
  errorHandler: (error: Error, socket: WebSocket, request: FastifyRequest, reply: FastifyReply) => { socket.close(1011, error.message) }
})
const echo = (socket: WebSocket, request: FastifyRequest): void => {
  socket.on('message', (data: RawData, isBinary: boolean) => { socket.send(data, { binary: isBinary }) })
  socket.on('message', data => {
    for (const other of app.websocketServer.clients) if (other !== socket && other.readyState === other.OPEN) other.send(data)
  })
}
app.get('/a', { websocket: true }, echo)
app.get('/b', { websocket: true }, (socket: WebSocket, request) => { socket.send(request.url) })
app.get('/c', { websocket: true, handler: echo })
app.route({ method: 'GET', url: '/d', websocket: true, handler: echo })
app.route({ method: 'GET', url: '/e', handler: () => 'x', wsHandler: echo })

// the parameters of the handler's type, in the order of @fastify/websocket
const handler: WebsocketHandler<typeof app.server, IncomingMessage, { Params: { id: string } }> = (connection, request) => {
  expectTypeOf(request.params.id).toEqualTypeOf<string>()
}
app.get<{ Params: { id: string } }>('/f/:id', { websocket: true }, handler)

// the server
const clients: Set<WebSocket> = app.websocketServer.clients
for (const client of clients) client.ping()
app.websocketServer.on('error', (error: Error) => { expectTypeOf(error).toEqualTypeOf<Error>() })
app.websocketServer.once('listening', () => {})

// options of a server of ws
const verifyClient: VerifyClientCallbackSync | VerifyClientCallbackAsync = ({ origin }: { origin: string }) => origin.endsWith('.example.com')
const options: ServerOptions = { maxPayload: 1, perMessageDeflate: { threshold: 1 }, handleProtocols: protocols => protocols.has('a') && 'a' }
app.register(websocket, { options: { ...options, verifyClient, clientTracking: true } })
app.register(websocket, { options })
app.register(websocket, { verifyClient })
app.register(websocket, { verifyClient: ({ origin }, done) => { done(origin === undefined, 429, 'slow down', { 'x-wait': 1 }) } })

// tests that put what else a request has into injectWS()
await app.injectWS('/', { url: '/a', method: 'GET', headers: { cookie: 'a=b' }, socket: { remoteAddress: undefined } })
// @ts-expect-error misspelt
await app.injectWS('/', { header: {} })
