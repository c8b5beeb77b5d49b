#!/usr/bin/env bash
# find-my-way, Fastify's router: `::` in a route is a literal colon, but behind a parameter it becomes a part of the parameter's name, and the route matches
# every path. (Custom verbs such as /items/5:cancel.) With a regular expression for the parameter it is a colon again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error find-my-way@9.10.1

cat > try.mjs <<'JS'
import FindMyWay from 'find-my-way'

for (const route of ['/items/all::cancel', '/items/:id::cancel', '/items/:id([^:]+)::cancel']) {
  const router = FindMyWay()
  router.on('GET', route, () => {})
  for (const path of [route.includes('all') ? '/items/all:cancel' : '/items/5:cancel', '/items/5']) {
    console.log(`${route} for ${path}: ${JSON.stringify(router.find('GET', path)?.params ?? 'not found')}`)
  }
}
JS
node try.mjs | tee seen

diff seen - <<'EXPECTED'
/items/all::cancel for /items/all:cancel: {}
/items/all::cancel for /items/5: "not found"
/items/:id::cancel for /items/5:cancel: {"id::cancel":"5:cancel"}
/items/:id::cancel for /items/5: {"id::cancel":"5"}
/items/:id([^:]+)::cancel for /items/5:cancel: {"id":"5"}
/items/:id([^:]+)::cancel for /items/5: "not found"
EXPECTED
