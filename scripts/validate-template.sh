#!/usr/bin/env bash
# `sam validate --lint` needs a region and credentials, but calls nobody.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}/venv/bin:$PATH"
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none
sam validate --lint --template template.yaml
