#!/usr/bin/env bash
# OpenTelemetry: 2.12 and 3.1 of the SDK demand versions of the API that exclude each other, so that no one version of the API serves an
# app whose dependencies are on either side. A library that uses the API must take both (here: ^1.9.0).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
try () {
  rm -rf node_modules package-lock.json
  echo '{"private":true}' > package.json
  npm i --ignore-scripts --no-audit --no-fund "@opentelemetry/api@$1" "@opentelemetry/sdk-metrics@$2" > log 2>&1 && echo "api $1, sdk-metrics $2: installed" ||
    echo "api $1, sdk-metrics $2: $(grep -o ERESOLVE log | head -n 1)"
}
for sdk in 2.12.1 3.1.1; do for api in 1.9.1 1.10.0; do try "$api" "$sdk"; done; done | tee seen

diff seen - <<'EXPECTED'
api 1.9.1, sdk-metrics 2.12.1: installed
api 1.10.0, sdk-metrics 2.12.1: ERESOLVE
api 1.9.1, sdk-metrics 3.1.1: ERESOLVE
api 1.10.0, sdk-metrics 3.1.1: installed
EXPECTED
