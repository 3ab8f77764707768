#!/usr/bin/env bash
# Generated requests against the local system: no 5xx, no undocumented status or content type, every reply
# as its schema says. Usage: .ci/schemathesis.sh [examples per operation]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export PATH="${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}/schemathesis/bin:$PATH"
export EXAMPLES=${1:-200}
command -v schemathesis >/dev/null || { echo "schemathesis is missing: run .ci/install-tools.sh"; exit 1; }
config=$(mktemp --suffix .toml)
export config
# One address asks for all of it, also for what no session is needed for.
export FAILED_LOG_INS_PER_MINUTE=1000000 REGISTRATIONS_PER_MINUTE=1000000 REGISTRATIONS_PER_DAY=1000000 RESET_LINKS_PER_DAY=1000000
export SESSION_REQUESTS_PER_SECOND=1000000 ORG_REQUESTS_PER_SECOND=1000000,1000000,1000000
export EMAILS_PER_DAY=1000000 DOLLARS_PER_DAY=1000000 CAP_SHARES=100,100,100
exec "$root/.ci/with-local.sh" bash -euo pipefail -c '
trap "rm -f $config" EXIT
register() {
    curl -sf "$URL/auth/register" -H "Content-Type: application/json" \
        -d "{\"email\":\"$1\",\"password\":\"correct horse\",\"name\":\"Schema\",\"org_name\":\"Schema\"}"
}
text() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
check() { # token, then more arguments
    local token=$1
    shift
    schemathesis --config-file "$config" run "$URL/openapi.json" --url "$URL" \
        --header "Authorization: Bearer $token" \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
        --max-examples "$EXAMPLES" --seed 20261123 --suppress-health-check all "$@"
}
session=$(register schema@example.com)
# What is outside (e-mails, invitations) needs a proven address.
"$(curl -sS "$URL/_local/program")" account --verified --email schema@example.com --port "${URL##*:}"
org=$(grep -o "org_[0-9a-f]*" <<< "$session" | head -1)
# Generated ids would be somebody else'"'"'s: reach the handlers behind the 404.
printf "[parameters]\norg_id = \"%s\"\n" "$org" > "$config"
check "$(text token <<< "$session")" --exclude-operation-id logout
# Logging out ends the session that the others need: it has one of its own.
check "$(register logout@example.com | text token)" --include-operation-id logout
'
