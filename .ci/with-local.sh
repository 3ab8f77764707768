#!/usr/bin/env bash
# Starts an ephemeral local system, runs a command with its address in $URL and those of its back ends in
# $DATABASE_URL, $QUEUES_URL and $MAIL_URL, and ends it.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
log=$(mktemp)
# With a test beside it, dependencies get the features that they have in `cargo test --workspace`; without,
# some get fewer, and everything above them is compiled once more.
cargo build --quiet --manifest-path "$root/Cargo.toml" --workspace --bin local --test suite
"${CARGO_TARGET_DIR:-$root/target}/debug/local" --ephemeral --port 0 > "$log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
    URL=$(sed -n 's/.*API answers at //p' "$log")
    DATABASE_URL=$(sed -n 's/.*embedded database answers at \([^ ]*\).*/\1/p' "$log")
    QUEUES_URL=$(sed -n 's/.*embedded queues answer at //p' "$log")
    MAIL_URL=$(sed -n 's/.*embedded mail service answers at \([^ ]*\).*/\1/p' "$log")
    [ -n "$MAIL_URL" ] && break
    kill -0 "$pid" 2>/dev/null || { cat "$log"; exit 1; }
    sleep 0.1
done
[ -n "$MAIL_URL" ] || { echo "the local system did not start"; cat "$log"; exit 1; }
export URL DATABASE_URL QUEUES_URL MAIL_URL
"$@"
