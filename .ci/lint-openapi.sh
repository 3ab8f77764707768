#!/usr/bin/env bash
# The published document has no finding by the linters of Redocly and Spectral. Usage: .ci/lint-openapi.sh [document]
set -euo pipefail
cd "$(dirname "$0")/.."
document=${1:-functions/docs/openapi.json}
bin=${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}/node/node_modules/.bin
[ -x "$bin/redocly" ] || { echo "redocly is missing: run .ci/install-tools.sh"; exit 1; }
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
"$bin/redocly" lint --config .ci/node/redocly.yaml --format stylish "$document"
"$bin/spectral" lint --ruleset .ci/node/spectral.yaml --fail-severity hint "$document"
