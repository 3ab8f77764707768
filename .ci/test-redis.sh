#!/usr/bin/env bash
# The cache's own tests against real servers, with `shared/discovery`; then the integration suite over a real Redis, as
# `cargo test --workspace` has compiled it: with `--all` every test, otherwise without those of jobs, queues, records, guesses and
# documents, which ask the cache no more than the others do. Fails where redis-server, MiniStack (for ElastiCache's control plane) or AWS's
# runtime interface emulator (part of SAM CLI) is missing.
set -euo pipefail
less=()
for module in jobs hot sqs batches template documents documented stored events guesses networks coverage; do less+=(--skip "$module::"); done
ignored=(one_read::{twenty_processes_of_fifty_readers_read_the_database_once,a_holder_that_is_killed_costs_one_more_read}
    stream::what_{was_written_while_the_cache_was_away_reaches_it_when_it_is_back,is_written_during_failovers_of_the_cache_reaches_it})
[ "${1:-}" != --all ] || less=()
root=$(cd "$(dirname "$0")/.." && pwd)
command -v redis-server >/dev/null || { echo "redis-server is missing: run .ci/install-tools.sh"; exit 1; }
tools=${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}
AWS_LAMBDA_RIE=${AWS_LAMBDA_RIE:-$(find "$tools" -name aws-lambda-rie-x86_64 -print -quit)}
MINISTACK_PYTHON=${MINISTACK_PYTHON:-$tools/ministack/bin/python}
[ -x "$MINISTACK_PYTHON" ] || { echo "MiniStack is missing: run .ci/install-tools.sh"; exit 1; }
export AWS_LAMBDA_RIE MINISTACK_PYTHON
cargo test --manifest-path "$root/Cargo.toml" --workspace --features shared/discovery --test redis
folder=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --dir "$folder" --save '' > "$folder/log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
for _ in $(seq 50); do redis-cli -p "$port" ping > /dev/null 2>&1 && break; sleep 0.1; done
redis-cli -p "$port" ping > /dev/null
export CACHE_URL="redis://127.0.0.1:$port/"
cargo test --manifest-path "$root/Cargo.toml" --workspace --test suite -- "${less[@]}"
for test in "${ignored[@]}"; do
    said=$(cargo test --manifest-path "$root/Cargo.toml" --workspace --test suite -- --ignored --exact "$test") ||
        { echo "$said"; exit 1; }
    echo "$said"
    [[ $said == *" 1 passed"* ]]
done
hits=$(redis-cli -p "$port" info stats | sed -n 's/^keyspace_hits:\([0-9]*\).*/\1/p')
echo "Redis saw $hits hits"
[ "$hits" -gt 0 ]
