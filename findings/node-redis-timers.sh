#!/usr/bin/env bash
# node-redis 6: each command has a timer of its own (AbortSignal.timeout()), also where no timeout was given: the default is 5 s. `commandOptions: {}`
# leaves the default; only `{ timeout: undefined }` has none. They take up to half of the CPU of a command, most of it later, in the collector.
# In 5.x there was none unless it was asked for. Needs redis-server.
set -euo pipefail
folder=$(mktemp -d)
port=$((20000 + RANDOM % 10000))
redis-server --port $port --bind 127.0.0.1 --save '' --appendonly no --daemonize no > /dev/null &
server=$!
trap 'kill $server; rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error redis-5@npm:redis@5.10.0 redis-6@npm:redis@6.3.1

cat > try.mjs <<'JS'
import { setTimeout as sleep } from 'node:timers/promises'

let timers = 0
const { timeout } = AbortSignal
AbortSignal.timeout = milliseconds => {
  timers++
  return timeout.call(AbortSignal, milliseconds)
}
for (const name of ['redis-5', 'redis-6']) {
  const { createClient } = await import(name)
  for (const given of [undefined, {}, { timeout: undefined }]) {
    const client = createClient({ url: `redis://127.0.0.1:${process.argv[2]}`, ...(given === undefined ? {} : { commandOptions: given }) })
    client.on('error', () => {})
    while (!client.isReady) await client.connect().catch(() => sleep(50))
    timers = 0
    for (let i = 0; i < 100; i++) await client.ping()
    console.log(`${name}, commandOptions ${given === undefined ? 'not given' : `{ ${Object.keys(given).map(key => `${key}: undefined`).join('')} }`}: ${timers} timers for 100 commands`)
    client.destroy()
  }
}
process.exit()
JS
node try.mjs $port | tee seen

diff seen - <<'EXPECTED'
redis-5, commandOptions not given: 0 timers for 100 commands
redis-5, commandOptions {  }: 0 timers for 100 commands
redis-5, commandOptions { timeout: undefined }: 0 timers for 100 commands
redis-6, commandOptions not given: 100 timers for 100 commands
redis-6, commandOptions {  }: 100 timers for 100 commands
redis-6, commandOptions { timeout: undefined }: 0 timers for 100 commands
EXPECTED
