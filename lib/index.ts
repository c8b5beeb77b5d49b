import { upgrade } from './accept.ts'
import { connect } from './client.ts'
import { Connection } from './connection.ts'
import { ConnectionClosedError, HandshakeError, ProtocolError, ReaderBusyError } from './errors.ts'
import { Frame } from './frame.ts'
import { FrameParser } from './frame-parser.ts'
import { FrameSerializer } from './frame-serializer.ts'
import { fastifyWebsocket as registered } from './plugin.ts'
import { prepare } from './prepared-message.ts'

export type * from '../types/index.ts'
export type { FrameParserOptions, Role } from './frame-parser.ts'
export type { FrameSerializerOptions, OutgoingFrame } from './frame-serializer.ts'
export { connect, Connection, ConnectionClosedError, Frame, FrameParser, FrameSerializer, HandshakeError, prepare, ProtocolError, ReaderBusyError, upgrade }

const exported = {
  connect, Connection, ConnectionClosedError, Frame, FrameParser, FrameSerializer, HandshakeError, prepare, ProtocolError, ReaderBusyError, upgrade
}

export const fastifyWebsocket: typeof registered & typeof exported & {
  readonly default: typeof registered
  readonly fastifyWebsocket: typeof registered
} = Object.assign(registered, exported, { default: registered, fastifyWebsocket: registered })

export default fastifyWebsocket
// What `require()` of this package returns (Node >= 20.19)
export { fastifyWebsocket as 'module.exports' }
