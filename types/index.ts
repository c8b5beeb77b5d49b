export type * from './client.ts'
export type * from './connection.ts'
export type * from './messages.ts'
export type * from './options.ts'
export type * from './fastify.ts'
// the names of @fastify/websocket
export type { WebSocketConnection as WebSocket } from './connection.ts'
export type { WebSocketPluginOptions as WebsocketPluginOptions } from './options.ts'
export type { WebSocketHandler as WebsocketHandler } from './fastify.ts'
