// What `fastify-websocket-stream/redis` is.
export { redisBroker, type RedisBrokerOptions } from './redis-broker.ts'
export type { RedisClient } from './dial.ts'
