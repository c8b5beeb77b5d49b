// `fastify-websocket-stream/redis`
export { redisBroker, type RedisBrokerOptions } from './redis-broker.ts'
export type { RedisClient } from './dial.ts'
