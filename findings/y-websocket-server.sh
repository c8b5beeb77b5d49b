#!/usr/bin/env bash
# @y/websocket-server 0.1.5: its dependencies bring a second Yjs, of the version to come, which cannot read documents of yjs 13. Each update
# that a client sends is an error in the log of the server, and reaches nobody; nothing is told to the client. 0.1.1 works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > try.mjs <<'JS'
import { setTimeout } from 'node:timers/promises'
import { setupWSConnection } from '@y/websocket-server/utils'
import { WebSocketServer } from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

console.error = () => {} // the error of each update
const server = new WebSocketServer({ port: 0 })
server.on('connection', (socket, request) => { setupWSConnection(socket, request) })
const documents = [new Y.Doc(), new Y.Doc()]
const { port } = server.address()
const providers = documents.map(document => new WebsocketProvider(`ws://127.0.0.1:${port}`, 'notes', document, { disableBc: true }))
await Promise.all(providers.map(provider => new Promise(resolve => { provider.once('status', resolve) })))
await setTimeout(500)
documents[0].getText('text').insert(0, 'hello')
await setTimeout(500)
console.log(`@y/websocket-server ${process.argv[2]}: the other document has ${JSON.stringify(documents[1].getText('text').toString())}`)
process.exit()
JS
for version in 0.1.1 0.1.5; do
  rm -rf node_modules package-lock.json
  echo '{"private":true}' > package.json
  npm i --ignore-scripts --no-audit --no-fund --loglevel=error yjs@13.6.33 y-websocket@3.1.0 ws@8.23.0 "@y/websocket-server@$version" > /dev/null
  node try.mjs "$version"
done | tee seen

diff seen - <<'EXPECTED'
@y/websocket-server 0.1.1: the other document has "hello"
@y/websocket-server 0.1.5: the other document has ""
EXPECTED
