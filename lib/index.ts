import { upgrade } from './standalone/upgrade.ts'
import type { WebSocketConnection } from '../types/connection.ts'
import { connect } from './client/connect.ts'
import { reconnect } from './client/reconnect.ts'
import { WebSocket as WebSocketClient, type WebSocketConstructor } from './client/websocket.ts'
import { Connection as ConnectionClass } from './connection/connection.ts'
import { ConnectionClosedError, HandshakeError, MessageError, ProtocolError, ReaderBusyError, SchemaError, TopicsError } from './errors.ts'
import { Frame } from './protocol/frame.ts'
import { FrameParser } from './framing/frame-parser.ts'
import { FrameSerializer } from './framing/frame-serializer.ts'
import { fastifyWebsocket as registered } from './fastify/plugin.ts'
import { memoryBroker } from './topics/memory-broker.ts'
import { prepare } from './connection/prepared-message.ts'
import { readTopic } from './topics/envelope.ts'
import { Topics } from './topics/topics.ts'

export type * from '../types/index.ts'
export type Connection = WebSocketConnection
/** The class of all connections, for `instanceof` and its constants. Routes, connect() and upgrade() create them. */
// eslint-disable-next-line @typescript-eslint/no-redeclare -- as a class is: a value and a type of one name
export const Connection: Pick<typeof ConnectionClass, 'CONNECTING' | 'OPEN' | 'CLOSING' | 'CLOSED'> &
  (abstract new (...args: never) => WebSocketConnection) = ConnectionClass
export type WebSocket = WebSocketConnection
/** A constructor like that of browsers, for libraries that need one: `new WebSocket(url, protocols, options)`. */
// eslint-disable-next-line @typescript-eslint/no-redeclare -- as a browser's is
export const WebSocket: WebSocketConstructor = WebSocketClient
export type { WebSocketConstructor, WebSocketOptions } from './client/websocket.ts'
export type { FrameParserOptions } from './framing/frame-parser.ts'
export type { FrameSerializerOptions, OutgoingFrame } from './framing/frame-serializer.ts'
export type { Role } from './protocol/role.ts'
export type { MemoryBrokerOptions } from './topics/memory-broker.ts'
export {
  connect, ConnectionClosedError, Frame, FrameParser, FrameSerializer, HandshakeError, memoryBroker, MessageError, prepare, ProtocolError, ReaderBusyError,
  readTopic, reconnect, SchemaError, Topics, TopicsError, upgrade
}

const exported = {
  connect,
  Connection,
  ConnectionClosedError,
  Frame,
  FrameParser,
  FrameSerializer,
  HandshakeError,
  memoryBroker,
  MessageError,
  prepare,
  ProtocolError,
  ReaderBusyError,
  readTopic,
  reconnect,
  SchemaError,
  Topics,
  TopicsError,
  upgrade,
  WebSocket
}

export const fastifyWebsocket: typeof registered & typeof exported & {
  readonly default: typeof registered
  readonly fastifyWebsocket: typeof registered
} = Object.assign(registered, exported, { default: registered, fastifyWebsocket: registered })

export default fastifyWebsocket
// What `require()` of this package returns (Node >= 20.19)
export { fastifyWebsocket as 'module.exports' }
