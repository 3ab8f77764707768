#!/usr/bin/env bash
# Generated requests against the local system: no 5xx, no undocumented status or content type, every reply
# as its schema says. Usage: scripts/schemathesis.sh [examples per operation]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export PATH="${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}/schemathesis/bin:$PATH"
export EXAMPLES=${1:-200}
command -v schemathesis >/dev/null || { echo "schemathesis is missing: run scripts/install-tools.sh"; exit 1; }
exec "$root/scripts/with-local.sh" bash -euo pipefail -c '
token=$(curl -sf "$URL/auth/register" -H "Content-Type: application/json" -d "{\"email\":\"schema@example.com\",\"password\":\"correct horse\",\"name\":\"Schema\",\"org_name\":\"Schema\"}" | sed -n "s/.*\"token\":\"\([^\"]*\)\".*/\1/p")
schemathesis run "$URL/openapi.json" --url "$URL" \
    --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --max-examples "$EXAMPLES" --seed 20261123 --suppress-health-check all --workers 2
'
