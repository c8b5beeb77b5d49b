import { channel, type Channel } from 'node:diagnostics_channel'

/** By event; their names are frozen. docs/reference.md: Logs, channels and context. */
export const CHANNELS: Readonly<Record<'open' | 'close' | 'error' | 'slow' | 'stalled', Channel>> = {
  open: channel('fastify-websocket-stream:open'),
  close: channel('fastify-websocket-stream:close'),
  error: channel('fastify-websocket-stream:error'),
  slow: channel('fastify-websocket-stream:slow'),
  stalled: channel('fastify-websocket-stream:stalled')
}

/**
 * Of these a message says what there is to know, without the connection or its request: somebody who listens to them, a metric of all
 * connections, does not keep requests in memory. Their names are frozen too.
 */
export const FACTS: Readonly<Record<'closed' | 'refused', Channel>> = {
  closed: channel('fastify-websocket-stream:closed'),
  refused: channel('fastify-websocket-stream:refused')
}

const ALL = Object.values(CHANNELS)

/** Somebody listens to one of them, or to more. */
export function isObserved (): boolean {
  return ALL.some(({ hasSubscribers }) => hasSubscribers)
}

/** What went through connections, and what waits in them now, added up. */
export interface Traffic {
  messagesReceived: number
  messagesSent: number
  bytesReceived: number
  bytesSent: number
  /** Bytes of messages that came in and nobody has taken. */
  held: number
  /** Bytes accepted by send() that the transport has not taken. */
  unsent: number
}

export function noTraffic (): Traffic {
  return { messagesReceived: 0, messagesSent: 0, bytesReceived: 0, bytesSent: 0, held: 0, unsent: 0 }
}
