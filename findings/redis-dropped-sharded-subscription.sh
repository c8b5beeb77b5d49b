#!/usr/bin/env bash
# Redis Cluster: when a slot has moved away, its node drops the subscriptions to sharded channels of the slot, and says so by a sunsubscribe that nobody has
# asked for. iovalkey takes it for a fault of its own. ioredis 6 emits 'moved', and the same 'moved' when a SSUBSCRIBE is refused, whose promise rejects
# as well: the event alone does not tell which of the two it was.
# Needs redis-server 7.0 and redis-cli.
set -euo pipefail
folder=$(mktemp -d)
pids=()
trap 'kill -9 "${pids[@]}"; wait 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error ioredis@6.0.0 iovalkey@0.4.0
base=$((20000 + RANDOM % 10000))
for i in 1 2; do
  mkdir $i
  redis-server --port $((base + i)) --cluster-port $((base + 10 + i)) --bind 127.0.0.1 --dir "$folder/$i" --cluster-enabled yes --save '' >/dev/null &
  pids+=($!)
done
at () { redis-cli -h 127.0.0.1 -p $((base + $1)) "${@:2}"; }
for i in 1 2; do until at $i PING >/dev/null 2>&1; do sleep 0.05; done; done
at 1 CLUSTER ADDSLOTSRANGE 0 8191 >/dev/null
at 2 CLUSTER ADDSLOTSRANGE 8192 16383 >/dev/null
at 1 CLUSTER MEET 127.0.0.1 $((base + 2)) $((base + 12)) >/dev/null
for i in 1 2; do until at $i CLUSTER INFO | grep -q cluster_state:ok && [ "$(at $i CLUSTER NODES | wc -l)" = 2 ]; do sleep 0.05; done; done

cat > try.mjs <<'JS'
import { execFileSync } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import { Redis as IoRedis } from 'ioredis'
import IoValkey from 'iovalkey'

const base = Number(process.argv[2])
const cli = (node, ...args) => execFileSync('redis-cli', ['-h', '127.0.0.1', '-p', String(base + node), ...args]).toString().trim()
const ids = [1, 2].map(node => cli(node, 'CLUSTER', 'MYID'))
const plain = text => text.replace(/:\d+$/, '')

/** Gives the slot of {b} to a node. */
function give (to) {
  for (const node of [to, 3 - to]) cli(node, 'CLUSTER', 'SETSLOT', cli(1, 'CLUSTER', 'KEYSLOT', '{b}'), 'NODE', ids[to - 1])
}

async function attempt (name, client, subscribe) {
  const seen = []
  for (const event of ['moved', 'error', 'close', 'end']) client.on(event, error => { seen.push(error instanceof Error ? `${event} "${error.message.split('.')[0]}"` : event) })
  await subscribe('{b}')
  give(2)
  await setTimeout(500)
  console.log(`${name}, dropped by the server: ${[...new Set(seen)].join(', ') || 'nothing'}`)
  seen.length = 0
  await subscribe('{b}').catch(error => { seen.push(`rejected "${plain(error.message)}"`) })
  await setTimeout(500)
  console.log(`${name}, refused by the server: ${[...new Set(seen)].join(', ') || 'nothing'}`)
  give(1)
  client.disconnect()
}

give(1)
const options = { port: base + 1, host: '127.0.0.1' }
const valkey = new IoValkey(options)
await attempt('iovalkey 0.4.0', valkey, channel => valkey.ssubscribe(channel))
const redis = new IoRedis(options)
await attempt('ioredis 6.0.0', redis, channel => redis.ssubscribe(channel))
process.exit()
JS
node try.mjs "$base" | tee seen

diff seen - <<'EXPECTED'
iovalkey 0.4.0, dropped by the server: error "Command queue state error"
iovalkey 0.4.0, refused by the server: rejected "MOVED 3300 127.0.0.1"
ioredis 6.0.0, dropped by the server: moved
ioredis 6.0.0, refused by the server: moved, rejected "MOVED 3300 127.0.0.1"
EXPECTED
