import type { Server } from 'node:http'
import { connect } from 'node:http2'
import { Server as TlsServer } from 'node:tls'
import type { InjectWS } from '../../types/fastify.ts'
import { CONNECT_NAMES } from '../options/settings.ts'
import { startConnecting } from '../client/connect.ts'
import type { Connection } from '../connection/connection.ts'
import { overHttp2 } from '../client/http2-request.ts'
import { MemorySocket } from '../transport/memory-socket.ts'

/**
 * Opens a WebSocket to `server` without a network: the server gets an in-memory byte stream and treats it like any socket, with
 * HTTP/2 if it speaks that.
 * @param onConnection gets the connection first, before onInit
 */
export async function injectWS (
  server: Server, onConnection: (connection: Connection) => void, path: string = '/',
  { headers = {}, socket, ...context }: Parameters<InjectWS>[1] = {}, { onInit, onOpen }: Parameters<InjectWS>[2] = {}
): Promise<Connection> {
  const encrypted = server instanceof TlsServer
  const isHttp2 = 'updateSettings' in server
  const [client, remote] = MemorySocket.pair({ encrypted, remoteAddress: socket?.remoteAddress, isUnlimited: isHttp2 })
  // subprotocols are offered in a header field, as in a request
  const field = Object.keys(headers).find(name => name.toLowerCase() === 'sec-websocket-protocol')
  const { [field ?? '']: offered, ...others } = headers
  const protocols = offered === undefined ? {} : { protocols: String(offered).split(',').map(protocol => protocol.trim()) }
  const session = isHttp2 ? connect('http://localhost', { createConnection: () => client }) : null
  session?.on('error', () => {}) // its streams get the error too
  const { connection, opened } = startConnecting(new URL(path, 'ws://localhost'), {
    ...protocols,
    // properties that are not options of connect() are ignored
    ...Object.fromEntries(Object.entries(context).filter(([name]) => CONNECT_NAMES.has(name))),
    headers: { host: 'localhost', ...others },
    request: { createConnection: () => client }
  }, { exchange: session === null ? null : overHttp2(session) })
  if (session !== null) void connection.closed.then(() => { session.destroy() })
  onConnection(connection)
  try {
    onInit?.(connection)
    server.emit(encrypted ? 'secureConnection' : 'connection', remote)
    await opened
    onOpen?.(connection)
    return connection
  } catch (error) {
    connection.terminate()
    client.destroy() // in case no request has taken it
    throw error
  }
}
