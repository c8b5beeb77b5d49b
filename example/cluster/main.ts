// npm run cluster
import { Cluster } from './cluster.ts'
import { hasRedis } from './redis.ts'

if (hasRedis()) {
  const cluster = await Cluster.start({ host: process.env['HOST'] ?? '127.0.0.1', port: Number(process.env['PORT'] ?? 8000), log: console.log })
  console.log(`Open http://127.0.0.1:${cluster.port}/#chat in a browser or two, join, and end the node that serves you. Ctrl+C ends it all.`)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => { void cluster.close().then(() => { process.exit() }) })
} else {
  console.error('npm run cluster needs redis-server on the PATH: apt-get install redis-server, brew install redis')
  process.exitCode = 1
}
