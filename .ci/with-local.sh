#!/usr/bin/env bash
# Starts an ephemeral local system, runs a command with its address in $URL and those of its back ends in
# $DATABASE_URL, $QUEUES_URL and $MAIL_URL, and ends it. $LOCAL_OPTIONS are given to the system.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
log=$(mktemp)
# With a test beside it, dependencies get the features that they have in `cargo test --workspace`; without,
# some get fewer, and everything above them is compiled once more.
cargo build --quiet --manifest-path "$root/Cargo.toml" --workspace --bin local --test suite
"${CARGO_TARGET_DIR:-$root/target}/debug/local" --ephemeral --port 0 ${LOCAL_OPTIONS:-} > "$log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -f "$log"' EXIT
said() { sed -n "s/.*$1 \\([^ ]*\\).*/\\1/p" "$log"; }
for _ in $(seq 100); do
    # The last of what it says: the others are there then.
    MAIL_URL=$(said "embedded mail service answers at")
    [ -n "$MAIL_URL" ] && break
    kill -0 "$pid" 2>/dev/null || { cat "$log"; exit 1; }
    sleep 0.1
done
[ -n "$MAIL_URL" ] || { echo "the local system did not start"; cat "$log"; exit 1; }
URL=$(said "API answers at") DATABASE_URL=$(said "embedded database answers at") QUEUES_URL=$(said "embedded queues answer at")
export URL DATABASE_URL QUEUES_URL MAIL_URL
"$@"
