// Clients for Redis, as users bring them: not connected.
import { Redis as Ioredis } from 'ioredis'
import { Redis as Iovalkey } from 'iovalkey'
import { createClient } from 'redis'
import type { RedisClient } from '../../lib/brokers/redis/index.ts'

type Credentials = { readonly username?: string, readonly password?: string }

export const REDIS_CLIENTS: Readonly<Record<string, (port: number, credentials?: Credentials) => RedisClient>> = {
  'node-redis': (port, credentials = {}) => createClient({ url: `redis://127.0.0.1:${port}`, ...credentials }),
  // their names begin with what must not count
  ioredis: (port, credentials = {}) => new Ioredis({ port, host: '127.0.0.1', lazyConnect: true, keyPrefix: 'not:', ...credentials }),
  iovalkey: (port, credentials = {}) => new Iovalkey({ port, host: '127.0.0.1', lazyConnect: true, ...credentials })
}
