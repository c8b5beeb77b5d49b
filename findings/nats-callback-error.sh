#!/usr/bin/env bash
# NATS client: an error that leaves the callback of one subscription ends the loop that reads from the server. Nothing is read any more, for no
# subscription of the connection; it stays "connected", no status event tells of it, and flush() never settles. All it does is a line on the console.
# The client's own heartbeat comes every two minutes, if nothing else is set.
# Needs nats-server.
set -euo pipefail
folder=$(mktemp -d)
pids=()
trap 'kill -9 "${pids[@]}"; wait 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error @nats-io/transport-node@3.4.0
port=$((20000 + RANDOM % 10000))
nats-server -a 127.0.0.1 -p $port >/dev/null 2>&1 &
pids+=($!)
until (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; do sleep 0.05; done

cat > try.mjs <<'JS'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '@nats-io/transport-node'

const [connection, other] = await Promise.all([1, 2].map(() => connect({ servers: `127.0.0.1:${process.argv[2]}` })))
const events = []
const watch = async () => { for await (const { type } of connection.status()) events.push(type) }
watch()
let got = 0
connection.subscribe('good', { callback: () => { got++ } })
connection.subscribe('bad', { callback: () => { throw new Error('of a callback') } })
await connection.flush()
other.publish('good')
other.publish('bad')
await other.flush()
await sleep(100)
other.publish('good')
await other.flush()
const flushed = await Promise.race([connection.flush().then(() => 'answered'), sleep(1000).then(() => 'not answered for a second')])
console.log(`messages of the other subscription, one published before and one after: ${got}`)
console.log(`flush(): ${flushed}`)
console.log(`closed: ${connection.isClosed()}, status events: ${events.length}`)
process.exit()
JS
node try.mjs $port | grep -v '^ ' | tee seen

diff seen - <<'EXPECTED'
reader closed Error: of a callback
messages of the other subscription, one published before and one after: 1
flush(): not answered for a second
closed: false, status events: 0
EXPECTED
