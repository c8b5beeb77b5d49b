// What snippets of the documentation use and do not declare, by the names that stand behind the language of their fence. Types alone: nothing of
// this is ever run.
import type { Server } from 'node:http'
import type { Duplex, Transform } from 'node:stream'
import type { FastifyInstance, FastifyRequest, preHandlerHookHandler } from 'fastify'
import type { WebSocketConnection } from '../../lib/index.ts'

export { default as websocket, Topics, upgrade } from '../../lib/index.ts'

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

/** For JavaScript, which cannot say what a request holds: all is known but that. */
export declare const jsApp: Pick<FastifyInstance, 'register' | 'websocketServer' | 'injectWS'> & {
  get (path: string, options: object, handler: (connection: WebSocketConnection, request: any) => unknown): void
  get (path: string, handler: (request: any) => unknown): void
  post (path: string, handler: (request: any) => unknown): void
}
export declare const rooms: { load (id: string, position?: string | null): Promise<string> }
export declare const id: string
export declare const topic: string
export declare const since: string
export declare const message: object
export declare const price: () => number
/** Of a page. */
export declare const show: (message: string) => void
export declare const reload: () => void
