import { channel, type Channel } from 'node:diagnostics_channel'

/**
 * By event; the names are stable API. Separate from those of connections, whose subscribers make each connection keep its request.
 * `gap`: `{ connection, topic, reason, from, to }`. `skip`: at the first of a run `{ connection, topic }`, at its end also `count`. `state`:
 * `{ topics, state }`, for the broker 'up' or 'down', for a topic 'doubtful' with `topic`. `error`: `{ topics, error }`.
 */
export const TOPIC_CHANNELS: Readonly<Record<'gap' | 'skip' | 'state' | 'error', Channel>> = {
  gap: channel('fastify-websocket-stream:gap'),
  skip: channel('fastify-websocket-stream:skip'),
  state: channel('fastify-websocket-stream:topics'),
  error: channel('fastify-websocket-stream:topics-error')
}
