#!/usr/bin/env bash
# TypeScript: two declarations of an interface are merged, and the overloads of the later come first. But an overload with a parameter of a literal
# type comes before all without one, in whichever declaration it stands.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm i --ignore-scripts --no-audit --no-fund --loglevel=error typescript6@npm:typescript@6.0.3 typescript7@npm:typescript@7.0.2

for parameter in 'options?: undefined' 'options?: null' "options?: 'never'"; do
  cat > try.ts <<TS
interface Router { get (path: string, $parameter): 'of the first declaration' }
interface Router { get (path: string): 'of the second declaration' }
declare const router: Router
const result: 'of the first declaration' = router.get('/')
export { result }
TS
  for name in typescript6 typescript7; do
    version=$(node -p "require('./node_modules/$name/package.json').version")
    if node "node_modules/$name/bin/tsc" --ignoreConfig --noEmit --strict try.ts > /dev/null 2>&1; then which=first; else which=second; fi
    echo "typescript $version: with \"$parameter\" in the first declaration, the overload of the $which is taken"
  done
done | tee seen

diff seen - <<'EXPECTED'
typescript 6.0.3: with "options?: undefined" in the first declaration, the overload of the second is taken
typescript 7.0.2: with "options?: undefined" in the first declaration, the overload of the second is taken
typescript 6.0.3: with "options?: null" in the first declaration, the overload of the first is taken
typescript 7.0.2: with "options?: null" in the first declaration, the overload of the first is taken
typescript 6.0.3: with "options?: 'never'" in the first declaration, the overload of the first is taken
typescript 7.0.2: with "options?: 'never'" in the first declaration, the overload of the first is taken
EXPECTED
