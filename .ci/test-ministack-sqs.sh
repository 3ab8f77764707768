#!/usr/bin/env bash
# The queue service's features on MiniStack, as on the embedded one. Fails where MiniStack is missing.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export MINISTACK_PYTHON=${MINISTACK_PYTHON:-${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}/ministack/bin/python}
[ -x "$MINISTACK_PYTHON" ] || { echo "MiniStack is missing: run .ci/install-tools.sh"; exit 1; }
cargo test --manifest-path "$root/Cargo.toml" --workspace --test suite -- \
    --ignored --exact sqs::ministack_has_the_same_features
