#!/usr/bin/env bash
# `cargo test --workspace` compiles no third-party crate again that `cargo run` has compiled: each has the same features in
# both. Lists those that do not. And each crate of ours has one configuration: what the tests run is what deploys.
set -euo pipefail
cd "$(dirname "$0")/.."
crates() { # how to choose packages and edges
    cargo tree --locked --target "$(rustc --print host-tuple)" --prefix none --format '{p} {f}' "$@" |
        sed 's/ (\*)$//' | grep -v " (/" | sort -u
}
again=$(comm -23 <(crates --package local --edges normal,build) <(crates --workspace --edges normal,build,dev))
if [ -n "$again" ]; then
    echo "cargo test --workspace adds features to these crates; name them in local/Cargo.toml:"
    echo "$again"
    exit 1
fi
features=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
print(*sorted({feature for package in json.load(sys.stdin)["packages"] for feature in package["features"]} - {"discovery", "gungraun"}))')
turned_on=$(cargo tree --locked --workspace --edges normal,build,dev --prefix none --format '{p} {f}' | sed 's/ (\*)$//' |
    grep -F " ($PWD" | grep ') .' | sort -u || true)
if [ -n "$features$turned_on" ]; then
    echo "the tests would run another configuration than the one that deploys: $features $turned_on"
    exit 1
fi
