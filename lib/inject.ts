import { Server as TlsServer } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import type { InjectWS } from '../types/fastify.ts'
import { startConnecting } from './client.ts'
import type { Connection } from './connection.ts'
import { MemorySocket } from './memory-socket.ts'

/** Opens a WebSocket to `app` without a network: what its server gets is a connection of bytes like any other. */
export async function injectWS (
  app: FastifyInstance, path: string = '/', { headers = {}, ...options }: Parameters<InjectWS>[1] = {},
  { onInit, onOpen }: Parameters<InjectWS>[2] = {}
): Promise<Connection> {
  await app.ready()
  const encrypted = app.server instanceof TlsServer
  const [client, server] = MemorySocket.pair({ encrypted })
  // offered in a header field, as a request has it
  const field = Object.keys(headers).find(name => name.toLowerCase() === 'sec-websocket-protocol')
  const { [field ?? '']: offered, ...others } = headers
  const protocols = offered === undefined ? {} : { protocols: String(offered).split(',').map(protocol => protocol.trim()) }
  const { connection, opened } = startConnecting(new URL(path, 'ws://localhost'), {
    ...protocols,
    ...options,
    headers: { host: 'localhost', ...others },
    request: { agent: undefined, createConnection: () => client }
  })
  onInit?.(connection)
  app.server.emit(encrypted ? 'secureConnection' : 'connection', server)
  await opened
  onOpen?.(connection)
  return connection
}
