#!/usr/bin/env bash
# A real browser (Debian's Chromium) against a local system of its own: the cookie session of a page at another origin, and the first
# steps on /docs. `just browser`; the tools are those that .ci/install-tools.sh installs.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
node=${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}/node/node_modules
command -v chromium >/dev/null && [ -d "$node/playwright-core" ] || { echo "chromium or playwright-core is missing: run .ci/install-tools.sh"; exit 1; }
cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --workspace --bin local --test suite
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$root"/lab/browser/*.mjs "$folder"
ln -s "$node" "$folder/node_modules"
cd "$folder"
target=${CARGO_TARGET_DIR:-$root/target}
timeout 240 node flow.mjs "$target/debug/local"
