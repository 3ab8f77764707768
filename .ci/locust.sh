#!/usr/bin/env bash
# A short run of lab/locustfile.py over the local system at $URL (.ci/with-local.sh gives one). Any failed request fails it.
set -euo pipefail
cd "$(dirname "$0")/.."
"${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}/locust/bin/locust" -f lab/locustfile.py --host "$URL" --headless --only-summary \
    --users 20 --spawn-rate 20 --run-time 15s --exit-code-on-error 1 "$@"
