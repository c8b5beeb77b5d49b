// usage: npm run chaos -- [seed [messages]]
import { chaos, PERSISTENCE, type ChaosOptions } from './chaos.ts'

const [seed = '1', messages = '20000'] = process.argv.slice(2)
let isBad = false
for (const persistence of Object.keys(PERSISTENCE) as Array<keyof typeof PERSISTENCE>) {
  const options: ChaosOptions = { seed: Number(seed), persistence, nodes: 3, clients: 12, topics: 20, messages: Number(messages), brokerKills: 20, nodeKills: 10 }
  const { undetected, behind, restored, ...counts } = await chaos(options)
  console.log(persistence, { ...counts, undetected: undetected.length, behind: behind.length, longestToRestore: `${Math.max(0, ...restored)} ms` })
  for (const line of [...undetected, ...behind].slice(0, 10)) console.log(`  ${line}`)
  isBad ||= undetected.length + behind.length + counts.doubles + counts.unknown > 0
}
process.exitCode = isBad ? 1 : 0
