import { channel, type Channel } from 'node:diagnostics_channel'

/** By event; their names are frozen. docs/reference.md: Logs, channels and context. */
export const CHANNELS: Readonly<Record<'open' | 'close' | 'error' | 'slow' | 'stalled', Channel>> = {
  open: channel('fastify-websocket-stream:open'),
  close: channel('fastify-websocket-stream:close'),
  error: channel('fastify-websocket-stream:error'),
  slow: channel('fastify-websocket-stream:slow'),
  stalled: channel('fastify-websocket-stream:stalled')
}

const ALL = Object.values(CHANNELS)

/** Somebody listens to one of them, or to more. */
export function isObserved (): boolean {
  return ALL.some(({ hasSubscribers }) => hasSubscribers)
}
