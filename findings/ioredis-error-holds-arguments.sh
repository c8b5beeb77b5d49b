#!/usr/bin/env bash
# ioredis, iovalkey: the error of a command that Redis refuses has all arguments of the command, as an enumerable property. A logger such as pino writes
# them into the log: the value of a SET, or the password of an AUTH. The errors of node-redis have none.
# Needs redis-server.
set -euo pipefail
folder=$(mktemp -d)
pids=()
trap 'kill -9 "${pids[@]}"; wait 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error ioredis@6.0.0 iovalkey@0.4.0 redis@6.3.1 pino@10.1.0
port=$((20000 + RANDOM % 10000))
redis-server --port $port --bind 127.0.0.1 --dir "$folder" --save '' >/dev/null &
pids+=($!)
until redis-cli -h 127.0.0.1 -p $port PING >/dev/null 2>&1; do sleep 0.05; done
redis-cli -h 127.0.0.1 -p $port RPUSH list 1 >/dev/null

cat > try.mjs <<'JS'
import { Redis as IoRedis } from 'ioredis'
import IoValkey from 'iovalkey'
import pino from 'pino'
import { createClient } from 'redis'

const port = Number(process.argv[2])
const options = { port, host: '127.0.0.1' }
const nodeRedis = createClient({ url: `redis://127.0.0.1:${port}` })
await nodeRedis.connect()
for (const [name, client] of [['ioredis 6.0.0', new IoRedis(options)], ['iovalkey 0.4.0', new IoValkey(options)], ['redis 6.3.1', nodeRedis]]) {
  for (const command of [['APPEND', 'list', 'a private message'], ['AUTH', 'nobody', 'a password']]) {
    const send = client === nodeRedis ? client.sendCommand(command) : client.call(...command)
    const error = await send.catch(error => error)
    let line = ''
    pino({}, { write: text => { line += text } }).error({ err: error }, 'failed')
    console.log(`${name}, ${command[0]}: ${error.message?.split(' ')[0]}; the log line has ${command.at(-1)}: ${line.includes(command.at(-1))}`)
  }
}
process.exit()
JS
node try.mjs $port | tee seen

diff seen - <<'EXPECTED'
ioredis 6.0.0, APPEND: WRONGTYPE; the log line has a private message: true
ioredis 6.0.0, AUTH: WRONGPASS; the log line has a password: true
iovalkey 0.4.0, APPEND: WRONGTYPE; the log line has a private message: true
iovalkey 0.4.0, AUTH: WRONGPASS; the log line has a password: true
redis 6.3.1, APPEND: WRONGTYPE; the log line has a private message: false
redis 6.3.1, AUTH: WRONGPASS; the log line has a password: false
EXPECTED
