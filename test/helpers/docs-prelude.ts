// What snippets of the documentation use and do not declare, by the names that stand behind the language of their fence. Types alone: nothing of
// this is ever run.
import type { Server } from 'node:http'
import type { Duplex, Transform } from 'node:stream'
import type { FastifyInstance, FastifyRequest, preHandlerHookHandler } from 'fastify'
import type { WebSocketConnection } from '../../lib/index.ts'

export { default as websocket } from '../../lib/index.ts'

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

/** That of browsers. */
export declare const WebSocket: new (url: string, protocols?: string | string[]) => {
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number, reason: string }) => void) | null
  send (data: string | Uint8Array): void
  close (code?: number, reason?: string): void
}
