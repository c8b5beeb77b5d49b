import { channel, type Channel } from 'node:diagnostics_channel'

/** By event. The names are stable API: docs/reference.md, "Logs, channels and context". */
export const CHANNELS: Readonly<Record<'open' | 'close' | 'error' | 'slow' | 'stalled', Channel>> = {
  open: channel('fastify-websocket-stream:open'),
  close: channel('fastify-websocket-stream:close'),
  error: channel('fastify-websocket-stream:error'),
  slow: channel('fastify-websocket-stream:slow'),
  stalled: channel('fastify-websocket-stream:stalled')
}

/**
 * Messages on these channels hold plain facts, without the connection or its request, so that a metric of all connections keeps no
 * requests in memory. The names are stable API too.
 */
export const FACTS: Readonly<Record<'closed' | 'refused', Channel>> = {
  closed: channel('fastify-websocket-stream:closed'),
  refused: channel('fastify-websocket-stream:refused')
}

const ALL = Object.values(CHANNELS)

/** At least one of CHANNELS has subscribers. */
export function isObserved (): boolean {
  return ALL.some(({ hasSubscribers }) => hasSubscribers)
}

/** Totals of what went through connections, and of what waits in them now. */
export interface Traffic {
  messagesReceived: number
  messagesSent: number
  bytesReceived: number
  bytesSent: number
  /** Bytes of received messages not yet delivered. */
  held: number
  /** Bytes accepted by send() but not yet taken by the transport. */
  unsent: number
}

export function noTraffic (): Traffic {
  return { messagesReceived: 0, messagesSent: 0, bytesReceived: 0, bytesSent: 0, held: 0, unsent: 0 }
}
