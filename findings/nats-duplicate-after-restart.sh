#!/usr/bin/env bash
# NATS JetStream: a message that is published once more with the same Nats-Msg-Id is recognized for the whole duplicate_window, though it has been dropped
# by a limit meanwhile. Not so when the server was started again in between: then only ids of messages that are still stored are known, and the
# repetition is stored as a new message.
# Needs nats-server.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error @nats-io/transport-node@3.4.0
port=$((20000 + RANDOM % 10000))

cat > try.mjs <<'JS'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, headers } from '@nats-io/transport-node'

const [folder, port] = process.argv.slice(2)
const serve = async () => {
  const child = spawn('nats-server', ['-a', '127.0.0.1', '-p', port, '-js', '-sd', `${folder}/store`], { stdio: ['ignore', 'ignore', 'pipe'] })
  for await (const chunk of child.stderr) if (String(chunk).includes('Server is ready')) break
  return child
}
const publish = async (connection, id) => {
  const fields = headers()
  fields.set('Nats-Msg-Id', id)
  const { seq, duplicate } = (await connection.request('a', 'x', { headers: fields, timeout: 5000 })).json()
  return `number ${seq}${duplicate ? ', a duplicate' : ''}`
}
let server = await serve()
let connection = await connect({ servers: `127.0.0.1:${port}` })
await connection.request('$JS.API.STREAM.CREATE.S', JSON.stringify({ name: 'S', subjects: ['a'], max_msgs_per_subject: 1, duplicate_window: 120e9 }))
console.log(`id 1: ${await publish(connection, '1')}`)
console.log(`id 2, which drops the first: ${await publish(connection, '2')}`)
console.log(`id 1 again: ${await publish(connection, '1')}`)
await connection.close()
server.kill('SIGTERM')
await once(server, 'exit')
server = await serve()
connection = await connect({ servers: `127.0.0.1:${port}` })
console.log(`id 2 again, after a restart: ${await publish(connection, '2')}`)
console.log(`id 1 again, after a restart: ${await publish(connection, '1')}`)
await connection.close()
server.kill('SIGKILL')
JS
node try.mjs "$folder" $port | tee seen

diff seen - <<'EXPECTED'
id 1: number 1
id 2, which drops the first: number 2
id 1 again: number 1, a duplicate
id 2 again, after a restart: number 2, a duplicate
id 1 again, after a restart: number 3
EXPECTED
