// What snippets of the documentation use and do not declare, by the names that stand behind the language of their fence. Types alone: nothing of
// this is ever run.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex, Transform } from 'node:stream'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, preHandlerHookHandler, RawServerDefault } from 'fastify'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { TLiteral, TObject, TString } from 'typebox'
import type { WebSocketConnection } from '../../lib/index.ts'

export { Type } from 'typebox'
export { asyncapi } from '../../lib/asyncapi/index.ts'
export { default as websocket, reconnect, Topics, upgrade, WebSocket } from '../../lib/index.ts'

export declare const app: FastifyInstance
export declare const connection: WebSocketConnection
/** Of node:http. */
export declare const server: Server
/** Bytes from a client. */
export declare const socket: Duplex

export declare const authenticate: preHandlerHookHandler
export declare const verify: (token: string) => Promise<boolean>
export declare const token: string
export declare const env: { SECRET: string }
export declare const tenants: { allows (host: string, origin: string): Promise<boolean> }
export declare const accounts: { load (request: FastifyRequest): Promise<{ answer (question: Buffer): Promise<string> }> }

export declare const answer: (question: string | Buffer) => Promise<string>
export declare const query: AsyncIterable<string>
export declare const model: { tokens (prompt: string, options: { signal: AbortSignal }): AsyncIterable<string> }
export declare const item: object
export declare const join: (room: number, connection: WebSocketConnection) => void
export declare const file: string
export declare const upperCase: () => Transform
export declare const buildApp: () => Promise<FastifyInstance>
export declare const key: Buffer
export declare const cert: Buffer

/** With a type provider. */
export declare const typedApp: FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>
/** For JavaScript, which cannot say what a request holds: all is known but that. */
export declare const jsApp: Omit<FastifyInstance, 'get' | 'post'> & {
  get (path: string, options: object, handler: (connection: WebSocketConnection, request: any) => unknown): void
  get (path: string, handler: (request: any, reply: any) => unknown): void
  post (path: string, handler: (request: any) => unknown): void
}
export declare const rooms: { load (id: string, position?: string | null): Promise<string> }
export declare const id: string
export declare const topic: string
export declare const since: string
export declare const message: object
export declare const price: () => number
/** Of messages by schema. */
export declare const Say: TObject<{ type: TLiteral<'say'>, text: TString }>
export declare const Typing: TObject<{ type: TLiteral<'typing'> }>
export declare const Said: TObject<{ type: TLiteral<'said'>, text: TString }>
export interface Received { text: string }
export interface Sent { hello: string }
export declare const Ajv: new (options: object) => { compile (schema: unknown): (data: unknown) => boolean }
export declare const handler: (connection: any) => Promise<void>
export declare const toJsonSchema: (schema: unknown) => object
export declare const upload: (connection: WebSocketConnection) => Promise<void>
export declare const add: (a: number, b: number) => Promise<number>
export declare const store: (...values: unknown[]) => Promise<void>
export declare const run: (command: unknown) => void
export declare const measure: () => object
export declare const url: string
export declare const signal: AbortSignal
export declare const log: { info (fields: unknown, message: string): void }
/** Of a page. */
export declare const show: (message: unknown) => void
export declare const reload: () => void
