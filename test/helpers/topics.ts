import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import type { TopicsTable } from '../../types/topics.ts'
import { gate, startApp, turn } from './app.ts'

export interface Member {
  /** The server's side, which subscribes. */
  connection: WebSocketConnection
  client: WebSocketConnection
}

export interface StartedTopics {
  app: FastifyInstance
  topics: TopicsTable
  /** Another connection to the app, in memory. */
  enter: () => Promise<Member>
}

/** An app whose connections do nothing by themselves. */
export async function startTopics (
  t: Test, topics: WebSocketPluginOptions['topics'], options: WebSocketPluginOptions = {}
): Promise<StartedTopics> {
  let entered = gate<WebSocketConnection>()
  const { app } = await startApp(t, { ...options, topics, shutdownTimeout: 100 }, app => {
    app.get('/', { websocket: true }, connection => { entered.open(connection) })
  })
  const enter = async (): Promise<Member> => {
    entered = gate<WebSocketConnection>()
    const client = await app.injectWS()
    return { client, connection: await entered.opened }
  }
  return { app, topics: app.websocketServer.topics, enter }
}

/** The next `count` messages as strings. */
export async function take (client: WebSocketConnection, count: number): Promise<string[]> {
  const messages: string[] = []
  while (messages.length < count) messages.push(String(await client.receive()))
  return messages
}

/** Sends until send() returns false, to a client that is paused. @returns how many messages of 16 KiB that took */
export async function fill ({ connection, client }: Member): Promise<number> {
  client.pause()
  let count = 0
  // what is on its way into the client's memory goes there first
  for (let isFull = false; !isFull; count++) {
    isFull = !connection.send(Buffer.alloc(16 * 1024, count)) && connection.bufferedAmount >= 64 * 1024
    for (let i = 0; i < 5; i++) await turn()
    isFull &&= connection.bufferedAmount >= 64 * 1024
  }
  return count
}

export async function codeOf (promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}
