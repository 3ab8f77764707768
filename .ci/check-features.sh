#!/usr/bin/env bash
# `cargo test --workspace` compiles no third-party crate again that `cargo run` has compiled: each has the same features in
# both. Lists those that do not. And each crate of ours has one configuration: what the tests run is what deploys. And it uses each
# dependency that it names.
set -euo pipefail
cd "$(dirname "$0")/.."
crates() { # how to choose packages and edges
    cargo tree --locked --target "$(rustc --print host-tuple)" --prefix none --format '{p} {f}' "$@" |
        sed 's/ (\*)$//' | grep -v " (/" | sort -u
}
again=$(comm -23 <(crates --package local --edges normal,build) <(crates --workspace --edges normal,build,dev))
if [ -n "$again" ]; then
    echo "cargo test --workspace adds features to these crates; name them in local/Cargo.toml:"
    echo "$again"
    exit 1
fi
features=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
print(*sorted({feature for package in json.load(sys.stdin)["packages"] for feature in package["features"]} - {"discovery", "gungraun"}))')
turned_on=$(cargo tree --locked --workspace --edges normal,build,dev --prefix none --format '{p} {f}' | sed 's/ (\*)$//' |
    grep -F " ($PWD" | grep ') .' | sort -u || true)
if [ -n "$features$turned_on" ]; then
    echo "the tests would run another configuration than the one that deploys: $features $turned_on"
    exit 1
fi
cargo metadata --locked --format-version 1 | python3 -c '
import json, pathlib, re, sys
data = json.load(sys.stdin)
library = {package["name"]: target["name"].replace("-", "_") for package in data["packages"] for target in package["targets"]
           if {"lib", "rlib", "cdylib", "proc-macro"} & set(target["kind"])}
# Named for their features (above).
named = {("local", "sync_wrapper"), ("local", "tower-http")}
unused = []
for package in data["packages"]:
    if package["id"] in data["workspace_members"]:
        folder = pathlib.Path(package["manifest_path"]).parent
        text = " ".join(file.read_text() for file in folder.rglob("*.rs") if "target" not in file.relative_to(folder).parts)
        for dependency in package["dependencies"]:
            word = dependency["rename"] or library.get(dependency["name"], dependency["name"].replace("-", "_"))
            if not re.search(rf"\b{word}\b", text) and (package["name"], dependency["name"]) not in named:
                unused.append(package["name"] + " names " + dependency["name"])
sys.exit("dependencies that nothing uses: " + ", ".join(unused) if unused else 0)'
