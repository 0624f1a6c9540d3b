#!/usr/bin/env bash
# Three ZooKeeper servers and three hosts on this machine; a pipeline goes on although
# the host that leads is killed. Needs Go, Java 17 and Maven.
#
#   examples/cluster/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
hosts=()
finish() {
  for pid in "${hosts[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  make -s zookeeper-down >/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

go build -o "$work/weir" ./cmd/weir
rm -rf out/cluster
zookeeper=$(make -s zookeeper-up | tail -1)
echo "ZooKeeper: ${zookeeper#zookeeper=}"
for i in 1 2 3; do
  "$work/weir" serve --zookeeper "${zookeeper#zookeeper=}" --cluster "example-$$" --host-id "host$i" \
    --listen "127.0.0.1:711$i" --checkpoint-storage "file://$work/checkpoints" --state-dir "$work/state" \
    2>"$work/host$i.log" &
  hosts+=($!)
  disown
done
weir() { "$work/weir" "$@" --server "127.0.0.1:711$alive"; }
alive=1
for _ in $(seq 100); do weir hosts 2>/dev/null | grep -q host3 && break; sleep 0.2; done

weir submit examples/cluster/numbers.yaml
weir wait numbers --for checkpoint
weir hosts
leader=$(weir hosts | awk '$3 == "leads" { print substr($1, 5) }')
echo "killing host$leader, which leads"
kill -9 "${hosts[$((leader - 1))]}"
alive=$((leader % 3 + 1))
sleep 6 # the session timeout is 4 seconds
weir hosts
weir status numbers
weir wait numbers --for finished --timeout 5m
echo "different records: $(cat out/cluster/* | sort -u | wc -l), all: $(cat out/cluster/* | wc -l)"
