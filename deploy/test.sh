#!/usr/bin/env bash
# Some of this folder's tests, with SAM CLI's Python.
# Usage: deploy/test.sh test_metrics [test_metrics.Watched.test_… …]
set -euo pipefail
cd "$(dirname "$0")"
exec "${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}/venv/bin/python" -m unittest --quiet "$@"
