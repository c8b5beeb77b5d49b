// Clients for Redis, as users bring them: not connected.
import { Cluster as IoredisCluster, Redis as Ioredis } from 'ioredis'
import { Cluster as IovalkeyCluster, Redis as Iovalkey } from 'iovalkey'
import { createClient, createCluster } from 'redis'
import type { RedisClient } from '../../lib/brokers/redis/index.ts'

type Credentials = { readonly username?: string, readonly password?: string }

export const REDIS_CLIENTS: Readonly<Record<string, (port: number, credentials?: Credentials) => RedisClient>> = {
  'node-redis': (port, credentials = {}) => createClient({ url: `redis://127.0.0.1:${port}`, ...credentials }),
  // their names begin with what must not count
  ioredis: (port, credentials = {}) => new Ioredis({ port, host: '127.0.0.1', lazyConnect: true, keyPrefix: 'not:', ...credentials }),
  iovalkey: (port, credentials = {}) => new Iovalkey({ port, host: '127.0.0.1', lazyConnect: true, ...credentials })
}

export const REDIS_CLUSTER_CLIENTS: Readonly<Record<string, (ports: readonly number[], credentials?: Credentials) => RedisClient>> = {
  'node-redis': (ports, credentials = {}) => createCluster({ rootNodes: ports.map(port => ({ url: `redis://127.0.0.1:${port}` })), defaults: credentials }),
  ioredis: (ports, credentials = {}) => new IoredisCluster(nodesAt(ports), { lazyConnect: true, keyPrefix: 'not:', redisOptions: credentials }),
  iovalkey: (ports, credentials = {}) => new IovalkeyCluster(nodesAt(ports), { lazyConnect: true, redisOptions: credentials })
}

const nodesAt = (ports: readonly number[]): Array<{ host: string, port: number }> => ports.map(port => ({ host: '127.0.0.1', port }))
