import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import websocket from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketHandler } from '../../types/fastify.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import { openRawClient, type RawClient, type RawClientOptions } from './raw-client.ts'

export interface LogEntry {
  msg: string
  err?: { type: string, message: string }
}

export interface StartedApp {
  app: FastifyInstance
  port: number
  /** Such as ws://127.0.0.1:1234. */
  url: string
  /** What the app logged at level error, as it comes. */
  logs: LogEntry[]
}

/** A Fastify app with the plugin, listening on a free port. It is closed at the end of the test. */
export async function startApp (
  t: Test, pluginOptions: WebSocketPluginOptions, declareRoutes: (app: FastifyInstance) => void
): Promise<StartedApp> {
  const logs: LogEntry[] = []
  const stream = { write (line: string) { logs.push(JSON.parse(line) as LogEntry) } }
  const app = Fastify({ logger: { level: 'error', stream } })
  // what a test left open must not make its end wait, and many tests fill a queue to see what comes of it
  await app.register(websocket, { shutdownTimeout: 1000, maxBufferedAmount: 2 ** 30, ...pluginOptions })
  declareRoutes(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  return { app, port, url: `ws://127.0.0.1:${port}`, logs }
}

export interface StartedConnection extends StartedApp {
  client: RawClient
  /** The server's side. */
  connection: WebSocketConnection
}

/** An app whose route / has `handler`, and one connection to it. */
export async function startConnection (
  t: Test, pluginOptions: WebSocketPluginOptions, handler: WebSocketHandler, clientOptions?: RawClientOptions
): Promise<StartedConnection> {
  const connected = gate<WebSocketConnection>()
  const started = await startApp(t, pluginOptions, app => {
    app.websocketServer.once('connection', connected.open)
    app.get('/', { websocket: true }, handler)
  })
  const client = await openRawClient(t, started.port, clientOptions)
  return { ...started, client, connection: await connected.opened }
}

export interface Gate<Value> {
  opened: Promise<Value>
  open: (value: Value) => void
}

/** What a test waits at until something opens it. */
export function gate<Value = void> (): Gate<Value> {
  let open: (value: Value) => void
  const opened = new Promise<Value>(resolve => { open = resolve })
  return { opened, open: open! }
}

/** Resolves when the event loop has gone round once, and whatever was due has run. */
export function turn (): Promise<void> {
  return new Promise(resolve => { setImmediate(resolve) })
}

/** Resolves when the end of a connection has begun. */
export async function aborted ({ signal }: WebSocketConnection): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort')
}
