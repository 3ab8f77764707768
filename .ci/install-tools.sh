#!/usr/bin/env bash
# Installs what CI and the justfile use beyond Rust, into $CITIZEN_TOOLS. Does nothing where it is done.
# Usage: install-tools.sh [sam]      sam: SAM CLI and what is installed with it alone, for whoever only deploys; needs no root
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}
mkdir -p "$tools"

# One environment each where their dependencies disagree. Everything in them is pinned by its hash; `just python-tools-update` pins anew
# what .ci/requirements/*.in name. The files are complete, so nothing is resolved; nothing is built, which would fetch what is not pinned.
pip_tools() { # requirements, and the folder if it is called otherwise
    local venv=$tools/${2:-$1} requirements=.ci/requirements/$1.txt
    local pinned
    pinned=$(sha256sum < "$requirements")
    if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$pinned" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q --no-deps --only-binary :all: --require-hashes -r "$requirements"
        "$venv/bin/pip" check -q
        echo "$pinned" > "$venv/.installed"
    fi
}
if [ "${1:-}" = sam ]; then
    pip_tools tools venv
    exit
fi

# zsh is for `just walkthrough`.
if ! command -v redis-server >/dev/null || ! command -v curl >/dev/null || ! command -v zsh >/dev/null; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends redis-server curl zsh
fi

# Counts instructions, for `just instructions`.
if ! command -v valgrind >/dev/null; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends valgrind libc6-dbg
fi

# Puts together what functions count, for `just build --release`: the compiler's own tool, or Debian's, whose older format it reads.
if ! find "$(rustc --print sysroot)" -name llvm-profdata | grep -q . && ! command -v llvm-profdata-19 >/dev/null; then
    rustup component add llvm-tools || {
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends llvm-19
    }
fi

# A real browser, for `just browser`.
if ! command -v chromium >/dev/null; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends chromium
fi

# Containers, for `just sam-local` (deploy/sam-local.sh starts an engine of its own).
if ! command -v dockerd >/dev/null || ! command -v iptables >/dev/null || [ ! -x /bin/busybox ]; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends docker.io iptables busybox-static
fi

pip_tools tools venv
pip_tools schemathesis
# Load by lab/locustfile.py.
pip_tools locust
pip_tools ministack
# For `just clients`: a generator of clients, what checks their types, and what they need.
pip_tools clients
pip_tools checkov

# Linters of the OpenAPI document, generators and what they generate for, a browser's driver. `npm ci` installs what the lock file
# pins, by hash; none of these needs its install script.
if ! command -v npm >/dev/null || [ "$(node -p 'const [major, minor] = process.versions.node.split("."); major > 20 || major == 20 && minor >= 19')" != true ]; then
    echo "Node.js 20.19 or later with npm is missing: install it from your system's packages or from Node's own"
    exit 1
fi
pinned=$(cat .ci/node/package.json .ci/node/package-lock.json | sha256sum)
if [ "$(cat "$tools/node/.installed" 2>/dev/null)" != "$pinned" ]; then
    rm -rf "$tools/node"
    mkdir -p "$tools/node"
    cp .ci/node/package.json .ci/node/package-lock.json "$tools/node"
    npm ci --prefix "$tools/node" --ignore-scripts --no-audit --no-fund --loglevel=error
    echo "$pinned" > "$tools/node/.installed"
fi

cargo_tool() { # binary, then package@version; they run for seconds, so their own speed is not worth its compilation
    if [ ! -x "$tools/cargo/bin/$1" ]; then
        CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            cargo install --quiet --locked --root "$tools/cargo" "$2"
    fi
}
cargo_tool cargo-deny cargo-deny@0.20.2
cargo_tool cfn-guard cfn-guard@3.2.1
# The version is that of gungraun in Cargo.toml.
cargo_tool gungraun-runner gungraun-runner@0.20.0
