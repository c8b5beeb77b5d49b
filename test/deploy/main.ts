// usage: node test/deploy/main.ts [clients = 2000]. It needs haproxy and redis-server, and descriptors: ulimit -n 20000.
import { rehearse } from './rehearsal.ts'

const clients = Number(process.argv[2] ?? 2000)
let isBad = false
for (const protocol of ['http1', 'http2'] as const) {
  const result = await rehearse({ protocol, clients, delay: 500, spread: 5_000, interval: 250 })
  const { drained, refused, same, missed, doubles, notRecovered, otherCloses, bins, http, httpOfDrained, gap, drainedAfter } = result
  console.log(`${protocol}: ${clients} clients, ${drained} of them on the node that is drained (delay 500 ms, spread 5 s), which takes ${drainedAfter} ms`)
  console.log(`  handshakes refused: ${refused}; back on the same node: ${same}; closed with another code than 1012: ${otherCloses}`)
  console.log(`  closes in each 500 ms: ${bins.map(share => `${share} %`).join(', ')}`)
  console.log(`  GET each 50 ms: ${JSON.stringify(http)}; of the node that is drained: ${JSON.stringify(httpOfDrained)}`)
  console.log(`  messages missed: ${missed}, twice: ${doubles}, clients that were told so: ${notRecovered}; gap: p50 ${gap.p50} ms, p99 ${gap.p99} ms, longest ${gap.max} ms`)
  const isHttpGood = [http, httpOfDrained].every(counts => Object.keys(counts).join() === '200')
  isBad ||= refused + same + missed + doubles + notRecovered + otherCloses > 0 || bins.some(share => share < 5 || share > 15) || !isHttpGood
}
console.log(isBad ? 'not as it should be' : 'as it should be')
process.exit(isBad ? 1 : 0)
