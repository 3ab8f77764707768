#!/usr/bin/env bash
# Clients generated from the published document compile as strictly as their languages can, and make a walk over the system at $URL
# (.ci/with-local.sh gives one). The generators and compilers are those that .ci/install-tools.sh pins.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
tools=${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}
node=$tools/node/node_modules python=$tools/clients/bin
[ -x "$node/.bin/openapi-typescript" ] && [ -x "$python/openapi-python-client" ] || { echo "a generator is missing: run .ci/install-tools.sh"; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
document=$folder/openapi.json
"${CARGO_TARGET_DIR:-$root/target}/debug/local" openapi > "$document"

echo "::: openapi-typescript"
cp "$root/lab/clients/walk.ts" "$folder"
ln -s "$node" "$folder/node_modules"
echo '{"type": "module"}' > "$folder/package.json"
"$node/.bin/openapi-typescript" "$document" --output "$folder/api.ts" > /dev/null
(cd "$folder" && "$node/.bin/tsc" --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --noImplicitReturns \
    --noFallthroughCasesInSwitch --target es2022 --module nodenext --types node --outDir out walk.ts)
cp "$folder/package.json" "$folder/out"
node "$folder/out/walk.js" "$URL"

echo "::: openapi-python-client"
printf 'post_hooks: []\n' > "$folder/config.yml"
PATH="$python:$PATH" openapi-python-client generate --path "$document" --config "$folder/config.yml" --meta none \
    --output-path "$folder/citizen_app_api_client" > "$folder/said" 2>&1
# It knows no body that is plain text, says so and leaves that form out. Nothing else is left out.
if [ "$(grep -c '^WARNING' "$folder/said")" != 1 ] || ! grep -q '^Unsupported content type text/plain' "$folder/said"; then
    cat "$folder/said"
    exit 1
fi
cp "$root/lab/clients/walk.py" "$folder"
(cd "$folder" && "$python/mypy" --strict --cache-dir "$folder/.mypy" citizen_app_api_client walk.py)
(cd "$folder" && "$python/python" walk.py "$URL")
