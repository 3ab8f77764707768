#!/usr/bin/env bash
# Installs what CI and the justfile use beyond Rust, into $CITIZEN_TOOLS. Does nothing where it is done.
set -euo pipefail
tools=${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}
mkdir -p "$tools"

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

# Puts together what functions count, for `just build`: the compiler's own tool, or Debian's, whose older format it reads.
if ! find "$(rustc --print sysroot)" -name llvm-profdata | grep -q . && ! command -v llvm-profdata-19 >/dev/null; then
    rustup component add llvm-tools || {
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends llvm-19
    }
fi

# Containers, for `just sam-local` (deploy/sam-local.sh starts an engine of its own).
if ! command -v dockerd >/dev/null || ! command -v iptables >/dev/null || [ ! -x /bin/busybox ]; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends docker.io iptables busybox-static
fi

# One environment each where their dependencies disagree.
pip_tool() { # folder, then packages
    local venv=$tools/$1
    shift
    if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$*" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q "$@"
        echo "$*" > "$venv/.installed"
    fi
}
# watchfiles is for `just watch`.
pip_tool venv aws-sam-cli==1.170.0 cargo-lambda==1.9.2 ziglang==0.17.1 cfn-lint==1.58.0 rust-just==1.59.0 watchfiles==1.3.0
pip_tool schemathesis schemathesis==4.32.5
# Load by lab/locustfile.py.
pip_tool locust locust==2.47.0
pip_tool ministack ministack==1.5.33 aws-sam-translator==1.115.0

pip_tool checkov checkov==3.3.30

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
