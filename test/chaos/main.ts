// usage: npm run chaos -- [seed [messages [store ...]]], of which there are none, rdb, aof, replica, cluster, nats-file, nats-older and nats-memory. Default: all of them
import { chaos, type ChaosOptions } from './chaos.ts'
import { STORES, type StoreKind } from './stores.ts'

const [seed = '1', messages = '20000', ...given] = process.argv.slice(2)
let isBad = false
for (const store of (given.length > 0 ? given : Object.keys(STORES)) as StoreKind[]) {
  const options: ChaosOptions = { seed: Number(seed), store, nodes: 3, clients: 12, topics: 20, messages: Number(messages), brokerKills: 20, nodeKills: 10 }
  const { undetected, behind, restored, ...counts } = await chaos(options)
  console.log(store, { ...counts, undetected: undetected.length, behind: behind.length, longestToRestore: `${Math.max(0, ...restored)} ms` })
  for (const line of [...undetected, ...behind].slice(0, 10)) console.log(`  ${line}`)
  isBad ||= undetected.length + behind.length + counts.doubles + counts.unknown > 0
}
process.exitCode = isBad ? 1 : 0
