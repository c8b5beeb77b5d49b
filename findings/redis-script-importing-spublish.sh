#!/usr/bin/env bash
# Redis Cluster: a slot is on its way from one node to another. Whoever is told ASK sends ASKING and the same script to the other, as clients of clusters
# do by themselves. A script that writes and publishes on a sharded channel of the slot succeeds there, and no subscriber gets what it has published:
# they are on the old node until the slot has moved.
# Needs redis-server 7.0 and redis-cli.
set -euo pipefail
folder=$(mktemp -d)
pids=()
trap 'kill -9 "${pids[@]}"; wait 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
base=$((20000 + RANDOM % 10000))
for i in 1 2; do
  mkdir $i
  redis-server --port $((base + i)) --cluster-port $((base + 10 + i)) --bind 127.0.0.1 --dir "$folder/$i" --cluster-enabled yes --save '' >/dev/null &
  pids+=($!)
done
at () { redis-cli -h 127.0.0.1 -p $((base + $1)) "${@:2}"; }
for i in 1 2; do until at $i PING >/dev/null 2>&1; do sleep 0.05; done; done
at 1 CLUSTER ADDSLOTSRANGE 0 8191 >/dev/null
at 2 CLUSTER ADDSLOTSRANGE 8192 16383 >/dev/null
at 1 CLUSTER MEET 127.0.0.1 $((base + 2)) $((base + 12)) >/dev/null
for i in 1 2; do until at $i CLUSTER INFO | grep -q cluster_state:ok && [ "$(at $i CLUSTER NODES | wc -l)" = 2 ]; do sleep 0.05; done; done

slot=$(at 1 CLUSTER KEYSLOT '{b}')
at 1 CLUSTER SETSLOT "$slot" MIGRATING "$(at 2 CLUSTER MYID)" >/dev/null
at 2 CLUSTER SETSLOT "$slot" IMPORTING "$(at 1 CLUSTER MYID)" >/dev/null
redis-cli -h 127.0.0.1 -p $((base + 1)) SSUBSCRIBE '{b}' > subscriber &
pids+=($!)
until grep -q ssubscribe subscriber; do sleep 0.05; done
script="redis.call('SET', KEYS[1], 'x') return 'written, published to ' .. redis.call('SPUBLISH', KEYS[1], 'x')"
plain () { sed 's/:[0-9]*$//'; }
{
  echo "the script on the old node: $(at 1 EVAL "$script" 1 '{b}' 2>&1 | plain)"
  echo "the script on the new node: $(printf 'ASKING\nEVAL "%s" 1 {b}\n' "$script" | at 2 2>&1 | tail -n +2)"
  echo "messages that a subscriber on the old node got: $(grep -c smessage subscriber || true)"
} | tee seen

diff seen - <<'EXPECTED'
the script on the old node: ASK 3300 127.0.0.1
the script on the new node: written, published to 0
messages that a subscriber on the old node got: 0
EXPECTED
