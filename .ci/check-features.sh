#!/usr/bin/env bash
# `cargo test --workspace` compiles no third-party crate again that `cargo run` has compiled: each has the same features in
# both. Lists those that do not.
set -euo pipefail
cd "$(dirname "$0")/.."
crates() { # how to choose packages and edges
    cargo tree --locked --target "$(rustc --print host-tuple)" --prefix none --no-dedupe --format '{p} {f}' "$@" |
        sed 's/ (\*)$//' | grep -v " (/" | sort -u
}
again=$(comm -23 <(crates --package local --edges normal,build) <(crates --workspace --edges normal,build,dev))
[ -z "$again" ] && exit
echo "cargo test --workspace adds features to these crates; name them in local/Cargo.toml:"
echo "$again"
exit 1
