import { channel, type Channel } from 'node:diagnostics_channel'

/**
 * By event; their names are frozen. Not among those of connections, each of which keeps its request for as long as somebody listens to one.
 * `gap`: `{ connection, topic, reason, from, to }`. `skip`: the first of a run, `{ connection, topic }`, and its end, with `count`. `state`: `{ topics, state }`,
 * of the broker 'up', 'down', of a topic 'doubtful' with `topic`. `error`: `{ topics, error }`.
 */
export const TOPIC_CHANNELS: Readonly<Record<'gap' | 'skip' | 'state' | 'error', Channel>> = {
  gap: channel('fastify-websocket-stream:gap'),
  skip: channel('fastify-websocket-stream:skip'),
  state: channel('fastify-websocket-stream:topics'),
  error: channel('fastify-websocket-stream:topics-error')
}
