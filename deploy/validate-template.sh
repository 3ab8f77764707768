#!/usr/bin/env bash
# The template's linters and this project's own rules (deploy/policies/). They need a region and credentials, but call nobody.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}
export PATH="$tools/venv/bin:$tools/cargo/bin:$PATH"
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none

timed() { # name, then the command
    local name=$1 start=$SECONDS
    shift
    "$@"
    echo "$name: $((SECONDS - start)) s"
}

# Takes as long as all others together: beside them.
said=$(mktemp)
"$tools/venv/bin/python" deploy/changes.py > "$said" 2>&1 &
changes=$!
trap 'kill "$changes" 2>/dev/null || true; rm -f "$said"' EXIT
changes_arrive() {
    wait "$changes" || { cat "$said"; exit 1; }
    cat "$said"
}

timed "sam validate" sam validate --lint --template template.yaml
timed "cfn-lint" cfn-lint --template template.yaml
(cd deploy && timed "environments, preflight, procedures, releases, pages, workflows" \
    "$tools/venv/bin/python" -m unittest --quiet test_environments test_preflight test_procedures test_releases test_pages test_workflows)
(cd deploy && timed "template tests" "$tools/ministack/bin/python" -m unittest --quiet test_template test_metrics test_throttles test_money)
timed "throttles" "$tools/ministack/bin/python" deploy/throttles.py
timed "sums of money" "$tools/ministack/bin/python" deploy/money.py
timed "roles" cfn-lint --template deploy/github-role.yaml
timed "role has what is needed" "$tools/venv/bin/python" deploy/role.py
timed "guard rules" "$tools/ministack/bin/python" deploy/check_policies.py
timed "checkov" "$tools/checkov/bin/checkov" --config-file .checkov.yaml
timed "changes arrive" changes_arrive
